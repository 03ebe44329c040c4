"""GitHub over loopback: each reply its own outcome, nothing lost, nothing asked in vain."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from fetcher.demo import DemoUpstream, Fault, GithubUser
from tests.world import World

REPO = "acme/tool"
KEY = "github:acme/tool"
T0 = datetime(2025, 1, 1, tzinfo=UTC)
RELEASE = {
    "id": 1,
    "url": "https://x/1",
    "html_url": "https://x/1",
    "tag_name": "v1",
    "draft": False,
    "prerelease": False,
    "created_at": "2025-01-01T00:00:00Z",
    "published_at": "2025-01-01T00:00:00Z",
}

# An older GitHub Enterprise Server: a token, and REST alone.
NO_GRAPHQL = Fault("/graphql", "status", times=None, status=404, body='{"message": "Not Found"}')


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


async def test_releases_arrive_with_everything(world: World, repo: str) -> None:
    """All fields of the contract, newest first, and which one is latest."""
    polled = (await world.poll(repo))[repo]
    assert (polled.state.outcome, polled.state.records, polled.changed) == ("changed", 5, 5)
    documents = await world.records(repo)
    assert [document["tag"] for document in documents] == ["v4", "v3", "v2", "v1", "v0"]
    first = documents[0]
    release = world.upstream.github.repository(REPO).releases[-1]
    assert first["_id"] == f"github:{first['repository_id']}:{release.id}"
    assert first["published_at"] == T0 + timedelta(days=4)
    assert (first["draft"], first["prerelease"], first["private"]) == (False, False, False)
    asset = first["assets"][0]
    assert asset["name"] == "a.gz"
    assert asset["digest"].startswith("sha256:")
    assert asset["id"] == release.assets[0].id
    assert polled.state.facts["latest"] == release.id
    assert polled.state.facts["repository_id"] == first["repository_id"]


async def test_nothing_new_costs_one_conditional_request(world: World, repo: str) -> None:
    """The ETag goes back, the answer is 304, and nothing is written."""
    await world.poll(repo)
    world.asked()
    world.changes()
    assert await world.outcome(repo) == "unchanged"
    assert [each.status for each in world.upstream.log] == [304]
    assert world.asked() == ["GET /repos/acme/tool/releases"]
    assert world.changes() == []


@pytest.mark.parametrize("status", [404, 501])
async def test_where_there_is_no_graphql_rest_is_asked(
    world: World, repo: str, status: int
) -> None:
    """At once: nothing is tried again for it, neither by this poll nor by the next."""
    world.upstream.faults.append(Fault("/graphql", "status", times=None, status=status))
    world.upstream.github.tokens = {"t1": GithubUser("one")}
    world.overrides["github.token"] = "t1"
    assert await world.outcome(repo) == "changed"
    assert world.asked("/graphql") == ["POST /graphql"]


async def test_an_etag_goes_only_with_its_token(world: World, repo: str) -> None:
    """GitHub's ETags differ by token: another token asks without."""
    world.upstream.faults.append(NO_GRAPHQL)
    world.upstream.github.tokens = {"t1": GithubUser("one"), "t2": GithubUser("two")}
    world.overrides["github.token"] = "t1"
    await world.poll(repo)
    world.overrides["github.token"] = "t2"
    world.upstream.log.clear()
    assert await world.outcome(repo) == "unchanged"
    (asked,) = [each for each in world.upstream.log if each.path.endswith("/releases")]
    assert "if-none-match" not in {name.lower() for name in asked.headers}
    assert asked.status == 200


async def test_many_pages_and_an_incremental_stop(world: World) -> None:
    """Pages follow `Link`; a new release costs one page, a full poll all of them."""
    github = world.upstream.github
    github.add_repository(REPO)
    for number in range(250):
        github.add_release(REPO, f"v{number}", published_at=T0 + timedelta(hours=number))
    polled = (await world.poll(KEY))[KEY]
    assert polled.state.records == 250
    assert len(world.asked("/releases")) == 3 + 1
    github.add_release(REPO, "new", published_at=T0 + timedelta(days=90))
    github.delete_release(REPO, "v3")
    polled = (await world.poll(KEY))[KEY]
    assert polled.state.records == 251
    # Page 1 has news, page 2 the one that was pushed out of page 1, page 3 is not asked for.
    assert len(world.asked("/releases")) <= 3
    polled = (await world.poll(KEY, full=True))[KEY]
    assert polled.state.records == 250
    (withdrawn,) = await world.records(KEY, withdrawn=True)
    assert withdrawn["tag"] == "v3"


async def test_a_listing_that_comes_back_hides_nothing(world: World, repo: str) -> None:
    """A release came, the poll ended badly, the release went: the same ETag, but not the same."""
    await world.poll(repo)
    github = world.upstream.github
    github.add_release(REPO, "v9", published_at=T0 + timedelta(days=9))
    world.upstream.faults.append(Fault("/releases/latest", "status", times=None, status=503))
    assert await world.outcome(repo) == "partial"
    world.upstream.faults.clear()
    github.delete_release(REPO, "v9")
    assert await world.outcome(repo) == "changed"
    assert {each["tag"] for each in await world.records(repo)} == {f"v{n}" for n in range(5)}


