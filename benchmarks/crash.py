"""Kills `fetcher run` at random instants, and compares store and upstream: see docs/crashes.md.

python benchmarks/crash.py --kills 500
python benchmarks/crash.py --kills 500 --store mongodb://127.0.0.1:27017/crash --replicas 2
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.chaos.storm import Report, rage


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--store", default="", help="default: an SQLite file of its own")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--stop-every", type=int, default=0, help="SIGSTOP instead, one in so many")
    parser.add_argument("--at-work", action="store_true", help="kill only who has begun to poll")
    given = parser.parse_args()

    def on_kill(report: Report) -> None:
        if report.kills % 10 == 0:
            print(f"{report.kills} kills, {len(report.violations)} violations", flush=True)
            print(*report.violations[-1:], sep="\n", end="", flush=True)

    with tempfile.TemporaryDirectory(prefix="fetcher-crash-") as folder:
        report = asyncio.run(
            rage(
                Path(folder),
                given.store or f"sqlite:///{folder}/store.db",
                kills=given.kills,
                seed=given.seed,
                replicas=given.replicas,
                stop_every=given.stop_every,
                at_work=given.at_work,
                on_kill=on_kill,
            )
        )
        print("\n".join(report.lines()))
        log = Path(folder, "daemons.log").read_text(encoding="utf-8")
        if report.violations:
            print(log[-20_000:])
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
