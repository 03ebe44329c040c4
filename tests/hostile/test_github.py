"""A hostile GitHub: any value in any place of its answers, over both stores and by both ways."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Final

import pytest

from fetcher.demo import Fault
from fetcher.sources.github import MOST_PAGES
from tests.hostile.conftest import Witness
from tests.hostile.values import all_changed, changed, is_json, place_of, texts
from tests.stores import store_url

__all__ = ["store_url"]

GOOD = "good/neighbour"
_NAME: Final = re.compile(rb"bad/r[0-9]+")

# Of each answer, all that is read.
_RELEASE: Final = (
    *("url", "html_url", "id", "author", "author.login", "tag_name", "name", "body", "draft"),
    *("immutable", "prerelease", "created_at", "published_at", "updated_at", "assets"),
)
_ASSET: Final = (
    *("", "id", "name", "label", "content_type", "state", "size", "digest"),
    *("browser_download_url", "created_at", "updated_at"),
)
REST: Final[Mapping[str, tuple[str, Sequence[str]]]] = {
    "identity": (r"(?![/0-9])", ("", "id", "full_name", "private", "archived")),
    "releases": (
        r"/releases\?",
        ("", "0", *(f"0.{each}" for each in _RELEASE), *(f"0.assets.0.{e}" for e in _ASSET)),
    ),
    "latest": ("/releases/latest", ("", "id")),
    "tags": (r"/tags\?", ("", "0", "0.name", "0.commit", "0.commit.sha")),
}
_IDENTITY: Final = (
    *("", "databaseId", "nameWithOwner", "isPrivate", "isArchived", "latestRelease"),
    "latestRelease.databaseId",
)
_NODE: Final = (
    *("", "id", "databaseId", "tagName", "name", "description", "isDraft", "isPrerelease"),
    *("immutable", "author", "author.login", "createdAt", "publishedAt", "updatedAt", "url"),
    *("releaseAssets", "releaseAssets.pageInfo", "releaseAssets.nodes", "releaseAssets.nodes.0"),
    *(
        f"releaseAssets.nodes.0.{each}"
        for each in ("name", "contentType", "size", "digest", "downloadUrl", "createdAt")
    ),
)
# Where what is no JSON to others is tried: a number, and a text without a bound.
_FIRST: Final = ("databaseId", "description")
GRAPHQL: Final[Mapping[str, Sequence[str]]] = {
    "marks": (
        *_IDENTITY,
        *("marks", "marks.totalCount", "marks.nodes", "marks.nodes.0.databaseId"),
        "marks.nodes.0.updatedAt",
    ),
    "releases": (
        *_IDENTITY,
        *("releases", "releases.totalCount", "releases.pageInfo", "releases.nodes"),
        *(f"releases.nodes.0.{each}" for each in _NODE),
    ),
}


def publish(witness: Witness, name: str, *, releases: bool = True) -> None:
    github = witness.world.upstream.github
    github.add_repository(name, created_at="2020-01-01T00:00:00Z")
    if releases:
        github.add_release(
            name,
            "v1",
            name="One",
            body="words",
            published_at="2024-01-01T12:00:00Z",
            assets=[{"name": "a.gz", "size": 7}],
        )
    else:
        github.add_tag(name, "v1")


@pytest.mark.parametrize("answer", REST)
async def test_any_value_in_any_place_by_rest(witness: Witness, answer: str) -> None:
    """Each repository ends in an outcome of its own, and what is stored is what was told."""
    tail, places = REST[answer]
    changes: dict[str, tuple[str, str]] = {}
    for place in places:
        for text in texts(place, first=place in places[:2]):
            name = f"bad/r{len(changes)}"
            changes[name] = (place, text)
            publish(witness, name, releases=answer != "tags")
    publish(witness, GOOD)

    def change(body: bytes) -> bytes:
        found = _NAME.search(body)
        return changed(body, *changes[found[0].decode()]) if found else body

    witness.world.upstream.faults += [
        Fault("POST /graphql", "status", times=None, status=404),
        Fault(f"GET /repos/bad/r[0-9]+{tail}", "rewrite", None, change=change),
    ]
    polled = await witness.poll(*(f"github:{name}" for name in (*changes, GOOD)))
    assert polled[f"github:{GOOD}"].state.outcome == "changed"
    assert len({str(each.state.outcome) for each in polled.values()}) > 1


@pytest.mark.parametrize("readable", [True, False], ids=["readable", "no JSON"])
@pytest.mark.parametrize("answer", GRAPHQL)
async def test_any_value_in_any_place_by_graphql(
    witness: Witness, answer: str, readable: bool
) -> None:
    """Nor does one repository spoil the others of its batch, where the answer can be read.

    Of whom a check says nonsense, REST is asked.
    """
    changes: dict[str, tuple[str, str]] = {}
    for place in GRAPHQL[answer]:
        for text in texts(place, first=not readable and place.endswith(_FIRST)):
            if is_json(text) is readable:
                name = f"bad/r{len(changes)}"
                changes[name] = (place, text)
                publish(witness, name)
    publish(witness, GOOD)

    def change(body: bytes) -> bytes:
        data = json.loads(body).get("data") or {}
        wanted = []
        for alias, repository in data.items():
            if not isinstance(repository, dict) or answer not in repository:
                continue
            place, text = changes.get(repository["nameWithOwner"], ("", ""))
            if text:
                wanted.append((("data", alias, *place_of(place)), text))
        return all_changed(body, wanted) if wanted else body

    witness.world.upstream.faults.append(Fault("POST /graphql", "rewrite", None, change=change))
    polled = await witness.poll(*(f"github:{name}" for name in (*changes, GOOD)))
    if readable:
        assert polled[f"github:{GOOD}"].state.outcome == "changed"
    outcomes = {str(each.state.outcome) for each in polled.values()}
    assert ("malformed" in outcomes) is (answer == "releases" or not readable)


@pytest.mark.parametrize("where", ["same page", "ever another page", "nonsense", "elsewhere"])
@pytest.mark.parametrize("listing", ["releases", "tags"])
async def test_a_listing_without_end_by_rest(witness: Witness, listing: str, where: str) -> None:
    """A next page that was read before, or leads nowhere, ends the poll of its repository."""
    world = witness.world
    publish(witness, "bad/one", releases=listing == "releases")
    publish(witness, GOOD)
    world.upstream.faults.append(Fault("POST /graphql", "status", times=None, status=404))
    for number in range(MOST_PAGES + 10):
        to = {
            "same page": f"{world.urls.github}/repos/bad/one/{listing}?per_page=100&page=1",
            "ever another page": f"{world.urls.github}/repos/bad/one/{listing}?page=1&n={number}",
            "nonsense": "http://[::1",
            "elsewhere": "http://127.0.0.2:1/",
        }[where]
        headers = {"Link": f'<{to}>; rel="next"'}
        match = f"GET /repos/bad/one/{listing}\\?"
        world.upstream.faults.append(Fault(match, "rewrite", headers=headers))
    polled = await witness.poll("github:bad/one", f"github:{GOOD}")
    assert polled[f"github:{GOOD}"].state.outcome == "changed"
    failure = polled["github:bad/one"].state.failure
    assert failure is not None
    assert "no end" in failure.message or "another host" in failure.message


@pytest.mark.parametrize("listing", ["releases", "tags"])
@pytest.mark.parametrize("cursor", ["same", "none"])
async def test_a_listing_without_end_by_graphql(
    witness: Witness, listing: str, cursor: str
) -> None:
    """Likewise, for one repository of a batch."""
    publish(witness, "bad/one", releases=listing == "releases")
    publish(witness, GOOD)

    def change(body: bytes) -> bytes:
        shape = json.loads(body)
        for found in (shape.get("data") or {}).values():
            if found["nameWithOwner"] == "bad/one" and found.get(listing):
                end = "same" if cursor == "same" else None
                found[listing]["pageInfo"] = {"hasNextPage": True, "endCursor": end}
        return json.dumps(shape).encode()

    witness.world.upstream.faults.append(Fault("POST /graphql", "rewrite", None, change=change))
    polled = await witness.poll("github:bad/one", f"github:{GOOD}")
    assert polled[f"github:{GOOD}"].state.outcome == "changed"
    failure = polled["github:bad/one"].state.failure
    assert failure is not None


async def test_half_a_character_in_a_text_spoils_nobody_else(witness: Witness) -> None:
    """GraphQL's answer can be read all the same; no store could hold the text."""
    for name in ("bad/half", GOOD):
        publish(witness, name)

    def change(body: bytes) -> bytes:
        return body.replace(b'"description":"words"', b'"description":"x\\ud800y"', 1)

    witness.world.upstream.faults.append(Fault("POST /graphql", "rewrite", None, change=change))
    polled = await witness.poll("github:bad/half", f"github:{GOOD}")
    assert polled["github:bad/half"].state.outcome == "malformed"
    assert polled[f"github:{GOOD}"].state.outcome == "changed"
