"""How long one hot record takes to read while the same daemon fetches many others.

Usage: ``python benchmarks/busy.py [--records N] [--seconds S] [--store URL]``

The daemon, the local NCBI and the load are processes of their own; the load is a steady number of
requests a second, first while nothing is due, then while a query's records come in.
"""

import argparse
import asyncio
import multiprocessing
import signal
import socket
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import quantiles

from benchmarks.reading import answer, ask, request
from fetcher.demo import DemoUpstream

RATE = 100
HOT = "/v1/ncbi/nuccore/NC_003355.1"
ORGANISM = "txid12242[Organism:exp]"


async def publishing(records: int, there: Connection) -> None:
    """A local NCBI with so many records of an organism."""
    upstream = DemoUpstream()
    upstream.load_bundled()
    upstream.ncbi.populate(records, length=6_000)
    async with upstream.serve() as urls:
        there.send(urls.eutils)
        await asyncio.to_thread(there.recv)


def upstream_process(records: int, there: Connection) -> None:
    """A process."""
    asyncio.run(publishing(records, there))


def settings(eutils: str, store: str, port: int, *targets: str) -> str:
    """What the daemon is told."""
    listed = ", ".join(f'"{each}"' for each in targets)
    return f"""
        [ncbi]
        eutils_url = "{eutils}"
        requests_per_second = 10
        [store]
        url = "{store}"
        [api]
        listen = "127.0.0.1:{port}"
        [[watch]]
        targets = [{listed}]
        every = "1h"
        """


async def load(port: int, seconds: float) -> list[float]:
    """Requests at their times, whether or not those before were answered: seconds each."""
    times: list[float] = []
    pool: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    asked = request(HOT, None)

    async def one() -> None:
        begun = time.perf_counter()
        reader, writer = pool.pop() if pool else await asyncio.open_connection("127.0.0.1", port)
        writer.write(asked)
        await answer(reader)
        times.append(time.perf_counter() - begun)
        pool.append((reader, writer))

    begun = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for n in range(round(seconds * RATE)):
            await asyncio.sleep(max(0.0, begun + n / RATE - time.perf_counter()))
            group.create_task(one())
    for _, writer in pool:
        writer.close()
    return times


async def stored(port: int) -> int:
    """Polls' records as the metrics tell."""
    headers, body = await ask(port, "/metrics")
    lines = [
        line for line in body.decode().splitlines() if line.startswith("fetcher_records_total")
    ]
    return round(sum(float(line.rpartition(" ")[2]) for line in lines)) if headers else 0


async def until_served(port: int) -> None:
    """The record is there."""
    while True:
        try:
            _, body = await ask(port, HOT)
        except OSError:
            body = b""
        if b"Wasabi" in body:
            return
        await asyncio.sleep(0.2)


async def measure(folder: Path, eutils: str, store: str, seconds: float) -> None:
    """Both loads, and a line."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    file = folder / "fetcher.toml"
    hot = "ncbi:nuccore/NC_003355.1"
    file.write_text(settings(eutils, store, port, hot), encoding="utf-8")
    command = (Path(sys.executable).with_name("fetcher"), "run", "--log-level", "error")
    daemon = await asyncio.create_subprocess_exec(*command, cwd=folder)
    try:
        await until_served(port)
        await load(port, 1.0)
        idle = await load(port, seconds)
        before = await stored(port)
        text = settings(eutils, store, port, hot, f"ncbi:nuccore?{ORGANISM}")
        file.write_text(text, encoding="utf-8")
        daemon.send_signal(signal.SIGHUP)
        while await stored(port) == before:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.1)
        first, begun = await stored(port), time.perf_counter()
        busy = await load(port, seconds)
        came, took = await stored(port) - first, time.perf_counter() - begun
    finally:
        daemon.terminate()
        await daemon.wait()
    for name, times in (("nothing due", idle), ("a bulk fetch", busy)):
        cuts = quantiles(times, n=100)
        print(
            f"| {name} | {cuts[49] * 1000:.1f} | {cuts[98] * 1000:.1f} | {max(times) * 1000:.0f} |"
        )
    ratio = quantiles(busy, n=100)[98] / quantiles(idle, n=100)[98]
    print(f"\np99 {ratio:.1f} times; {came / took:,.0f} records a second came in meanwhile")


def main() -> None:
    """Runs it and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=40_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--store", help="an empty store; default: SQLite in a temporary folder")
    arguments = parser.parse_args()
    here, there = multiprocessing.Pipe()
    made = multiprocessing.get_context("spawn").Process(
        target=upstream_process, args=(arguments.records, there)
    )
    made.start()
    with tempfile.TemporaryDirectory(prefix="fetcher-benchmark-") as folder:
        store = arguments.store or f"sqlite:///{folder}/b.db"
        print("| While | p50 ms | p99 ms | most ms |\n|---|--:|--:|--:|")
        asyncio.run(measure(Path(folder), here.recv(), store, arguments.seconds))
    here.send("enough")
    made.join()


if __name__ == "__main__":
    main()
