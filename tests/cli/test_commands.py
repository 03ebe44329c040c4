"""The installed command, from configuration to exit code."""

import asyncio
import json
import signal
import sys
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from fetcher.demo import Fault
from tests.cli.conftest import Cli

REPO = "github:Codertocat/Hello-World"
RECORD = "ncbi:nuccore/NC_003355.1"


async def test_fetch_show_and_list(cli: Cli, store_url: str) -> None:
    """What is fetched is stored and read again, on both stores."""
    store = ["--store", store_url]
    done = await cli("fetch", REPO, RECORD, "--format", "json", *store)
    assert done.code == 0, done.err
    report = {row["target"]: row for row in done.json["targets"]}
    assert report[RECORD] == {
        "target": RECORD,
        "asked": RECORD,
        "outcome": "changed",
        "records": 1,
        "changed": 1,
        "missing": [],
        "error": None,
        "next_due": report[RECORD]["next_due"],
    }
    assert {record["kind"] for record in done.json["records"]} == {"release", "sequence"}
    assert "stored in" in done.err
    listed = await cli("list", *store)
    assert len(listed.lines) == len(done.json["records"])
    (shown,) = (await cli("show", "NC_003355", *store)).lines
    assert shown["_id"] == "nuccore:NC_003355.1"
    assert shown["update_date"] == "2018-08-13T00:00:00Z"
    (by_id,) = (await cli("show", shown["_id"], *store)).lines
    assert by_id == shown
    (release,) = (await cli("show", "codertocat/hello-world@0.1.0", *store)).lines
    assert release["tag"] == "0.1.0"
    (state,) = (await cli("show", REPO, *store)).lines
    assert state["outcome"] == "changed"
    again = await cli("fetch", REPO, RECORD, "--changed", *store)
    assert (again.code, again.out) == (0, b"")
    missing = await cli("show", "AB999999", *store)
    assert (missing.code, missing.out) == (1, b"")


async def test_the_flat_file_is_given_back_as_served(cli: Cli) -> None:
    """Byte for byte, and FASTA beside it."""
    served = files("fetcher.demo").joinpath("data/ncbi/NC_003355.1.gb").read_bytes()
    done = await cli("fetch", RECORD, "--format", "genbank")
    assert (done.code, done.out) == (0, served)
    done = await cli("show", "NC_003355.1", "--format", "fasta")
    assert done.out.startswith(b">NC_003355.1 Wasabi mottle virus, complete genome\nGATTTAAATT")
    done = await cli("fetch", RECORD, "--format", "fasta", "--output", "out.fasta", "--quiet")
    assert (done.code, done.out, done.err) == (0, b"", "")
    assert cli.folder.joinpath("out.fasta").read_bytes().startswith(b">NC_003355.1")


async def test_a_failing_target_stops_no_other(cli: Cli) -> None:
    """Exit 1, the rest stored, and a sentence for each that failed."""
    cli.upstream.github.block("PyGithub/PyGithub")
    done = await cli(
        "fetch", REPO, "PyGithub/PyGithub", "a/none", "NC_999999", RECORD, "--format", "json"
    )
    assert done.code == 1
    outcomes = {row["asked"]: row["outcome"] for row in done.json["targets"]}
    assert outcomes == {
        REPO: "changed",
        "PyGithub/PyGithub": "blocked",
        "a/none": "not_found",
        "NC_999999": "not_found",
        RECORD: "changed",
    }
    assert {row["asked"]: row["missing"] for row in done.json["targets"]}["NC_999999"] == [
        "NC_999999"
    ]
    assert "fetcher: a/none: not_found: " in done.err


async def test_targets_from_a_file_and_from_standard_input(cli: Cli) -> None:
    """One a line, with comments."""
    text = f"# repositories\n{REPO}\n\n{RECORD} # a virus\n"
    cli.folder.joinpath("targets.txt").write_text(text, "utf-8")
    done = await cli("fetch", "--from-file", "targets.txt", "--format", "json")
    assert [row["asked"] for row in done.json["targets"]] == [REPO, RECORD]
    done = await cli("fetch", "--from-file", "-", "--format", "json", stdin=text.encode())
    assert [row["outcome"] for row in done.json["targets"]] == ["unchanged", "unchanged"]


