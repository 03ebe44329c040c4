"""Whatever an operator may be woken by stands in the runbook, and nothing else does."""

import re
from pathlib import Path

from fetcher.models import OutcomeKind

DOCS = Path(__file__).parent.parent / "docs"
RUNBOOK = (DOCS / "runbook.md").read_text("utf-8")


def rows(heading: str) -> set[str]:
    """The first cells of a section's table."""
    section = RUNBOOK.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return set(re.findall(r"^\| `(.+?)` \|", section, re.MULTILINE))


def test_every_outcome_has_an_entry() -> None:
    assert rows("Outcomes") == {str(kind) for kind in OutcomeKind}


def test_every_metric_has_an_entry() -> None:
    """Those of docs/metrics.md, which another test holds to what is exported."""
    told = (DOCS / "metrics.md").read_text("utf-8")
    assert rows("Metrics") == set(re.findall(r"^\| `(fetcher_\w+)` \|", told, re.MULTILINE))


def test_every_alert_has_an_entry() -> None:
    rules = (DOCS / "prometheus" / "alerts.yml").read_text("utf-8")
    alerts = set(re.findall(r"- alert: (\w+)", rules))
    section = RUNBOOK.split("\n## Alerts\n")[1].split("\n## ")[0]
    assert set(re.findall(r"^### (\w+)$", section, re.MULTILINE)) == alerts
    assert set(re.findall(r"\bFetcher[A-Z]\w+", RUNBOOK)) == alerts, "nor is another one named"
