"""GitHub by REST and by GraphQL: whichever way it comes, the same is found and stored."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fetcher.demo import GithubUser
from fetcher.errors import StoreUnavailable
from tests.world import World, open_world

REPO = "acme/tool"
KEY = "github:acme/tool"
T0 = datetime(2025, 1, 1, tzinfo=UTC)


@pytest.fixture(params=["rest", "graphql"])
async def world(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    async with open_world(tmp_path) as opened:
        opened.upstream.github.tokens = {"t": GithubUser("me")}
        if request.param == "graphql":
            opened.overrides["github.token"] = "t"
        yield opened


@pytest.fixture
def repo(world: World) -> str:
    """A repository with five releases."""
    github = world.upstream.github
    github.add_repository(REPO)
    for number in range(5):
        when = T0 + timedelta(days=number)
        github.add_release(
            REPO, f"v{number}", published_at=when, assets=[{"name": "a.gz", "content": b"x"}]
        )
    return KEY


async def test_a_reconcile_comes_by_itself(world: World) -> None:
    """What an incremental poll cannot see, the daily full listing does."""
    github = world.upstream.github
    github.add_repository(REPO)
    for number in range(150):
        github.add_release(REPO, f"v{number}", published_at=T0 + timedelta(hours=number))
    await world.poll(KEY)
    github.edit_release(REPO, "v3", body="edited")
    assert await world.outcome(KEY) == "unchanged"
    world.clock.advance(86_500)
    assert await world.outcome(KEY) == "changed"
    assert [each["body"] for each in await world.records(KEY)].count("edited") == 1


async def test_a_rename_is_followed(world: World, repo: str) -> None:
    """One target answers to both names; records carry the new one and keep their ids."""
    await world.poll(repo)
    ids = {document["_id"] for document in await world.records(repo)}
    world.upstream.github.rename(REPO, "Acme2/Tool2")
    polled = (await world.poll(repo))[repo]
    assert (polled.state.key, polled.state.outcome) == ("github:Acme2/Tool2", "changed")
    documents = await world.records(repo)
    assert {document["_id"] for document in documents} == ids
    assert {document["repository"] for document in documents} == {"Acme2/Tool2"}
    assert all(document["targets"] == ["github:Acme2/Tool2"] for document in documents)
    assert await world.outcome("github:acme2/tool2") == "unchanged"
    both = [await world.store.target(f"github:{name}") for name in (REPO, "acme2/tool2")]
    assert both[0] == both[1]


async def test_a_deletion_across_a_rename_is_withdrawn_under_the_new_name(
    world: World, repo: str
) -> None:
    """Renamed and one release gone between two polls: nothing stays under the old key."""
    await world.poll(repo)
    world.upstream.github.delete_release(REPO, "v0")
    world.upstream.github.rename(REPO, "Acme2/Tool2")
    polled = (await world.poll(repo))[repo]
    assert polled.state.records == 4
    (withdrawn,) = await world.records(repo, withdrawn=True)
    assert (withdrawn["tag"], withdrawn["targets"]) == ("v0", ["github:Acme2/Tool2"])


async def test_a_rename_there_and_back_leaves_one_name(
    world: World, repo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first poll under the new name is cut off before its end is saved."""
    await world.poll(repo)
    github = world.upstream.github
    github.rename(REPO, "acme/other")
    github.delete_release("acme/other", "v0")
    with monkeypatch.context() as patched:

        async def dies(*arguments: object) -> object:
            raise StoreUnavailable("killed")

        patched.setattr(world.store, "save_targets", dies)
        with pytest.raises(StoreUnavailable):
            await world.poll(repo)
    assert len(await world.records("github:acme/other")) == 4
    github.rename("acme/other", REPO)
    github.delete_release(REPO, "v1")
    await world.poll(repo)
    documents = await world.records(repo, withdrawn=None)
    assert {each["tag"]: each["withdrawn_at"] is not None for each in documents} == {
        "v0": True,
        "v1": True,
        "v2": False,
        "v3": False,
        "v4": False,
    }
    assert all(each["targets"] == [KEY] for each in documents)


async def test_another_repository_under_the_name_is_another_one(world: World, repo: str) -> None:
    """The old records stay as they are, and belong to the target no longer."""
    await world.poll(repo)
    old = {document["_id"] for document in await world.records(repo)}
    github = world.upstream.github
    github.rename(REPO, "moved/away")
    github.add_repository(REPO)
    github.add_release(REPO, "w1", published_at=T0)
    polled = (await world.poll(repo))[repo]
    assert polled.state.records == 1
    (document,) = await world.records(repo)
    assert document["tag"] == "w1"
    for id_ in old:
        kept = await world.store.record("release", id_)
        assert kept is not None
        assert (kept["targets"], kept["withdrawn_at"]) == ([], None)