async def test_no_store_stores_nothing(cli: Cli) -> None:
    """The records are printed, and no file is left."""
    done = await cli("fetch", RECORD, "--no-store")
    assert done.code == 0
    assert [record["_id"] for record in done.lines] == ["nuccore:NC_003355.1"]
    assert not cli.folder.joinpath("fetcher.db").exists()


async def test_force_asks_without_a_cursor(cli: Cli) -> None:
    """Everything is listed in full again, and nothing doubles."""
    await cli("fetch", REPO)
    cli.upstream.log.clear()
    done = await cli("fetch", REPO, "--force", "--format", "json")
    assert done.json["targets"][0]["outcome"] == "unchanged"
    assert all("if-none-match" not in each.headers for each in cli.upstream.log)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["fetch", "nonsense"], ["nonsense"]),
        (["fetch", "github:a/b/c", "NC_00 3"], ["github:a/b/c", "NC_00 3"]),
        (["fetch"], ["target"]),
        (["fetch", "--from-file", "empty.txt"], ["empty.txt"]),
        (["fetch", "--from-file", "nul.txt"], ["nul.txt:2"]),
        (["fetch", "--from-file", "latin1.txt"], ["latin1.txt:1"]),
        (["fetch", "--from-file", "none.txt"], ["none.txt"]),
        (["fetch", "a/b", "--format", "xml"], ["xml"]),
        (["fetch", "a/b", "--format", "fasta"], ["fasta"]),
        (["fetch", "a/b", "--output", "no/such/file"], ["no/such/file"]),
        (["fetch", "a/b", "--output", "."], ["."]),
        (["fetch", "a/b", "--wait", "soon"], ["soon"]),
        (["fetch", "a/b", "--store", "redis://x"], ["redis"]),
        (["fetch", "a/b", "--config", "wrong.toml"], ["wrong.toml:2", ":4", ":6"]),
        (["check", "--config", "wrong.toml"], ["wrong.toml:2", ":4", ":6"]),
        (["fetch", "ncbi:taxonomy/x1"], ["taxid"]),
        (["show", "what is this"], ["what is this"]),
        (["list", "everything"], ["everything"]),
    ],
)
async def test_bad_input_is_refused_before_any_request(
    cli: Cli, arguments: list[str], named: list[str]
) -> None:
    """Exit 2, every mistake named, nothing asked and nothing stored."""
    folder = cli.folder
    folder.joinpath("empty.txt").write_bytes(b"# nothing\n")
    folder.joinpath("nul.txt").write_bytes(b"github:a/b\n\0\n")
    folder.joinpath("latin1.txt").write_bytes(b"github:a/b # caf\xe9\n")
    folder.joinpath("wrong.toml").write_text(
        '[github]\ntokn = "x"\n[http]\nmax_attempts = "five"\n[service]\nlease = "1y"\n'
    )
    if arguments[0] in ("show", "list"):
        await cli("fetch", RECORD)
        cli.upstream.log.clear()
    done = await cli(*arguments)
    assert (done.code, done.out) == (2, b"")
    for word in named:
        assert word in done.err
    assert cli.upstream.log == []


@pytest.mark.parametrize(
    "store", ["sqlite:////no/such/folder/x.db", "mongodb://127.0.0.1:1/x", "sqlite:///not.db"]
)
async def test_a_store_that_does_not_work_is_exit_3(cli: Cli, store: str) -> None:
    """Unreachable, without a folder, or no database: a sentence and nothing asked."""
    cli.folder.joinpath("not.db").write_bytes(b"this is no database, however you read it" * 50)
    done = await cli("fetch", RECORD, "--store", store)
    assert (done.code, done.out) == (3, b"")
    assert done.err.startswith("fetcher: the store ")
    assert cli.upstream.log == []


async def test_a_newer_schema_and_a_strange_file_are_exit_3(cli: Cli) -> None:
    """Never written to, and the sentence says what to do."""
    import sqlite3

    await cli("fetch", RECORD)
    with sqlite3.connect(cli.folder / "fetcher.db") as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    done = await cli("fetch", RECORD)
    assert done.code == 3
    assert "newer fetcher" in done.err
    strange = cli.folder / "strange.db"
    with sqlite3.connect(strange) as database:
        database.execute("CREATE TABLE mine (x)")
    database.close()
    done = await cli("fetch", RECORD, "--store", "sqlite:///strange.db")
    assert done.code == 3
    assert "another program" in done.err