async def test_what_a_bad_end_left_out_is_asked_again(world: World) -> None:
    """Records came, then a page and the latest release did not: the next poll looks at all."""
    github = world.upstream.github
    github.add_repository(REPO)
    for number in range(150):
        github.add_release(REPO, f"v{number}", published_at=T0 + timedelta(hours=number))
    await world.poll(KEY)
    new = github.add_release(REPO, "new", published_at=T0 + timedelta(days=90))
    for n in range(100):
        github.edit_release(REPO, f"v{n}", body="edited")
    world.upstream.faults.append(Fault("page=2", "status", times=None, status=503))
    assert await world.outcome(KEY) == "partial"
    world.upstream.faults.clear()
    world.upstream.faults.append(Fault("/releases/latest", "status", times=None, status=503))
    assert await world.outcome(KEY) == "partial"
    assert [each["body"] for each in await world.records(KEY)].count("edited") == 100
    world.upstream.faults.clear()
    polled = (await world.poll(KEY))[KEY]
    assert polled.state.facts["latest"] == new.id


async def test_drafts_and_prereleases_are_kept_apart(world: World, repo: str) -> None:
    """A draft shows only to who may push; neither it nor a pre-release is latest."""
    github = world.upstream.github
    github.tokens = {"t": GithubUser("one", push={REPO})}
    github.add_release(REPO, "draft", draft=True)
    github.add_release(REPO, "beta", prerelease=True, published_at=T0 + timedelta(days=50))
    await world.poll(repo)
    assert "draft" not in {document["tag"] for document in await world.records(repo)}
    world.overrides["github.token"] = "t"
    polled = (await world.poll(repo))[repo]
    documents = {document["tag"]: document for document in await world.records(repo)}
    assert (documents["draft"]["draft"], documents["draft"]["published_at"]) == (True, None)
    assert documents["beta"]["prerelease"]
    assert polled.state.facts["latest"] == documents["v4"]["release_id"]


async def test_tags_stand_in_for_releases(world: World) -> None:
    """Where there is no release; they give way to the first one."""
    github = world.upstream.github
    github.add_repository(REPO)
    github.add_tag(REPO, "v1", "a" * 40)
    github.add_tag(REPO, "v2", "b" * 40)
    assert await world.outcome(KEY) == "changed"
    assert {document["name"] for document in await world.records(KEY)} == {"v1", "v2"}
    world.upstream.log.clear()
    assert await world.outcome(KEY) == "unchanged"
    assert [each.status for each in world.upstream.log] == [304, 304]
    github.delete_tag(REPO, "v1")
    assert await world.outcome(KEY) == "changed"
    assert {document["name"] for document in await world.records(KEY)} == {"v2"}
    github.add_release(REPO, "v3", published_at=T0)
    assert await world.outcome(KEY) == "changed"
    assert [document["kind"] for document in await world.records(KEY)] == ["release"]


async def test_bad_credentials_are_sent_once(world: World, repo: str) -> None:
    """A refused token ends the account's poll: nobody asks again to hear the same."""
    world.overrides["github.token"] = "wrong"
    names = [f"github:acme/r{n}" for n in range(40)]
    polled = await world.poll(*names)
    assert {str(each.state.outcome) for each in polled.values()} == {"unauthorized"}
    assert len(world.upstream.log) <= 8


async def test_the_primary_limit_names_its_end(world: World, repo: str) -> None:
    """No request after it, and the next try not before the reset."""
    await world.poll(repo)
    world.upstream.github.exhaust(world.upstream.log[0].account, 1800)
    reset = world.clock.time() + 1800
    world.upstream.log.clear()
    names = [f"github:acme/r{n}" for n in range(30)]
    polled = await world.poll(*names, wait=5)
    assert {str(each.state.outcome) for each in polled.values()} == {"rate_limited"}
    assert len(world.upstream.log) <= 8
    for each in polled.values():
        assert each.state.next_due is not None
        assert each.state.next_due.timestamp() >= reset - 2


async def test_a_short_limit_is_waited_out(world: World, repo: str) -> None:
    """Within the patience of who asks, the poll waits for the reset and then goes on."""
    await world.poll(repo)
    world.upstream.github.exhaust(world.upstream.log[0].account, 40)
    assert await world.outcome("github:acme/other", wait=60) == "not_found"
    # The one request that found out that somebody else had used it up.
    assert len(world.upstream.github.violations) == 1


