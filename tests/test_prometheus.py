"""The alert rules and the dashboard in a real Prometheus, which scrapes a real daemon."""

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession

from tests.cli.conftest import Cli, cli

__all__ = ["cli"]

RULES = Path(__file__).parent.parent / "docs" / "prometheus"
SECONDS = 60


@pytest.fixture
def prometheus() -> Path:
    """The folder with prometheus and promtool."""
    found = shutil.which("promtool")
    folder = os.environ.get("FETCHER_TEST_PROMETHEUS") or (found and str(Path(found).parent))
    if not folder:
        assert not os.environ.get("CI_REQUIRES_PROMETHEUS"), "FETCHER_TEST_PROMETHEUS is not set"
        pytest.skip("no promtool on PATH; FETCHER_TEST_PROMETHEUS names a folder that has one")
    return Path(folder)


def test_the_rules_fire_when_they_should(prometheus: Path, tmp_path: Path) -> None:
    """docs/prometheus/alerts.test.yml, by Prometheus' own tester; each alert has a test there."""
    for name in ("alerts.yml", "alerts.test.yml"):
        shutil.copy(RULES / name, tmp_path)

    def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [prometheus / "promtool", *arguments],
            check=False,
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )

    done = promtool("check", "rules", "--lint-fatal", "alerts.yml")
    assert done.returncode == 0, done.stderr
    done = promtool("test", "rules", "alerts.test.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    tests = (RULES / "alerts.test.yml").read_text("utf-8")
    rules = (RULES / "alerts.yml").read_text("utf-8")
    for line in rules.splitlines():
        if "- alert: " in line:
            assert tests.count(f"alertname: {line.split()[-1]}\n") == 1
    (tmp_path / "alerts.yml").write_text(rules.replace("> 3600", "> 5000"))
    assert promtool("test", "rules", "alerts.test.yml").returncode != 0, "it can fail"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def scraping(prometheus: Path, folder: Path, port: int) -> AsyncIterator[ClientSession]:
    """A Prometheus that scrapes a local port each second, with a token in a file."""
    own = free_port()
    config = folder / "prometheus.yml"
    config.write_text(
        f"global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n"
        f"rule_files: ['{RULES / 'alerts.yml'}']\n"
        f"scrape_configs:\n"
        f"  - job_name: fetcher\n"
        f"    authorization: {{credentials_file: '{folder / 'api-token'}'}}\n"
        f"    static_configs: [{{targets: ['127.0.0.1:{port}']}}]\n"
    )
    process = await asyncio.create_subprocess_exec(
        prometheus / "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{own}",
        "--log.level=error",
        cwd=folder,
    )
    try:
        async with ClientSession(f"http://127.0.0.1:{own}") as session:
            yield session
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


async def ask(session: ClientSession, path: str, **parameters: str) -> Any:
    """What Prometheus answers; None while it does not yet."""
    try:
        async with session.get(f"/api/v1/{path}", params=parameters) as answer:
            told = await answer.json(content_type=None)
    except (ClientError, json.JSONDecodeError):
        return None
    return told["data"] if told is not None and told.get("status") == "success" else None


async def value(session: ClientSession, expression: str) -> float | None:
    """The first value of an expression, once it has one."""
    for _ in range(SECONDS * 5):
        told = await ask(session, "query", query=expression)
        if told is not None and told["result"]:
            return float(told["result"][0]["value"][1])
        await asyncio.sleep(0.2)
    return None


async def test_prometheus_scrapes_a_daemon(prometheus: Path, cli: Cli, tmp_path: Path) -> None:
    """It takes every line, all rules are healthy, and the dashboard's expressions are ones."""
    port = free_port()
    (tmp_path / "api-token").write_text("s3cret" * 4)
    env = {
        "FETCHER_API__LISTEN": f"127.0.0.1:{port}",
        "FETCHER_API__TOKEN_FILE": "api-token",
        "FETCHER_API__REQUIRE_TOKEN": "true",
    }
    assert (await cli("watch", "add", "NC_003355.1", "--every", "1m")).code == 0
    daemon = await cli.start("run", env=env)
    try:
        async with scraping(prometheus, tmp_path, port) as session:
            assert await value(session, 'up{job="fetcher"} == 1') == 1
            polled = 'sum(fetcher_polls_total{upstream="ncbi", outcome="changed"}) > 0'
            assert await value(session, polled) == 1
            assert await value(session, "max(fetcher_account_leading)") == 1
            assert await value(session, "fetcher_store_up") == 1
            assert await value(session, 'count(ALERTS{alertstate="firing"}) or vector(0)') == 0
            (group,) = (await ask(session, "rules"))["groups"]
            assert {rule["health"] for rule in group["rules"]} == {"ok"}, group
            dashboard = json.loads((RULES / "grafana.json").read_text("utf-8"))
            for panel in dashboard["panels"]:
                for target in panel.get("targets", ()):
                    expression = target["expr"].replace("$__rate_interval", "1m")
                    assert await ask(session, "query", query=expression) is not None, expression
            assert await ask(session, "query", query="sum by (x") is None, "it can fail"
    finally:
        done = await cli.interrupt(daemon, signal.SIGTERM)
    assert done.code == 0, done.err