async def test_check_says_what_it_found(cli: Cli, store_url: str) -> None:
    """Store and upstreams, with the limits left; exit 1 when one of them is wrong."""
    done = await cli("check", "--format", "json", "--store", store_url)
    assert done.code == 0, done.out
    found = {item["check"]: item for item in done.json["items"]}
    assert set(found) == {"settings", "store", "github:anonymous", "ncbi:anonymous"}
    assert "60 requests an hour left" in found["github:anonymous"]["found"]
    assert "writable" in found["store"]["found"]
    cli.upstream.ncbi.blocked = True
    done = await cli("check", "--store", store_url)
    assert done.code == 1
    assert [item["ok"] for item in done.lines] == [True, True, True, False]


async def test_secrets_never_show(cli: Cli) -> None:
    """Not in output, not in errors, not in what is stored."""
    secret = "ghp_SECRETSECRETSECRET"
    environment = {"GITHUB_TOKEN": secret, "NCBI_API_KEY": "keykeykey"}
    for arguments in (["check"], ["fetch", REPO, RECORD, "--log-level", "debug"]):
        done = await cli(*arguments, env=environment)
        assert done.code == 1
        for text in (done.out.decode(), done.err):
            assert secret not in text
            assert "keykeykey" not in text
    stored = b"".join(path.read_bytes() for path in cli.folder.glob("fetcher.db*"))
    assert secret.encode() not in stored
    assert b"keykeykey" not in stored


