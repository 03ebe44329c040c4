"""What a storm is to be, and the daemons that it rages among."""

import asyncio
import json
import os
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fetcher.demo import Urls
from tests.chaos.subscriber import API_TOKEN
from tests.chaos.weather import ACCESSIONS, NCBI_RATE, QUERY, REPOSITORIES, TOKEN

__all__ = ["EVERY", "TARGETS", "Daemons", "Plan"]

COMMAND: Final = Path(sys.executable).with_name("fetcher")
TARGETS: Final = (
    *(f"github:{name}" for name in REPOSITORIES),
    *(f"ncbi:nuccore/{name}" for name in ACCESSIONS),
    f"ncbi:nuccore?{QUERY}",
)
EVERY: Final = 1.0
RECONCILE: Final = 3.0
"""Seconds after which the query is listed whole: so both ways of asking go on all the time."""
_DRAIN: Final = 20.0


@dataclass(frozen=True, slots=True)
class Plan:
    """A storm.

    Every `stop_every`-th blow (0: none) is a pause longer than the lease, every `drain_every`-th
    of the others an orderly end. `plain` leaves out what comes back upstream: see `Weather`.
    `graphql` has GitHub asked with a token, which is by another way.
    """

    url: str
    kills: int
    seed: int = 1
    replicas: int = 1
    stop_every: int = 0
    drain_every: int = 0
    lease: float = 2.0
    plain: bool = False
    graphql: bool = False


class Daemons:
    """Processes of `fetcher run` on one store."""

    def __init__(self, folder: Path, plan: Plan, urls: Urls) -> None:
        self._folder = folder
        self.running: list[asyncio.subprocess.Process] = []
        self._ports: dict[int, int] = {}
        listed = ", ".join(json.dumps(each) for each in TARGETS)
        text = f"""
            [github]
            api_url = "{urls.github}"
            token = "{TOKEN if plan.graphql else ""}"
            [ncbi]
            eutils_url = "{urls.eutils}"
            email = "storm@example.org"
            requests_per_second = {NCBI_RATE}
            reconcile = "{RECONCILE:g}s"
            [store]
            url = "{plan.url}"
            [service]
            lease = "{plan.lease:g}s"
            min_interval = "{EVERY:g}s"
            max_interval = "3s"
            [api]
            token = "{API_TOKEN}"
            [[watch]]
            targets = [{listed}]
            every = "{EVERY:g}s"
            """
        folder.joinpath("fetcher.toml").write_text(text, "utf-8")

    async def start(self) -> asyncio.subprocess.Process:
        """One more."""
        arguments = ("run", "--config", "fetcher.toml", "--log-format", "json")
        port = _free_port()
        environment = {**os.environ, "FETCHER_API__LISTEN": f"127.0.0.1:{port}"}
        with self._folder.joinpath("daemons.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                COMMAND,
                *arguments,
                cwd=self._folder,
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=log,
            )
        self.running.append(process)
        self._ports[process.pid] = port
        return process

    def ports(self) -> list[int]:
        """Where those that run serve, or soon will."""
        return [self._ports[each.pid] for each in self.running]

    async def kill(self, process: asyncio.subprocess.Process) -> None:
        """SIGKILL."""
        process.kill()
        await process.wait()
        self.running.remove(process)

    async def kill_all(self) -> None:
        for process in list(self.running):
            if process.returncode is None:
                process.kill()
            await process.wait()
        self.running.clear()

    async def drain(self, process: asyncio.subprocess.Process) -> int | None:
        """SIGTERM; gives the exit code, None where it does not end."""
        process.terminate()
        try:
            async with asyncio.timeout(_DRAIN):
                code = await process.wait()
        except TimeoutError:
            return None
        self.running.remove(process)
        return code

    def logged(self) -> str:
        """What all of them said."""
        return self._folder.joinpath("daemons.log").read_text("utf-8")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
