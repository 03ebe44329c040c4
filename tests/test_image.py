"""The image, built by an engine, does what docs/operations.md says of it."""

import json
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import fetcher
from tests.dependencies import ROOT

pytestmark = pytest.mark.timeout(900)  # the first test waits for the build

IMAGE = "fetcher-test"
# As an operator would: no network beyond itself, nothing to write to but what is named.
CLOSED = ("--network", "none", "--read-only", "--cap-drop", "ALL")


class Engine:
    """An engine that takes docker's words."""

    def __init__(self, command: str) -> None:
        self._command = command

    def __call__(self, *words: str, status: int = 0) -> str:
        """Standard output of one command, which has to end with `status`."""
        done = self.run(*words)
        assert done.returncode == status, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._command, *words], check=False, capture_output=True, text=True, cwd=ROOT
        )

    def image(self, part: str, name: str = IMAGE) -> Any:
        """What it tells of an image."""
        return json.loads(self("image", "inspect", "--format", f"{{{{json {part}}}}}", name))


@pytest.fixture(scope="module")
def engine() -> Engine:
    """With the image in it."""
    command = os.environ.get("FETCHER_TEST_ENGINE", "")
    if not command:
        assert not os.environ.get("CI_REQUIRES_ENGINE"), "FETCHER_TEST_ENGINE is not set"
        pytest.skip("FETCHER_TEST_ENGINE names no engine: docker, or what .ci/engine prints")
    assert shutil.which(command), command
    engine = Engine(command)
    engine("build", "--tag", IMAGE, ".")
    return engine


@pytest.fixture
def volume(engine: Engine) -> Iterator[str]:
    name = "fetcher-test-data"
    engine.run("volume", "rm", name)
    engine("volume", "create", name)
    yield name
    engine("volume", "rm", name)


@pytest.fixture
def daemon(engine: Engine, volume: str) -> Iterator[str]:
    """A container with a daemon and its upstreams; the store lies in the volume."""
    name = "fetcher-test-daemon"
    engine.run("rm", "--force", name)
    where = ("--volume", f"{volume}:/data", "--env", "TMPDIR=/data")
    demo = ("demo", "--listen", "127.0.0.1:8080")
    engine("run", "--detach", "--name", name, *CLOSED, *where, IMAGE, *demo)
    yield name
    engine("rm", "--force", name)


def health(engine: Engine, container: str) -> int:
    """How the image's own health check ends in a container."""
    word, *command = engine.image(".Config.Healthcheck.Test")
    assert word == "CMD"
    return engine.run("exec", container, *command).returncode


def test_it_says_what_it_is(engine: Engine) -> None:
    """Labels, user, volume; signals go to the fetcher itself, without a shell between."""
    told = engine.image(".Config")
    labels = told["Labels"]
    prefix = "org.opencontainers.image."
    assert labels[prefix + "version"] == fetcher.__version__
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for label, key in (("title", "name"), ("description",) * 2, ("licenses", "license")):
        assert labels[prefix + label] == project[key]
    assert (told["User"], told["WorkingDir"]) == ("10001:10001", "/data")
    assert (told["Entrypoint"], told["Cmd"]) == (["fetcher"], ["--help"])
    assert told["Volumes"] == {"/data": {}}
    assert engine("run", "--rm", *CLOSED, IMAGE, "--version").endswith(fetcher.__version__)


def test_it_is_small(engine: Engine) -> None:
    """What it adds to its base is about what docs/operations.md tells."""
    base = re.search(
        r"^FROM (\S+) AS base$", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE
    )
    assert base is not None
    added = engine.image(".Size") - engine.image(".Size", base[1])
    text = (ROOT / "docs" / "operations.md").read_text("utf-8")
    told = re.search(r"adds (\d+) MB to its base", text)
    assert told is not None
    assert abs(added / 1e6 - int(told[1])) < 5


def test_nothing_in_it_is_writable(engine: Engine) -> None:
    """Even where the root file system is: its user owns the volume, and has no pip of its own."""
    search = "find / -xdev -writable ! -type l ! -path /data ! -path '*/tmp' ! -path /run/lock"
    run = ("run", "--rm", "--network", "none", "--entrypoint", "sh", IMAGE, "-c")
    assert engine(*run, f"{search} 2>/dev/null || true") == ""
    assert engine(*run, "find /data -writable") == "/data", "it can find something"
    assert engine(*run, "ls -d /opt/fetcher/bin/pip* || echo none") == "none"


def test_a_one_shot_works_with_nothing_writable(engine: Engine) -> None:
    """But /tmp, where the demo keeps its store, and no user but its own."""
    printed = engine(
        "run", "--rm", *CLOSED, "--tmpfs", "/tmp", IMAGE, "demo", "--once", "--format", "ndjson"
    )
    assert len([json.loads(line) for line in printed.splitlines()]) > 10


def test_the_daemon_is_healthy_and_ends_with_zero(engine: Engine, daemon: str, volume: str) -> None:
    """As process 1; SIGTERM drains it, and what it stored outlives the container."""
    statuses = []
    for _ in range(200):
        statuses.append(health(engine, daemon))
        if statuses[-1] == 0:
            break
    assert statuses[-1] == 0, engine("logs", daemon)
    assert statuses[0] != 0, "it can fail: at first nothing listens"
    assert "fetcher" in engine("exec", daemon, "cat", "/proc/1/cmdline")
    engine("stop", "--time", "60", daemon)
    assert engine("wait", daemon) == "0", engine("logs", daemon)
    kept = ("run", "--rm", *CLOSED, "--volume", f"{volume}:/data")
    script = "ls -d /data/fetcher-demo-*/fetcher.db"
    (file,) = engine(*kept, "--entrypoint", "sh", IMAGE, "-c", script).splitlines()
    assert "Hello-World" in engine(*kept, IMAGE, "list", "--store", f"sqlite:///{file}")


def test_it_runs_as_compose_would_run_it(engine: Engine, tmp_path: Path) -> None:
    """With the options of its service and the secrets of the file's head, as far as its store."""
    told = yaml.safe_load((ROOT / "docs" / "deploy" / "compose.yaml").read_text("utf-8"))
    service = told["services"]["fetcher-a"]
    settings = tmp_path / "fetcher.toml"
    settings.write_text((ROOT / "config.example.toml").read_text("utf-8"))
    options = ["--network", "none", *(["--read-only"] if service["read_only"] else [])]
    for option, values in (
        ("--tmpfs", service["tmpfs"]),
        ("--cap-drop", service["cap_drop"]),
        ("--security-opt", service["security_opt"]),
        ("--env", [f"{name}={value}" for name, value in service["environment"].items()]),
        (
            "--volume",
            [each.replace("./fetcher.toml", str(settings)) for each in service["volumes"]],
        ),
    ):
        options.extend(word for value in values for word in (option, value))
    for name in service["secrets"]:
        secret = tmp_path / name
        secret.write_text("mongodb://fetcher:x@127.0.0.1:1/fetcher" if "url" in name else "x" * 48)
        # The head of the file says so.
        secret.chmod(0o644)
        options += ["--volume", f"{secret}:/run/secrets/{name}:ro"]
    done = engine.run("run", "--rm", *options, IMAGE, *service["command"])
    assert done.returncode == 3, done.stderr
    assert "the store mongodb://127.0.0.1:1/fetcher does not work" in done.stderr