async def test_case_is_one_target(world: World, repo: str) -> None:
    """What differs by case alone is the same target, in the upstream's spelling."""
    polled = await world.poll("github:ACME/Tool")
    assert polled["github:ACME/Tool"].state.key == KEY
    assert await world.outcome(repo) == "unchanged"


async def test_an_empty_repository_is_empty(world: World) -> None:
    """Reached, and there is nothing: that is good, again and again."""
    world.upstream.github.add_repository(REPO)
    assert await world.outcome(KEY) == "empty"
    assert await world.outcome(KEY) == "empty"


async def test_not_found_and_no_permission_and_blocked(world: World, repo: str) -> None:
    """Three ways of not getting it, with the data of before in place."""
    github = world.upstream.github
    assert await world.outcome("github:acme/none") == "not_found"
    await world.poll(repo)
    github.forbid(REPO)
    assert await world.outcome(repo) == "unauthorized"
    github.forbid(REPO, None)
    github.block(REPO)
    polled = (await world.poll(repo))[repo]
    assert polled.state.outcome == "blocked"
    assert polled.state.failure is not None
    assert "dmca" in polled.state.failure.message
    assert polled.state.failure.evidence.status == 451
    assert polled.state.records == 5
    github.block(REPO, None)
    assert await world.outcome(repo) == "unchanged"
    world.upstream.github.delete_repository(REPO)
    assert await world.outcome(repo) == "not_found"
    assert len(await world.records(repo)) == 5


async def test_downloads_are_no_change(world: World, repo: str) -> None:
    """`download_count` moves the ETag and nothing else."""
    await world.poll(repo)
    world.changes()
    world.upstream.github.bump_downloads(REPO)
    assert await world.outcome(repo) == "unchanged"
    assert world.changes() == []


async def test_edits_and_deletions_are_found(world: World, repo: str) -> None:
    """An edit makes a revision, a deletion a mark, and a return takes it away."""
    await world.poll(repo)
    world.changes()
    github = world.upstream.github
    world.clock.advance(60)
    github.edit_release(REPO, "v1", body="new words")
    gone = github.repository(REPO).release("v0")
    github.delete_release(REPO, "v0")
    polled = (await world.poll(repo))[repo]
    assert (polled.state.outcome, polled.state.records) == ("changed", 4)
    assert sorted(change for _, change in world.changes()) == ["changed", "withdrawn"]
    (withdrawn,) = await world.records(repo, withdrawn=True)
    assert (withdrawn["tag"], withdrawn["release_id"]) == ("v0", gone.id)
    github.add_release(REPO, "v0", id=gone.id, published_at=T0)
    assert await world.outcome(repo) == "changed"
    assert await world.records(repo, withdrawn=True) == []


async def test_everything_is_stored(world: World, repo: str) -> None:
    """All fields of the contract, and which release is latest."""
    polled = (await world.poll(repo))[repo]
    assert (polled.state.outcome, polled.state.records, polled.changed) == ("changed", 5, 5)
    documents = await world.records(repo)
    assert [document["tag"] for document in documents] == ["v4", "v3", "v2", "v1", "v0"]
    first = documents[0]
    github = world.upstream.github.repository(REPO)
    release = github.releases[-1]
    assert first["_id"] == f"github:{github.id}:{release.id}"
    assert first["source_url"].endswith(f"/repos/acme/tool/releases/{release.id}")
    assert first["html_url"].endswith("/acme/tool/releases/tag/v4")
    assert (first["repository"], first["repository_id"]) == (REPO, github.id)
    assert first["published_at"] == T0 + timedelta(days=4)
    assert first["created_at"] == T0 + timedelta(days=4)
    assert (first["draft"], first["prerelease"], first["private"]) == (False, False, False)
    assert (first["immutable"], first["author"], first["body"]) == (False, "octocat", None)
    asset = first["assets"][0]
    assert (asset["name"], asset["size"]) == ("a.gz", 1)
    assert asset["content_type"] == "application/octet-stream"
    assert asset["digest"].startswith("sha256:")
    assert asset["download_url"].endswith("/acme/tool/releases/download/v4/a.gz")
    assert polled.state.facts["latest"] == release.id
    assert polled.state.facts["repository_id"] == github.id


