"""Many repositories with a token: requests, points and time, beside nvchecker and mere downloads.

Usage: ``python benchmarks/github.py [--repositories N] [--nvchecker PYTHON]``

A local GitHub answers after 50 ms, and counts points as GitHub does. `fetcher fetch` keeps
complete records (releases with assets and texts) in SQLite, as a process of its own. nvchecker
(``pip install nvchecker`` in an environment of its own, whose Python is named) prints the latest
release's tag of each repository; its GitHub source has its URLs replaced by those of the same
upstream, and keeps its 20 requests at once. "Mere download" sends the queries of the first sync
again, as many at once, and throws the answers away.
"""

import argparse
import asyncio
import json
import math
import re
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from fetcher.demo import DemoUpstream, Fault, GithubUser
from fetcher.sources.github_batches import CHECKED, WORKERS
from fetcher.sources.github_pages import COMPLETED
from fetcher.sources.wire_graphql import Wanted, check_document, page_document

TOKEN = "ghp_benchmark"  # noqa: S105 - of a local upstream
LATENCY = 0.05
COMMAND = Path(sys.executable).with_name("fetcher")
WRAPPER = """
import sys
import nvchecker_source.github as github
github.GITHUB_LATEST_RELEASE = "{url}%.0s/repos/%s/releases/latest"
from nvchecker.__main__ import main
sys.argv = ["nvchecker", "-c", "nvchecker.toml", "-k", "keys.toml"]
main()
"""


@dataclass(frozen=True, slots=True)
class Run:
    """What one run took."""

    name: str
    requests: int
    points: int
    seconds: float
    megabytes: float = 0.0


class Bench:
    """One upstream, and runs against it."""

    def __init__(self, upstream: DemoUpstream, url: str, folder: Path, names: list[str]) -> None:
        self.upstream = upstream
        self.url = url
        self.folder = folder
        self.names = names

    def _points(self) -> int:
        window = self.upstream.github.budget("me", 1_000_000, "graphql")
        return window.limit - window.look(time.time())

    async def process(self, name: str, *command: str | Path) -> Run:
        """Runs a process to its end."""
        self.upstream.log.clear()
        points, begun = self._points(), time.perf_counter()
        status, megabytes = await asyncio.to_thread(_run, command, self.folder)
        took = time.perf_counter() - begun
        if status not in (0, 3):
            raise RuntimeError((self.folder / "output").read_text()[-2000:])
        return Run(name, len(self.upstream.log), self._points() - points, took, megabytes)

    async def fetch(self, name: str) -> Run:
        """`fetcher fetch` of all repositories, which writes what changed."""
        options = ("--from-file", "names", "--quiet", "--changed", "--output", "records")
        return await self.process(name, COMMAND, "fetch", *options)

    async def nvchecker(self, python: str) -> Run:
        """nvchecker's latest release of all repositories."""
        lines = ["[__config__]", 'oldver = "old.json"', 'newver = "new.json"', ""]
        for name in self.names:
            lines += [f'["{name}"]', 'source = "github"', f'github = "{name}"']
            lines += ["use_latest_release = true", ""]
        (self.folder / "nvchecker.toml").write_text("\n".join(lines))
        (self.folder / "keys.toml").write_text(f'[keys]\ngithub = "{TOKEN}"\n')
        (self.folder / "wrapper.py").write_text(WRAPPER.format(url=self.url))
        run = await self.process("nvchecker", python, "wrapper.py")
        found = json.loads((self.folder / "new.json").read_text())["data"]
        if len(found) != len(self.names):
            raise RuntimeError(f"nvchecker found {len(found)} of {len(self.names)}")
        return run

    async def download(self) -> Run:
        """The same queries, answered and thrown away."""
        documents = [check_document(part, set()) for part in _cut(self.names, CHECKED)] + [
            page_document([Wanted(name) for name in part]) for part in _cut(self.names, COMPLETED)
        ]
        self.upstream.log.clear()
        points, begun = self._points(), time.perf_counter()
        waiting = deque(documents)
        headers = {"Authorization": f"Bearer {TOKEN}", "User-Agent": "benchmark"}

        async def worker(session: aiohttp.ClientSession) -> None:
            while waiting:
                document, variables = waiting.popleft()
                body = {"query": document, "variables": variables}
                async with session.post(f"{self.url}/graphql", json=body) as answer:
                    await answer.read()

        async with aiohttp.ClientSession(headers=headers) as session:
            await asyncio.gather(*(worker(session) for _ in range(WORKERS)))
        took = time.perf_counter() - begun
        return Run("mere download", len(self.upstream.log), self._points() - points, took)


def _run(command: Sequence[str | Path], folder: Path) -> tuple[int, float]:
    """Runs a process: its exit status, and the most megabytes that it had."""
    most = 0.0
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output)  # noqa: S603
        # Not from the usage that the system tells at the end: there a child has its parent's peak.
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
            most = max(most, int(found[1]) / 1024 if found else 0.0)
            time.sleep(0.01)
    return process.returncode, most


def _cut(names: Sequence[str], size: int) -> list[Sequence[str]]:
    return [names[at : at + size] for at in range(0, len(names), size)]


async def run(count: int, releases: int, nvchecker: str | None) -> list[Run]:
    """All runs, one after the other."""
    upstream = DemoUpstream()
    github = upstream.github
    github.tokens[TOKEN] = GithubUser("me", limit=1_000_000, graphql_limit=1_000_000)
    github.secondary_points = 10**9
    github.secondary_points_graphql = 10**9
    names = github.populate(count, releases)
    upstream.faults.append(Fault("", "delay", times=None, delay=LATENCY))
    with tempfile.TemporaryDirectory(prefix="fetcher-benchmark-") as name:
        folder = Path(name)
        (folder / "names").write_text("\n".join(names))
        async with upstream.serve() as urls:
            (folder / "fetcher.toml").write_text(
                f'[github]\napi_url = "{urls.github}"\ntoken = "{TOKEN}"\n'
                f'[store]\nurl = "sqlite:///{folder}/store.db"\n'
            )
            bench = Bench(upstream, urls.github, folder, names)
            runs = [await bench.fetch("fetcher, first sync"), await bench.download()]
            runs.append(await bench.fetch("fetcher, nothing changed"))
            newest = f"v1.{releases - 1}.0"
            for n in range(min(20, count)):
                github.edit_release(names[n * (count // 20 or 1)], newest, body="edited")
            runs.append(await bench.fetch("fetcher, 20 changed"))
            if nvchecker is not None:
                runs.append(await bench.nvchecker(nvchecker))
            return runs


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repositories", type=int, default=1_000)
    parser.add_argument("--releases", type=int, default=30)
    parser.add_argument("--nvchecker", help="the Python of an environment that has it")
    given = parser.parse_args()
    runs = asyncio.run(run(given.repositories, given.releases, given.nvchecker))
    print(f"{given.repositories:,} repositories with {given.releases} releases each\n")
    print("| | requests | points | seconds | MB resident |")
    print("|---|--:|--:|--:|--:|")
    for each in runs:
        memory = f"{each.megabytes:.0f}" if each.megabytes else ""
        line = f"| {each.name} | {each.requests:,} | {each.points:,} | {each.seconds:.1f}"
        print(f"{line} | {memory} |")
    least = math.ceil(given.repositories / CHECKED)
    print(f"\n{least} is the least number of requests for a check.")


if __name__ == "__main__":
    main()