@pytest.mark.parametrize("retry_after", [20, None])
async def test_secondary_limits_are_waited_out(
    world: World, repo: str, retry_after: int | None
) -> None:
    """With `Retry-After` as long as it says, without it a minute at least."""
    body = '{"message": "You have exceeded a secondary rate limit. Please wait a few minutes."}'
    headers = {"Retry-After": str(retry_after)} if retry_after else {}
    fault = Fault("/releases", "status", status=403, headers=headers, body=body)
    world.upstream.faults.append(fault)
    before = world.clock.monotonic()
    assert await world.outcome(repo, wait=300) == "changed"
    assert world.clock.monotonic() - before >= (retry_after or 60)
    world.upstream.faults.append(Fault("/releases", "status", status=429, body=body))
    assert await world.outcome(repo, wait=5) == "rate_limited"


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (Fault("", "garbage", times=None), "malformed"),
        (Fault("", "garbage", times=None, garbage="json"), "malformed"),
        (Fault("", "garbage", times=None, garbage="bytes"), "malformed"),
        (Fault("", "status", times=None, status=410, body='{"message": "Gone"}'), "failed"),
        (Fault("", "status", times=None, status=500), "unreachable"),
        (Fault("", "status", times=None, status=502, body="<html>"), "unreachable"),
        (Fault("", "reset", times=None), "unreachable"),
        (Fault("", "truncate", times=None), "unreachable"),
        (Fault("", "truncate", times=None, chunked=True), "unreachable"),
        (Fault("", "truncate", times=None, clean=True), "malformed"),
        (Fault("", "wrong_encoding", times=None, encoding="gzip"), "malformed"),
        (Fault("", "redirect", times=None, location="ftp://x/"), "malformed"),
    ],
    ids=lambda each: f"{each.kind}-{each.garbage}-{each.status}" if isinstance(each, Fault) else "",
)
async def test_faults_end_in_their_outcome(
    world: World, repo: str, fault: Fault, outcome: str
) -> None:
    """After all tries; what was stored stays, and the next poll is well again."""
    await world.poll(repo)
    world.upstream.faults.append(fault)
    polled = (await world.poll(repo, full=True, wait=1000))[repo]
    assert polled.state.outcome == outcome
    assert polled.state.failure is not None
    assert (polled.state.records, polled.state.failures) == (5, 1)
    assert (polled.state.failure.log_id is not None) == (outcome == "failed")
    world.upstream.faults.clear()
    assert await world.outcome(repo) == "unchanged"


@pytest.mark.parametrize("kind", ["reset", "truncate", "garbage", "delay"])
async def test_a_passing_fault_is_not_seen(world: World, repo: str, kind: str) -> None:
    """One bad answer is asked for again."""
    world.upstream.faults.append(Fault("/releases", kind))  # type: ignore[arg-type]
    assert await world.outcome(repo) == "changed"


async def test_one_bad_repository_spoils_no_other(world: World) -> None:
    """Side by side: good ones are stored, each bad one has its own outcome."""
    github = world.upstream.github
    names = []
    for number in range(30):
        name = f"acme/r{number}"
        github.add_repository(name)
        github.add_release(name, "v1", published_at=T0)
        names.append(f"github:{name}")
    github.limit_anonymous = 1000
    github.block("acme/r3")
    github.forbid("acme/r5")
    world.upstream.faults.append(Fault("/repos/acme/r7", "garbage", times=None))
    polled = await world.poll(*names, "github:acme/none", wait=1000)
    outcomes = {name.rpartition("/")[2]: str(p.state.outcome) for name, p in polled.items()}
    bad = {name: outcome for name, outcome in outcomes.items() if outcome != "changed"}
    assert bad == {
        "r3": "blocked",
        "r5": "unauthorized",
        "r7": "malformed",
        "none": "not_found",
    }


async def test_budgets_hold_across_runs(world: World) -> None:
    """One run after another on one store asks no more than the hour allows."""
    github = world.upstream.github
    for number in range(100):
        github.add_repository(f"acme/r{number}")
    for start in range(0, 100, 10):
        await world.poll(*(f"github:acme/r{n}" for n in range(start, start + 10)), wait=0)
    assert github.violations == []
    assert len(world.upstream.log) <= 61


async def test_the_token_follows_no_page_to_another_host(world: World, repo: str) -> None:
    """`Link` is the answer's word, and an answer may lie."""
    world.upstream.faults.append(NO_GRAPHQL)
    world.upstream.github.tokens = {"t1": GithubUser("one")}
    world.overrides["github.token"] = "t1"
    async with DemoUpstream().serve() as other:
        elsewhere = f'<{other.github}/repos/acme/tool/releases?page=2>; rel="next"'
        body = "[" + json.dumps(RELEASE) + "]"
        headers = {"Link": elsewhere, "Content-Type": "application/json"}
        fault = Fault("/releases", "status", times=None, status=200, headers=headers, body=body)
        world.upstream.faults.append(fault)
        polled = (await world.poll(repo))[repo]
    assert str(polled.state.outcome) in ("partial", "malformed")
    assert polled.state.failure is not None
    assert "another host" in polled.state.failure.message
