"""What reads hostile input raises its documented errors, and keeps its promises."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.seeds import seeds
from tests.fuzz.targets import TARGETS

RUNS = 20_000
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", TARGETS)
def test_what_the_fuzzer_starts_from(name: str) -> None:
    """Seeds, and what is left of them when they are cut."""
    for seed in seeds(name):
        for end in range(0, len(seed), 1 + len(seed) // 20):
            TARGETS[name](seed[:end])
        TARGETS[name](seed)


@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris has no wheel here")
def test_a_short_run_guided_by_coverage(tmp_path: Path) -> None:
    """All targets by turns; a million runs of one are ``python -m tests.fuzz.run NAME``."""
    command = [sys.executable, "-m", "tests.fuzz.run", "all", f"-runs={RUNS}", "-seed=1"]
    ended = subprocess.run(
        [*command, f"-artifact_prefix={tmp_path}/"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=110,
    )
    assert ended.returncode == 0, ended.stderr[-4_000:]
    assert f"Done {RUNS} runs" in ended.stderr
    covered = re.findall(r"cov: (\d+)", ended.stderr)
    assert int(covered[-1]) > 1_000, "it starts from the seeds, not from nothing"
