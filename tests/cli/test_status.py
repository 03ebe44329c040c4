"""``fetcher status`` and ``fetcher watch list``: what they write, and how."""

import pytest

from fetcher.cli.status import ago
from fetcher.demo import Fault
from tests.cli.conftest import Cli


async def test_a_table_begins_with_what_fails(cli: Cli) -> None:
    """Accounts with what is left, targets with ages and errors, and the counts at the end."""
    done = await cli("fetch", "stellarcarbon/sorocarbon", "NC_003355.1", "XX_000001")
    assert done.code == 1
    assert (await cli("watch", "add", "NC_003355.1", "--every", "90m")).code == 0
    text = (await cli("status", "--format", "table")).out.decode()
    accounts, targets, counts = text.strip().split("\n\n")
    lines = accounts.splitlines()
    headings = "ACCOUNT LEADER PARKED UNTIL QUOTA LEFT LIMIT RESET"
    assert lines[0].split() == headings.split()
    assert lines[1].split()[:6] == ["github:anonymous", "nobody", "-", "rest", "57", "60"]
    assert lines[2].split() == ["ncbi:anonymous", "nobody", "-", "-", "-", "-", "-"]
    lines = targets.splitlines()
    assert lines[1].startswith("ncbi:nuccore/XX_000001")
    assert "not_found" in lines[1]
    assert "never" in lines[1]
    assert lines[1].rstrip().endswith("has no record XX_000001")
    assert "ago" in lines[2]
    assert counts.startswith("3 targets, 1 watched: ")
    assert "2 changed" in counts
    listed = (await cli("watch", "list", "--format", "table")).out.decode().splitlines()
    assert listed[1].split() == ["ncbi:nuccore/NC_003355.1", "90m", "hand", "ncbi:anonymous"]


async def test_points_and_requests_are_told_apart(cli: Cli) -> None:
    """With a token GitHub counts queries and REST's requests for themselves."""
    github = cli.upstream.github
    github.add_repository("acme/odd")
    github.add_release("acme/odd", "v1")
    # What an answer leaves out is asked of REST.
    fault = Fault("^POST /graphql", "alias_missing", aliases=("r0",))
    cli.upstream.faults.append(fault)
    done = await cli(
        "fetch", "acme/odd", "Codertocat/Hello-World", env={"GITHUB_TOKEN": "demo-token"}
    )
    assert done.code == 0, done.err
    (account,) = (await cli("status", "--format", "json")).json["accounts"]
    left = {name: quota["remaining"] for name, quota in account["quotas"].items()}
    spent = {
        path: len([e for e in cli.upstream.log if (e.path == "/graphql") == (path == "graphql")])
        for path in ("graphql", "rest")
    }
    assert left == {name: 5000 - number for name, number in spent.items()}
    assert spent["rest"] > 0 < spent["graphql"]
    assert all(quota["limit"] == 5000 and quota["reset"] for quota in account["quotas"].values())
    lines = (await cli("status", "--format", "table")).out.decode().splitlines()
    assert lines[1].split()[-4:-1] == ["graphql", f"{left['graphql']:,}", "5,000"]
    assert lines[2].split()[:3] == ["rest", f"{left['rest']:,}", "5,000"]


async def test_what_a_watch_list_can_get_without_a_token(cli: Cli) -> None:
    """In `status` and `check`, with what would help."""
    names = [f"stellarcarbon/r{n}" for n in range(19)]
    assert (await cli("watch", "add", "stellarcarbon/sorocarbon", *names)).code == 0
    text = (await cli("status", "--format", "table")).out.decode()
    assert "20 repositories watched, each every 20 min at best" in text
    assert "github.token" in text
    counts = (await cli("status", "--format", "json")).json["counts"]
    assert counts["without_token"] == 20
    watched = '\n[[watch]]\ntargets = ["stellarcarbon/sorocarbon"]\n'
    with cli.folder.joinpath("fetcher.toml").open("a", encoding="utf-8") as file:
        file.write(watched)
    text = (await cli("check", "--format", "table")).out.decode()
    assert "1 repository watched, each every 1 min at best" in " ".join(text.split())


async def test_ndjson_is_a_line_each(cli: Cli) -> None:
    """Accounts first; JSON has the same, with the counts."""
    await cli("fetch", "NC_003355.1")
    lines = (await cli("status")).lines
    assert [each["kind"] for each in lines] == ["account", "target"]
    assert lines[1]["age"] >= 0
    assert lines[1]["watched"] is False
    whole = (await cli("status", "--format", "json")).json
    assert whole["counts"] == {"targets": 1, "watched": 0, "changed": 1}
    assert [each["account"] for each in whole["accounts"]] == ["ncbi:anonymous"]


async def test_a_store_that_is_not_there(cli: Cli) -> None:
    """Exit code 3, and nothing is made."""
    done = await cli("status")
    assert done.code == 3
    assert "there is no store" in done.err
    assert not (cli.folder / "fetcher.db").exists()


async def test_watches_need_sense(cli: Cli) -> None:
    """An interval below the least, none at all, and an empty list."""
    assert (await cli("watch", "add", "NC_003355.1", "--every", "1s")).code == 2
    assert (await cli("watch", "add", "NC_003355.1", "--every", "soon")).code == 2
    assert (await cli("watch", "add")).code == 2
    wrong = await cli("watch", "add", "ncbi:bioproject/12242")
    assert (wrong.code, "PRJNA" in wrong.err) == (2, True)
    assert (await cli("watch", "add", "NC_003355.1")).code == 0
    assert (await cli("watch", "remove", "NC_003355.1")).code == 0
    empty = await cli("watch", "list", "--format", "table")
    assert (empty.code, empty.out) == (0, b"")
    assert "nothing is watched" in empty.err


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "never"), (0.4, "0s ago"), (61, "1m ago"), (7200, "2h ago"), (200_000, "2d ago")],
)
def test_ages_are_short(seconds: float | None, text: str) -> None:
    """In the largest unit that fits."""
    assert ago(seconds) == text
