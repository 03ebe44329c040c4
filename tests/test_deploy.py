"""What docs/deploy has for machines is read by the machines' own programs."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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
    from fetcher.config import Settings

    assert int(stop[1]) > 2 * Settings().service.drain
