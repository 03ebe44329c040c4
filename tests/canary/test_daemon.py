"""The daemon with a secret in every setting: none in its log, pages, metrics or store."""

import asyncio
import base64
import hmac
import json
import re
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import aiohttp

from fetcher.demo import Fault
from tests.canary.conftest import REPOSITORY, Machine
from tests.canary.echo import Echo

TARGETS = [
    f"github:{REPOSITORY}",
    "github:stellarcarbon/sorocarbon",
    "ncbi:nuccore/NC_003355.1",
    "ncbi:nuccore?txid1169032[Organism:exp]",
    "ncbi:taxonomy/1169032",
]
# What stands in the place of a path's parameters.
VALUES = {
    "owner": "Codertocat",
    "repo": "Hello-World",
    "tag": "v1.0.0",
    "database": "nuccore",
    "accession": "NC_003355",
    "taxid": "1169032",
    "target": "github:Codertocat%2FHello-World",
}


class Daemon:
    """One that runs, and a browser that goes wherever there is something."""

    def __init__(self, machine: Machine, process: asyncio.subprocess.Process, base: str) -> None:
        self.machine = machine
        self.process = process
        self.base = base
        self.wrong = machine.canaries.new("a client's wrong token")
        self.seen = 0

    async def get(
        self, session: aiohttp.ClientSession, path: str, method: str = "GET", **more: str
    ) -> tuple[int, str]:
        url = f"{self.base}{path}"
        async with session.request(method, url, headers=more, allow_redirects=False) as answer:
            text = await answer.text("utf-8", "replace")
            said = "\n".join(f"{name}: {value}" for name, value in answer.headers.items())
            self.machine.look(f"{method} {path}: {answer.status}", f"{said}\n\n{text}")
            self.seen += 1
            return answer.status, text

    async def until(self, session: aiohttp.ClientSession, wanted: str) -> str:
        """The state of all targets as soon as the pattern is found in it."""
        token = self.machine.settings["api"]["token"]
        async with asyncio.timeout(40):
            while True:
                headers = {"Authorization": f"Bearer {token}"}
                _, text = await self.get(session, "/v1/targets", **headers)
                if re.search(wanted, text):
                    return text
                await asyncio.sleep(0.2)

    async def visit(self, session: aiohttp.ClientSession) -> None:
        """Every route that the API tells of, and every page, with a token and without."""
        right = {"Authorization": f"Bearer {self.machine.settings['api']['token']}"}
        _, text = await self.get(session, "/openapi.json", **right)
        routes = [
            (re.sub(r"{(\w+)}", lambda found: VALUES[found[1]], path), method.upper())
            for path, methods in json.loads(text)["paths"].items()
            for method in methods
            if method == "get"
        ]
        assert len(routes) >= 12
        of_one = (f"/targets/{VALUES['target']}", "/records/sequence/nuccore%3ANC_003355.1")
        pages = ("/", "/docs", "/healthz", "/readyz", "/metrics", "/nowhere", *of_one)
        statuses = set()
        for path, method in [*routes, *((page, "GET") for page in pages)]:
            if "changes" in path:
                path += "?after=0"
            for headers in ({}, right):
                statuses.add((await self.get(session, path, method, **headers))[0])
        for path in ("/v1/targets", "/metrics", "/"):
            mark = "&" if "?" in path else "?"
            asked = f"{path}{mark}token={self.wrong}&api_key={self.wrong}&limit={self.wrong}"
            await self.get(session, asked)
        assert {200, 401, 404} <= statuses

    async def guess(self, session: aiohttp.ClientSession) -> None:
        """Comes with a wrong token, in each way; the answers come the later, the more of them."""
        basic = base64.b64encode(f"me:{self.wrong}".encode()).decode()
        for given in (f"Bearer {self.wrong}", f"Basic {basic}", self.wrong):
            assert (await self.get(session, "/v1/targets", Authorization=given))[0] == 401

    async def deliver(self, session: aiohttp.ClientSession, secret: str) -> int:
        """A release of GitHub's, signed with a secret."""
        body = json.dumps({"action": "published", "repository": {"id": 1, "full_name": "a/b"}})
        seal = hmac.new(secret.encode(), body.encode(), "sha256").hexdigest()
        headers = {
            "Content-Type": "application/json",
            "X-GitHub-Event": "release",
            "X-GitHub-Delivery": "72d3162e-1",
            "X-Hub-Signature-256": f"sha256={seal}",
        }
        where = f"{self.base}/v1/webhooks/github"
        async with session.post(where, data=body, headers=headers) as answer:
            self.machine.look("the webhook", await answer.text())
            return answer.status

    def look_at_processes(self) -> None:
        """It has no children who could show an environment, and no secret as an argument."""
        proc = Path(f"/proc/{self.process.pid}")
        children = "".join(path.read_text() for path in proc.glob("task/*/children"))
        assert not children.strip(), "a child's environment and arguments must be looked at"
        self.machine.look("the command line", proc.joinpath("cmdline").read_bytes())


@asynccontextmanager
async def running(machine: Machine, how: str) -> AsyncIterator[Daemon]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{probe.getsockname()[1]}"
    machine.settings["api"] |= {"listen": listen, "require_token": True}
    machine.settings["watch"] = [{"targets": TARGETS, "every": "1s"}]
    machine.write()
    process = await machine.start("run", "--log-format", how)
    said = [
        asyncio.create_task(stream.read()) for stream in (process.stdout, process.stderr) if stream
    ]
    try:
        yield Daemon(machine, process, f"http://{listen}")
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        out, err = [await each for each in said]
        machine.look("the daemon's output", out)
        machine.look("the daemon's log", err)
        assert b"draining" in err, err.decode()


async def test_no_page_of_a_daemon_tells_a_secret(machine: Machine, echo: Echo) -> None:
    """Where all goes well, where upstreams quote what they are sent, and at the end."""
    secrets = machine.canaries.values
    carrier = quote(secrets["http.proxy"], safe="")
    machine.settings["http"]["proxy"] = f"http://carrier:{carrier}@{echo.url.partition('//')[2]}"
    echo.answer = ""
    how = "json" if machine.store.startswith("sqlite") else "console"
    async with running(machine, how) as daemon, aiohttp.ClientSession() as session:
        async with asyncio.timeout(30):
            while True:
                try:
                    await daemon.get(session, "/healthz")
                    break
                except aiohttp.ClientConnectionError:
                    await asyncio.sleep(0.1)
        await daemon.until(session, r'"outcome": ?"changed|"outcome": ?"unchanged')
        daemon.look_at_processes()
        await daemon.visit(session)
        await daemon.guess(session)
        for name in ("github.webhook_secret", "github.webhook_secret_old"):
            assert await daemon.deliver(session, secrets[name]) == 202
        assert await daemon.deliver(session, daemon.wrong) == 403
        # The other answers: tests/canary/test_answers.py.
        echo.answer = "bad request"
        await daemon.until(session, "answered 400")
        await daemon.visit(session)
        machine.write(extra=f'[github.tokn]\nx = "{machine.canaries.new("a bad reload")}"\n')
        daemon.process.send_signal(signal.SIGHUP)
        echo.answer = ""
        machine.upstream.faults = [Fault(".", "hang", times=None)]
        await asyncio.sleep(1.2)
        daemon.process.send_signal(signal.SIGTERM)
        await daemon.process.wait()
    machine.look_at_what_is_left()
    assert not machine.leaks, "\n".join(machine.leaks)
    assert daemon.seen > 50