async def test_a_closed_pipe_is_no_traceback(cli: Cli) -> None:
    """As with `fetcher list | head -1`."""
    await cli("fetch", "github:PyGithub/PyGithub")
    process = await asyncio.create_subprocess_shell(
        f"{Path(sys.executable).with_name('fetcher')} list | head -1",
        cwd=cli.folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert out.count(b"\n") == 1
    assert err == b""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_an_interrupt_keeps_what_is_complete(
    cli: Cli, number: signal.Signals, code: int
) -> None:
    """The command says what is stored, gives its lease back, and goes on when run again."""
    cli.upstream.faults.append(Fault("PyGithub", "hang"))
    process = await cli.start("fetch", REPO, "PyGithub/PyGithub", RECORD, "--wait", "10s")
    async with asyncio.timeout(20):
        while not any("PyGithub" in each.path for each in cli.upstream.log):
            await asyncio.sleep(0.02)
    await asyncio.sleep(0.5)
    done = await cli.interrupt(process, number)
    assert done.code == code
    assert "interrupted" in done.err
    assert "Traceback" not in done.err
    again = await cli("fetch", REPO, "PyGithub/PyGithub", RECORD, "--wait", "2s")
    assert again.code == 0, again.err


async def test_two_one_shots_share_an_account(cli: Cli, store_url: str) -> None:
    """The second waits for the first, and says so when it may not wait."""
    cli.upstream.faults.append(Fault("PyGithub", "hang"))
    store = ["--store", store_url]
    first = await cli.start("fetch", "PyGithub/PyGithub", *store)
    async with asyncio.timeout(20):
        while not any("PyGithub" in each.path for each in cli.upstream.log):
            await asyncio.sleep(0.02)
    done = await cli("fetch", REPO, "--wait", "1s", "--format", "json", *store)
    assert done.code == 1
    assert done.json["targets"][0]["outcome"] == "rate_limited"
    assert "--wait" in done.err
    await cli.interrupt(first, signal.SIGTERM)
    assert (await cli("fetch", REPO, *store)).code == 0


async def test_many_targets_run(cli: Cli) -> None:
    """Two hundred from a file, bounded in what is under way."""
    cli.upstream.github.populate(repositories=200, releases=2)
    cli.upstream.github.limit_anonymous = 100_000
    cli.upstream.github.secondary_points = 100_000
    names = [f"github:{repo.full_name}" for repo in cli.upstream.github.repositories()]
    done = await cli(
        "fetch", "--from-file", "-", "--format", "json", stdin="\n".join(names).encode()
    )
    outcomes = {row["outcome"] for row in done.json["targets"]}
    assert outcomes <= {"changed", "empty"}, done.err
    assert cli.upstream.github.most_in_flight <= 20


async def test_demo_needs_nothing(cli: Cli) -> None:
    """One command: upstream, records, where they lie, and what to type next."""
    done = await cli("demo", "--once")
    assert done.code == 0, done.err
    assert b"NC_003355.1" in done.out
    assert "list --store sqlite:///" in done.err


async def test_help_is_quick_and_versions_itself(cli: Cli) -> None:
    """Heavy imports only where they are used."""
    done = await cli("--version")
    assert done.out.startswith(b"fetcher 0.")
    code = (
        "import sys; import fetcher.cli.app; "
        "sys.exit(bool({'aiohttp', 'motor', 'pydantic', 'rich.table'} & set(sys.modules)))"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    assert await process.wait() == 0


async def test_a_secret_that_others_may_read_is_warned_of(cli: Cli) -> None:
    """By fetch, check and the daemon, each with what to do; the secret itself is not shown."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        secret = folder / "hook secret"
        secret.write_text("c4n4ry")
        secret.chmod(0o644)
        env = {"FETCHER_GITHUB__WEBHOOK_SECRET_FILE": str(secret)}
        sentence = f"{secret} has a secret in it and every user may read it; chmod o= '{secret}'"
        done = await cli("fetch", "NC_003355.1", env=env)
        assert (done.code, done.err.splitlines()[0]) == (0, f"fetcher: warning: {sentence}")
        assert "warning" not in (await cli("fetch", "NC_003355.1", "--quiet", env=env)).err
        done = await cli("check", "--format", "json", env=env)
        assert done.code == 0, "as Docker has them under /run/secrets, where it does no harm"
        assert {"check": "secrets", "ok": True, "found": sentence} in done.json["items"]
        assert "WARNING" in (await cli("check", "--format", "table", env=env)).out.decode()
        env |= {"FETCHER_API__LISTEN": ""}
        process = await cli.start("run", "--log-format", "json", "--log-level", "warning", env=env)
        assert process.stderr is not None
        line = json.loads(await process.stderr.readline())
        assert (line["event"], line["advice"]) == ("other users may read a secret", sentence)
        await cli.interrupt(process, signal.SIGKILL)
        secret.chmod(0o640)
        assert (await cli("check", env=env)).code == 0


async def test_a_password_on_the_command_line_is_warned_of(cli: Cli) -> None:
    """By every command that takes it, without the password; not in the environment, nor quietly."""
    url = "mongodb://me:c4n4ry@127.0.0.1:1/x?serverSelectionTimeoutMS=50"
    for words in (("status",), ("fetch", "a/b"), ("watch", "add", "a/b"), ("export",), ("run",)):
        done = await cli(*words, "--store", url)
        assert (done.code, "sees the password in --store" in done.err) == (3, True), words
        assert "c4n4ry" not in done.err
    done = await cli("check", "--store", url)
    assert "sees the password in --store" in done.out.decode()
    assert "--store" not in (await cli("status", "--quiet", "--store", url)).err
    assert "--store" not in (await cli("status", env={"FETCHER_STORE__URL": url})).err
    assert "--store" not in (await cli("status", "--store", "mongodb://127.0.0.1:1/x?a=b")).err


@pytest.mark.parametrize(
    "arguments",
    [
        *(["status"], ["check"], ["plan"], ["watch", "list"], ["changes"], ["diff", "NC_003355"]),
        *(["list", "releases"], ["list", "a/b"], ["list", "ncbi:taxonomy/12242"]),
        *(["show", RECORD], ["demo", "--once"]),
    ],
)
async def test_a_format_for_sequences_alone_is_refused_elsewhere(
    cli: Cli, arguments: list[str]
) -> None:
    """Not written as something else, and not left out without a word."""
    assert (await cli("fetch", RECORD)).code == 0
    done = await cli(*arguments, "--format", "fasta")
    assert (done.code, done.out) == (2, b"")
    assert "fasta" in done.err


async def test_everything_as_fasta_is_all_that_has_a_sequence(cli: Cli) -> None:
    """Releases beside it are none."""
    assert (await cli("fetch", RECORD, REPO)).code == 0
    done = await cli("list", "--format", "fasta")
    assert (done.code, done.out.count(b">")) == (0, 1)
