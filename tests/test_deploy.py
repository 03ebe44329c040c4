"""What docs/deploy has for machines is read by the machines' own programs."""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from aiohttp import ClientConnectionError, ClientSession

from fetcher.config import Settings, load_settings
from tests.cli.conftest import Cli, cli
from tests.rights import ROLES

__all__ = ["cli"]

DEPLOY = Path(__file__).parent.parent / "docs" / "deploy"
UNIT = DEPLOY / "fetcher.service"
SYSTEMD = shutil.which("systemd-analyze")

# What older versions than the unit is written for do not know.
NEWER = re.compile(
    r"service type, ignoring: notify-reload|Unknown key '?Restart(Steps|MaxDelaySec)"
)


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    assert SYSTEMD is not None
    return subprocess.run(
        [SYSTEMD, *arguments],
        check=False,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "SYSTEMD_PAGER": ""},
    )


@pytest.mark.skipif(SYSTEMD is None, reason="there is no systemd-analyze here")
def test_systemd_reads_the_unit(tmp_path: Path) -> None:
    """Each line of it, with the installed command in the place of the one in /opt."""
    copy = tmp_path / "fetcher.service"
    command = Path(sys.executable).with_name("fetcher")
    copy.write_text(UNIT.read_text("utf-8").replace("/opt/fetcher/bin/fetcher", str(command)))
    done = analyze("verify", "--man=no", str(copy))
    complaints = [line for line in done.stderr.splitlines() if "fetcher.service" in line]
    assert [line for line in complaints if not NEWER.search(line)] == []
    copy.write_text(copy.read_text("utf-8") + "\nNonsense=yes\n[Service]\nProtectHome=perhaps\n")
    assert "Nonsense" in analyze("verify", "--man=no", str(copy)).stderr, "it can fail"


@pytest.mark.skipif(SYSTEMD is None, reason="there is no systemd-analyze here")
def test_systemd_finds_the_unit_hardened(tmp_path: Path) -> None:
    """About the score that docs/operations.md tells."""
    done = analyze("security", "--offline=true", "--threshold=15", "--no-pager", str(UNIT))
    assert done.returncode == 0, done.stdout[-500:]
    score = re.search(r"exposure level for fetcher.service: (\d+\.\d)", done.stdout)
    assert score is not None
    told = re.search(
        r"`systemd-analyze security` gives it (\d\.\d)",
        (DEPLOY.parent / "operations.md").read_text("utf-8"),
    )
    assert told is not None
    # Other versions weigh a little differently.
    assert abs(float(score[1]) - float(told[1])) < 0.35
    bare = tmp_path / "bare.service"
    bare.write_text("[Service]\nExecStart=/bin/true\n")
    done = analyze("security", "--offline=true", "--threshold=15", "--no-pager", str(bare))
    assert done.returncode != 0, "it can fail"


def test_the_unit_leaves_time_for_the_drain() -> None:
    """`service.drain` and the writes behind it end before systemd kills."""
    text = UNIT.read_text("utf-8")
    stop = re.search(r"^TimeoutStopSec=(\d+)s$", text, re.MULTILINE)
    assert stop is not None
    assert int(stop[1]) > 2 * Settings().service.drain


# The oldest that is still supported, and the newest that is known here.
KUBERNETES = ("1.34.0", kubernetes_validate.latest_version())


def manifests() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text("utf-8")))


@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_knows_the_manifests(version: str) -> None:
    """All fields of them, and of the right types."""
    for each in manifests():
        kubernetes_validate.validate(each, version, strict=True)
    wrong = manifests()[2]
    wrong["spec"]["replicas"] = "two"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, version, strict=True)


def test_the_manifests_belong_together() -> None:
    """Selectors, names, ports and the time for the drain."""
    named = {each["kind"]: each for each in manifests()}
    spec = named["Deployment"]["spec"]
    pod = spec["template"]["spec"]
    labels = spec["template"]["metadata"]["labels"]
    (container,) = pod["containers"]
    assert labels == spec["selector"]["matchLabels"]
    assert labels == named["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"]
    assert labels == named["Service"]["spec"]["selector"]
    assert spec["replicas"] > named["PodDisruptionBudget"]["spec"]["minAvailable"]
    volumes = {each["name"] for each in pod["volumes"]}
    assert volumes == {each["name"] for each in container["volumeMounts"]}
    assert pod["terminationGracePeriodSeconds"] > 2 * Settings().service.drain
    image = (DEPLOY.parent.parent / "Dockerfile").read_text("utf-8")
    user = pod["securityContext"]
    assert f"USER {user['runAsUser']}:{user['runAsGroup']}\n" in image


