"""What every test stands on: an empty environment, and a word about what was left out."""

import os

import pytest

MONGODB_URL = "FETCHER_TEST_MONGODB_URL"


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the settings or secrets of the person who runs it."""
    for name in list(os.environ):
        ours = name.startswith("FETCHER_") and not name.startswith("FETCHER_TEST_")
        if ours or name.startswith(("GITHUB_TOKEN", "NCBI_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says in one line which tests were left out for want of a MongoDB."""
    skipped = terminalreporter.stats.get("skipped", [])
    left_out = sum(MONGODB_URL in str(report.longrepr) for report in skipped)
    if left_out:
        terminalreporter.write_line(
            f"{left_out} tests over MongoDB were left out; to run them name a server: "
            f"{MONGODB_URL}=mongodb://127.0.0.1:27017/ make test "
            "(docker run -p 27017:27017 mongo, or .ci/mongodb start)"
        )
