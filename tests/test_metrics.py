"""Metrics: names as documented, labels bounded."""

import json
import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fetcher.metrics import Metrics

DOCS = Path(__file__).parent.parent / "docs" / "metrics.md"


def used() -> Metrics:
    """Everything was counted once."""
    metrics = Metrics()
    metrics.polled("github", "changed", 0.2, 3.0)
    metrics.polled("elsewhere", "nonsense", -1.0, None)
    metrics.stored("release", "added", 3)
    metrics.requests("github:anonymous", 2)
    metrics.account("github:anonymous", leading=True, closed_seconds=0.0, under_way=4)
    metrics.quota("github:anonymous", "rest", (7, 60, 1_764_000_000.0))
    metrics.store(up=True)
    metrics.store_failure()
    metrics.restarted("pulse")
    metrics.reloaded(ok=False)
    metrics.webhook("release", "accepted")
    metrics.webhook("push", "ignored")
    metrics.webhook("", "forged")
    return metrics


def test_what_was_counted_is_rendered() -> None:
    """In the text format, and in OpenMetrics for who asks for it."""
    body, content_type = used().render("")
    text = body.decode()
    assert content_type.startswith("text/plain")
    for line in (
        'fetcher_polls_total{outcome="changed",upstream="github"} 1.0',
        'fetcher_polls_total{outcome="other",upstream="other"} 1.0',
        'fetcher_records_total{change="added",kind="release"} 3.0',
        'fetcher_requests_total{account="github:anonymous"} 2.0',
        'fetcher_account_quota_remaining{account="github:anonymous",resource="rest"} 7.0',
        'fetcher_account_quota_limit{account="github:anonymous",resource="rest"} 60.0',
        (
            "fetcher_account_quota_reset_timestamp_seconds"
            '{account="github:anonymous",resource="rest"} 1.764e+09'
        ),
        'fetcher_poll_lateness_seconds_sum{upstream="github"} 3.0',
        "fetcher_store_up 1.0",
        'fetcher_webhooks_total{event="release",result="accepted"} 1.0',
        'fetcher_webhooks_total{event="other",result="ignored"} 1.0',
        'fetcher_webhooks_total{event="unknown",result="forged"} 1.0',
    ):
        assert line in text, line
    _, content_type = used().render("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")


def test_a_quota_that_is_not_known_any_more_is_not_told() -> None:
    """After its reset, until the next answer tells of a new one; and one that never was."""
    metrics = used()
    metrics.quota("github:anonymous", "graphql", None)
    metrics.quota("github:anonymous", "rest", None)
    text = metrics.render("")[0].decode()
    assert "fetcher_account_quota_remaining{" not in text


def test_no_label_names_a_target() -> None:
    """There may be millions of them."""
    text = used().render("")[0].decode()
    bounded = {"upstream", "outcome", "kind", "change", "account", "task", "result", "event"}
    bounded.add("resource")
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            assert set(sample.labels) <= bounded | {"le", "version"}


def test_every_metric_is_documented() -> None:
    """And nothing is documented that does not exist."""
    text = used().render("")[0].decode()
    made = {
        re.sub(r"_(total|bucket|sum|count|created)$", "", sample.name)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("fetcher_")
    }
    told = re.findall(r"^\| `(fetcher_\w+)`", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    assert {re.sub(r"_total$", "", name) for name in told} == made


@pytest.mark.parametrize("name", ["alerts.yml", "grafana.json"])
def test_what_is_shipped_for_prometheus_asks_for_what_exists(name: str) -> None:
    """Every metric of the alerts and the dashboard, with labels that it has."""
    text = (DOCS.parent / "prometheus" / name).read_text(encoding="utf-8")
    if name.endswith(".json"):
        assert json.loads(text)["panels"]
    samples = {
        sample.name: set(sample.labels)
        for family in text_string_to_metric_families(used().render("")[0].decode())
        for sample in family.samples
    }
    asked = set(re.findall(r"\b(?:fetcher_[a-z]\w*|process_\w+)", text))
    assert len(asked) > 5
    for metric in asked:
        assert metric in samples or metric.startswith("process_"), metric
    labels = set().union(*samples.values())
    for grouped in re.findall(r"by \(([^)]*)\)", text):
        assert set(re.split(r", *", grouped)) <= labels
