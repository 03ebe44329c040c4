"""A large query in one command: killed at any time, it goes on where it stopped."""

import asyncio
import sqlite3

from fetcher.demo import Fault
from tests.cli.conftest import Cli

QUERY = "ncbi:nuccore?all[filter]"
COUNT = 6_000


def stored(cli: Cli) -> set[str]:
    """What is in the store, by reading past everybody."""
    file = cli.folder / "fetcher.db"
    if not file.exists():
        return set()
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as store:
        try:
            return {name for (name,) in store.execute("SELECT _id FROM sequences")}
        except sqlite3.OperationalError:
            return set()


async def test_killed_and_run_again(cli: Cli) -> None:
    """Nothing is asked for again that is stored, and each record is there once."""
    ncbi = cli.upstream.ncbi
    ncbi.databases["nuccore"].clear()
    names = ncbi.populate(COUNT, length=90)
    ncbi.api_keys["quick"] = 1_000
    cli.upstream.faults.append(Fault("efetch", "delay", times=None, delay=0.15))
    rate = {"NCBI_API_KEY": "quick", "FETCHER_NCBI__REQUESTS_PER_SECOND": "500"}
    process = await cli.start("fetch", QUERY, "--output", "records", env=rate)
    async with asyncio.timeout(60):
        while not 1_000 <= len(before := stored(cli)) < COUNT:
            assert process.returncode is None, "it ended before it could be killed"
            await asyncio.sleep(0.01)
    process.kill()
    await process.wait()
    before = stored(cli)
    assert len(before) < COUNT
    cli.upstream.log.clear()
    done = await cli("fetch", QUERY, env=rate)
    assert done.code == 0, done.err
    assert sorted(each["_id"] for each in done.lines) == [f"nuccore:{name}" for name in names]
    pages = [each for each in cli.upstream.log if "efetch" in each.path and each.status == 200]
    by_name = [name for each in pages for name in each.form.get("id", "").split(",") if name]
    assert not before & {f"nuccore:{name}" for name in by_name}
    whole = [each for each in pages if "id" not in each.form]
    asked = len(by_name) + sum(int(each.form["retmax"]) for each in whole)
    assert asked == COUNT - len(before)
    cli.upstream.log.clear()
    again = await cli("fetch", QUERY, "--changed", env=rate)
    assert (again.code, again.out) == (0, b"")
    assert [each.path for each in cli.upstream.log] == ["/esearch.fcgi"]
