"""How much of NCBI's ten requests a second is used while there is work, and whether ever one more.

Usage: ``python benchmarks/ncbi_rate.py [--requests N]``

`fetcher fetch` gets a query by pages from a local NCBI that answers after some time and allows ten
requests in any second, as it does with a key. Its own log is the judge.
"""

import argparse
import asyncio
import os
import sys
import tempfile
from bisect import bisect_right
from pathlib import Path

from fetcher.demo import DemoUpstream, Fault
from fetcher.sources.ncbi_queries import PAGE

KEY = "benchmark"
RATE = 10
COMMAND = Path(sys.executable).with_name("fetcher")


async def run(requests: int, latency: float) -> str:
    """One row of the table."""
    upstream = DemoUpstream()
    upstream.ncbi.api_keys[KEY] = RATE
    days = [f"{n:02}-FEB-2024" for n in range(1, 29)]
    upstream.ncbi.populate(requests * PAGE, length=60, days=days)
    if latency:
        upstream.faults.append(Fault("", "delay", times=None, delay=latency))
    async with upstream.serve() as urls:
        with tempfile.TemporaryDirectory() as folder:
            environment = {
                **os.environ,
                "NCBI_API_KEY": KEY,
                "NCBI_EMAIL": "benchmark@example.org",
                "FETCHER_NCBI__EUTILS_URL": urls.eutils,
            }
            arguments = ("fetch", "ncbi:nuccore?all[filter]", "--quiet", "--changed")
            process = await asyncio.create_subprocess_exec(
                COMMAND, *arguments, "--output", "records", cwd=folder, env=environment
            )
            status = await process.wait()
    times = sorted(each.at for each in upstream.log)
    busiest = max(n + 1 - bisect_right(times, at - 1.0) for n, at in enumerate(times))
    # From the first request to the last there is work all the time.
    used = (len(times) - 1) / (RATE * (times[-1] - times[0]))
    limited = sum(each.status == 429 for each in upstream.log)
    cells = (f"{latency * 1000:.0f} ms", f"{len(times)}", f"{times[-1] - times[0]:.1f}")
    return f"| {' | '.join(cells)} | {100 * used:.0f} % | {busiest} | {limited} | {status} |"


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=100)
    given = parser.parse_args()
    print("| latency | requests | seconds | used | most in a second | refused | exit |")
    print("|--:|--:|--:|--:|--:|--:|--:|")
    for latency in (0.0, 0.02, 0.05):
        print(asyncio.run(run(given.requests, latency)), flush=True)


if __name__ == "__main__":
    main()
