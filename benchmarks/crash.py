"""Kills `fetcher run` at random instants, and compares store and upstream: see docs/crashes.md.

python -m benchmarks.crash --kills 500
python -m benchmarks.crash --kills 500 --store mongodb://127.0.0.1:27017/ --replicas 2
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pymongo

from tests.chaos.harness import Plan, Report, storm


@contextmanager
def fresh(store: str, folder: Path) -> Iterator[str]:
    """The URL of an empty store that is gone afterwards."""
    if store == "sqlite":
        yield f"sqlite:///{folder}/store.db"
        return
    name = f"crash_{uuid4().hex[:12]}"
    try:
        yield f"{store.rstrip('/')}/{name}"
    finally:
        with pymongo.MongoClient[dict[str, object]](store) as client:
            client.drop_database(name)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--store", default="sqlite", help="sqlite, or the URL of a MongoDB server")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--replicas", type=int, choices=(1, 2), default=1)
    parser.add_argument("--stop-every", type=int, default=0, help="every N-th is SIGSTOP, longer")
    parser.add_argument("--drain-every", type=int, default=0, help="every N-th is SIGTERM")
    parser.add_argument("--lease", type=float, default=2.0, help="in seconds")
    parser.add_argument("--plain", action="store_true", help="no renames, nothing comes back")
    parser.add_argument("--graphql", action="store_true", help="ask GitHub with a token")
    parser.add_argument("--log", type=Path, help="where to keep what the daemons say")
    given = parser.parse_args()

    def on_kill(report: Report) -> None:
        if report.kills % 10 == 0:
            print(f"{report.kills} kills, {len(report.violations)} violations", flush=True)

    with tempfile.TemporaryDirectory(prefix="fetcher-crash-") as name:
        folder = Path(name)
        with fresh(given.store, folder) as url:
            plan = Plan(
                url,
                given.kills,
                seed=given.seed,
                replicas=given.replicas,
                stop_every=given.stop_every,
                drain_every=given.drain_every,
                lease=given.lease,
                plain=given.plain,
                graphql=given.graphql,
            )
            report = asyncio.run(storm(folder, plan, on_kill))
        if given.log is not None:
            given.log.write_bytes(folder.joinpath("daemons.log").read_bytes())
    print("\n".join(report.lines()))
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
