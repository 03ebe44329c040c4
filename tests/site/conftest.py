"""The site, built once for all tests of it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.site.reference import DOCS, ROOT


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `make docs` builds it: a link or an anchor that leads nowhere is a failure."""
    return build(DOCS, tmp_path_factory.mktemp("site"))


def build(docs: Path, out: Path) -> Path:
    """Raises `AssertionError` with what Sphinx says."""
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *BUILD, str(docs), str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return out


BUILD = ("--builder", "html", "--nitpicky", "--fail-on-warning", "--keep-going", "--quiet")
