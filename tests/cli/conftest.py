"""The installed command as a process, beside a local upstream on the machine's own clock."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fetcher.demo import DemoUpstream, Urls
from tests.stores import store_url

__all__ = ["Cli", "Done", "store_url"]

COMMAND = Path(sys.executable).with_name("fetcher")


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    code: int
    out: bytes
    err: str

    @property
    def lines(self) -> list[Any]:
        """Its ndjson."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def json(self) -> Any:
        """Its JSON."""
        return json.loads(self.out)


class Cli:
    """Runs the command in a folder of its own, with settings that name the local upstream."""

    def __init__(self, folder: Path, urls: Urls, upstream: DemoUpstream) -> None:
        self.folder = folder
        self.urls = urls
        self.upstream = upstream
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8"}
        self.write_settings(urls)

    def write_settings(self, urls: Urls, store: str | None = None) -> None:
        lines = [
            "[github]",
            f'api_url = "{urls.github}"',
            "[ncbi]",
            f'eutils_url = "{urls.eutils}"',
            f'datasets_url = "{urls.datasets}"',
            "[http]",
            "max_attempts = 2",
        ]
        if store is not None:
            lines += ["[store]", f'url = "{store}"']
        self.folder.joinpath("fetcher.toml").write_text("\n".join(lines), "utf-8")

    def bundled(self, database: str) -> list[str]:
        """The accession.versions that the local NCBI came with."""
        return [each.accession_version for each in self.upstream.ncbi.current(database)]

    async def start(self, *arguments: str, **more: Any) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            COMMAND,
            *arguments,
            cwd=self.folder,
            env=self.environment | more.pop("env", {}),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def __call__(
        self, *arguments: str, stdin: bytes = b"", env: Mapping[str, str] | None = None
    ) -> Done:
        process = await self.start(*arguments, env=dict(env or {}))
        out, err = await process.communicate(stdin)
        assert process.returncode is not None
        text = err.decode()
        assert "Traceback" not in text, text
        return Done(process.returncode, out, text)

    async def interrupt(self, process: asyncio.subprocess.Process, number: signal.Signals) -> Done:
        process.send_signal(number)
        out, err = await process.communicate()
        assert process.returncode is not None
        return Done(process.returncode, out, err.decode())


@pytest.fixture
async def cli(tmp_path: Path) -> AsyncIterator[Cli]:
    upstream = DemoUpstream()
    upstream.load_bundled()
    async with upstream.serve() as urls:
        yield Cli(tmp_path, urls, upstream)