async def test_both_ways_give_the_same_content(world: World, repo: str) -> None:
    """Another way is no change, there and back: not of the digest, not of a field."""
    github = world.upstream.github
    github.add_release(REPO, "v5", body="b", name="n", published_at=T0, assets=["z", "b", "a"])
    github.add_release(REPO, "v6", immutable=True, prerelease=True, published_at=T0)
    await world.poll(repo)
    before = {each["_id"]: each for each in await world.records(repo)}
    had = world.overrides.pop("github.token", None)
    if had is None:
        world.overrides["github.token"] = "t"
    world.changes()
    github.forget_limits()
    polled = (await world.poll(repo, full=True))[repo]
    assert polled.state.outcome == "unchanged"
    assert world.changes() == []
    for each in await world.records(repo):
        assert each["digest"] == before[each["_id"]]["digest"]
        assert each["revision"] == 1


async def test_drafts_become_releases_and_go(world: World, repo: str) -> None:
    """Seen by who may push only; published, then deleted."""
    github = world.upstream.github
    github.tokens["t"].push.add(REPO)
    await world.poll(repo)
    draft = github.add_release(REPO, "draft", draft=True)
    sees = "github.token" in world.overrides
    polled = (await world.poll(repo))[repo]
    assert polled.state.records == (6 if sees else 5)
    world.clock.advance(60)
    github.edit_release(REPO, draft, draft=False)
    polled = (await world.poll(repo))[repo]
    assert (polled.state.outcome, polled.state.records) == ("changed", 6)
    (published,) = [each for each in await world.records(repo) if each["tag"] == "draft"]
    assert published["published_at"] is not None
    if sees:
        assert published["history"][-1]["fields"]["draft"] is True
    github.delete_release(REPO, draft)
    assert await world.outcome(repo) == "changed"
    (gone,) = await world.records(repo, withdrawn=True)
    assert gone["release_id"] == draft.id


async def test_which_release_is_latest_may_change_alone(world: World, repo: str) -> None:
    """Somebody marks an older one; GraphQL tells at once, REST with the next whole listing."""
    await world.poll(repo)
    github = world.upstream.github.repository(REPO)
    github.latest = github.release("v2").id
    polled = (await world.poll(repo, full="github.token" not in world.overrides))[repo]
    assert polled.state.facts["latest"] == github.release("v2").id


async def test_many_pages_and_many_assets(world: World) -> None:
    """More than ten pages, more than a hundred assets; a later release costs one page."""
    github = world.upstream.github
    github.add_repository(REPO)
    for number in range(330):
        github.add_release(REPO, f"v{number}", published_at=T0 + timedelta(hours=number))
    github.add_release(
        REPO,
        "big",
        published_at=T0 + timedelta(days=60),
        assets=[f"a{n:03d}" for n in range(250)],
    )
    polled = (await world.poll(KEY))[KEY]
    assert (polled.state.outcome, polled.state.records) == ("changed", 331)
    (big,) = [each for each in await world.records(KEY) if each["tag"] == "big"]
    assert [each["name"] for each in big["assets"]] == [f"a{n:03d}" for n in range(250)]
    github.add_release(REPO, "new", published_at=T0 + timedelta(days=90))
    world.asked()
    polled = (await world.poll(KEY))[KEY]
    assert (polled.changed, polled.state.records) == (1, 332)
    assert len(world.asked()) <= 5


async def test_tags_stand_in(world: World) -> None:
    """Where there is no release; they give way to the first one."""
    github = world.upstream.github
    github.add_repository(REPO)
    for n in range(150):
        github.add_tag(REPO, f"v{n}", f"{n:040x}")
    assert await world.outcome(KEY) == "changed"
    documents = {each["name"]: each["commit"] for each in await world.records(KEY)}
    assert documents == {f"v{n}": f"{n:040x}" for n in range(150)}
    assert await world.outcome(KEY) == "unchanged"
    github.delete_tag(REPO, "v149")
    assert await world.outcome(KEY) == "changed"
    assert len(await world.records(KEY)) == 149
    github.add_release(REPO, "w", published_at=T0)
    assert await world.outcome(KEY) == "changed"
    assert [document["kind"] for document in await world.records(KEY)] == ["release"]


async def test_an_enterprise_server_is_asked_at_its_own_paths(world: World, repo: str) -> None:
    """`/api/v3`, and GraphQL beside it; records are the same but for their addresses."""
    world.overrides["github.api_url"] = world.urls.enterprise
    polled = (await world.poll(repo))[repo]
    assert (polled.state.outcome, polled.state.records) == ("changed", 5)
    (first, *_) = await world.records(repo)
    assert "/api/v3/repos/" in first["source_url"]
    assert await world.outcome(repo) == "unchanged"