async def test_the_settings_of_the_manifests_start_a_daemon(cli: Cli, tmp_path: Path) -> None:
    """With secrets where they will be; probes need no token, records do."""
    (settings,) = (each["data"] for each in manifests() if each["kind"] == "ConfigMap")
    (text,) = settings.values()
    secrets = {"store-url": f"sqlite:///{tmp_path}/x.db", "github-token": "t", "api-token": "s" * 9}
    for name, secret in secrets.items():
        (tmp_path / name).write_text(secret)
    text = text.replace("/run/secrets/fetcher", str(tmp_path))
    (tmp_path / "given.toml").write_text(text)
    loaded = load_settings(tmp_path / "given.toml", {}, tmp_path)
    assert loaded.store.url == secrets["store-url"]
    assert (loaded.api.listen, loaded.api.require_token) == ("0.0.0.0:8080", True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    local = {
        "FETCHER_API__LISTEN": f"127.0.0.1:{port}",
        "FETCHER_GITHUB__API_URL": cli.urls.github,
        "FETCHER_NCBI__EUTILS_URL": cli.urls.eutils,
    }
    process = await cli.start("run", "--config", "given.toml", env=local)
    try:
        async with ClientSession(f"http://127.0.0.1:{port}") as session:
            for path in ("/healthz", "/readyz"):
                assert await status_of(session, path) == 200
            assert await status_of(session, "/v1/targets") == 401
            headers = {"Authorization": f"Bearer {secrets['api-token']}"}
            assert await status_of(session, "/v1/targets", headers) == 200
    finally:
        done = await cli.interrupt(process, signal.SIGTERM)
    assert done.code == 0, done.err


async def status_of(
    session: ClientSession, path: str, headers: dict[str, str] | None = None
) -> int:
    """The answer's status, once there is one and it is not that of a start."""
    for _ in range(200):
        try:
            async with session.get(path, headers=headers) as answer:
                if answer.status != 503:
                    return answer.status
        except ClientConnectionError:
            pass
        await asyncio.sleep(0.1)
    return 0


def users() -> Mapping[str, str]:
    """The role of each user that the script makes."""
    script = (DEPLOY / "mongodb-users.js").read_text("utf-8")
    told = re.search(r"const users = (\{.+?\});", script, re.DOTALL)
    assert told is not None
    found: Mapping[str, str] = json.loads(told[1])
    return found


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node here")
def test_the_script_for_mongodb_makes_users_with_these_roles(tmp_path: Path) -> None:
    """It runs, on an interpreter of its language; what it asks the server for is written down."""
    for name in users():
        (tmp_path / f"mongodb-{name}").write_text(f"password of {name}\n")
    script = (DEPLOY / "mongodb-users.js").read_text("utf-8")
    script = script.replace("/run/secrets", str(tmp_path))
    log = "(of) => ({createRole: (it) => print(of, it), createUser: (it) => print(of, it)})"
    around = "const print = (of, it) => console.log(JSON.stringify({of, it}));\n"
    around += f"const db = {{getSiblingDB: {log}}};\n"
    done = subprocess.run(
        ["node", "-e", around + script], check=True, capture_output=True, text=True
    )
    made = [json.loads(line) for line in done.stdout.splitlines()]
    assert {each["of"] for each in made} == {"fetcher"}
    roles = {each["it"]["role"]: each["it"] for each in made if "role" in each["it"]}
    assert {
        name: frozenset(privilege["actions"])
        for name, role in roles.items()
        for privilege in role["privileges"]
    } == ROLES
    for role in roles.values():
        (privilege,) = role["privileges"]
        assert privilege["resource"] == {"db": "fetcher", "collection": ""}
        assert role["roles"] == []
    given = {each["it"]["user"]: each["it"] for each in made if "user" in each["it"]}
    assert {name: each["roles"] for name, each in given.items()} == {
        name: [{"role": role, "db": "fetcher"}] for name, role in users().items()
    }
    assert all(each["pwd"] == f"password of {name}" for name, each in given.items())


def test_the_services_of_compose_belong_together(tmp_path: Path) -> None:
    """Every secret, volume and service that is named is there; the settings are ones."""
    told = yaml.safe_load((DEPLOY / "compose.yaml").read_text("utf-8"))
    database, *services = told["services"].values()
    # Both may be started on one host.
    assert len({each["ports"][0].rpartition(":")[0] for each in services}) == len(services) == 2
    service, other = ({**each, "ports": None} for each in services)
    assert service == other
    used = {*service["secrets"], *database["secrets"]}
    assert used == set(told["secrets"])
    assert set(service["depends_on"]) <= set(told["services"])
    assert service["read_only"]
    assert {f"mongodb-{name}" for name in users()} <= set(database["secrets"])
    environ = {}
    for name, value in service["environment"].items():
        environ[name] = value.replace("/run/secrets", str(tmp_path))
        if name.endswith("_FILE"):
            content = "mongodb://fetcher:x@mongodb/fetcher" if "URL" in name else "s3cret" * 4
            Path(environ[name]).write_text(content)
    example = (DEPLOY.parent.parent / "config.example.toml").read_text("utf-8")
    (tmp_path / "fetcher.toml").write_text(example)
    settings = load_settings(None, environ, tmp_path)
    assert settings.store.url == "mongodb://fetcher:x@mongodb/fetcher"
    assert (settings.api.listen, settings.api.require_token) == ("0.0.0.0:8080", True)
    assert int(service["stop_grace_period"].removesuffix("s")) > 2 * settings.service.drain
