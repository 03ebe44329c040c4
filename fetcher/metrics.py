"""Prometheus counters of what leaders commit; docs/metrics.md has every name.

No label names a target: there may be millions. Labels are upstreams, outcomes, kinds, tasks,
events and accounts, each of which is a small set.
"""

from contextlib import suppress
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.exposition import choose_encoder
from prometheus_client.process_collector import ProcessCollector

from fetcher import __version__
from fetcher.models import OutcomeKind

__all__ = ["Metrics"]

_UPSTREAMS: Final = ("github", "ncbi")
_OUTCOMES: Final = tuple(map(str, OutcomeKind))
_EVENTS: Final = ("create", "delete", "ping", "release", "repository")
_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
_LATE: Final = (0.1, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 21600.0, 86400.0)
_REMAINING: Final = (
    "What is left of a quota until its reset, as the upstream says; absent where it does not, and "
    "after the reset until it says so again."
)


class Metrics:
    """All metrics of one daemon, in a registry of their own."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry = registry if registry is not None else CollectorRegistry()
        ProcessCollector(registry=registry)
        Info("fetcher_build", "The version that runs.", registry=registry).info(
            {"version": __version__}
        )
        self._polls = Counter(
            "fetcher_polls",
            "Polls of targets that ended and were committed.",
            ("upstream", "outcome"),
            registry=registry,
        )
        self._poll_seconds = Histogram(
            "fetcher_poll_seconds",
            "Seconds from the begin of a poll to its commit.",
            ("upstream",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._late = Histogram(
            "fetcher_poll_lateness_seconds",
            "Seconds from the due time of a watched target to the begin of its poll.",
            ("upstream",),
            buckets=_LATE,
            registry=registry,
        )
        self._records = Counter(
            "fetcher_records",
            "Records that polls added, changed or withdrew.",
            ("kind", "change"),
            registry=registry,
        )
        self._requests = Counter(
            "fetcher_requests",
            "Requests that were let through to an upstream, retries included.",
            ("account",),
            registry=registry,
        )
        self._leading = Gauge(
            "fetcher_account_leading",
            "1 while this process polls the account.",
            ("account",),
            registry=registry,
        )
        self._quotas = [
            Gauge(f"fetcher_account_quota_{name}", told, ("account", "resource"), registry=registry)
            for name, told in (
                ("remaining", _REMAINING),
                ("limit", "The whole of that quota."),
                ("reset_timestamp_seconds", "When it is whole again, in seconds since 1970."),
            )
        ]
        self._closed = Gauge(
            "fetcher_account_closed_seconds",
            "Seconds for which nothing is polled on the account, by a limit or an outage.",
            ("account",),
            registry=registry,
        )
        self._under_way = Gauge(
            "fetcher_account_targets_under_way",
            "Targets that are polled at this moment.",
            ("account",),
            registry=registry,
        )
        self._store_up = Gauge("fetcher_store_up", "1 while the store works.", registry=registry)
        self._store_failures = Counter(
            "fetcher_store_failures", "Calls to the store that failed.", registry=registry
        )
        self._restarts = Counter(
            "fetcher_task_restarts",
            "Tasks that raised and were started again.",
            ("task",),
            registry=registry,
        )
        self._reloads = Counter(
            "fetcher_reloads",
            "Reloads of the settings: ok or refused.",
            ("result",),
            registry=registry,
        )
        self._wrong_tokens = Counter(
            "fetcher_wrong_tokens",
            "Requests with a token that is not right.",
            registry=registry,
        )
        self._refused_connections = Counter(
            "fetcher_refused_connections",
            "Connections that were closed at once: 4,096 were open, or nearly as many as the "
            "process may open files.",
            registry=registry,
        )
        self._webhooks = Counter(
            "fetcher_webhooks",
            "Deliveries of webhooks, by what was done with them.",
            ("event", "result"),
            registry=registry,
        )

    def polled(self, upstream: str, outcome: str, seconds: float, late: float | None) -> None:
        """A target's poll was committed; `late` None: nobody watches it."""
        upstream = upstream if upstream in _UPSTREAMS else "other"
        outcome = outcome if outcome in _OUTCOMES else "other"
        self._polls.labels(upstream, outcome).inc()
        self._poll_seconds.labels(upstream).observe(max(0.0, seconds))
        if late is not None:
            self._late.labels(upstream).observe(max(0.0, late))

    def stored(self, kind: str, change: str, count: int) -> None:
        """Records were added, changed or withdrawn."""
        self._records.labels(kind, change).inc(count)

    def requests(self, account: str, count: int) -> None:
        """So many more requests went out."""
        self._requests.labels(account).inc(count)

    def account(
        self,
        account: str,
        *,
        leading: bool,
        closed_seconds: float,
        under_way: int,
    ) -> None:
        """How an account stands."""
        self._leading.labels(account).set(leading)
        self._closed.labels(account).set(closed_seconds)
        self._under_way.labels(account).set(under_way)

    def quota(self, account: str, resource: str, told: tuple[int, int, float] | None) -> None:
        """Remaining, limit and reset (epoch seconds) of a quota; None: they are not known now."""
        for place, gauge in enumerate(self._quotas):
            if told is not None:
                gauge.labels(account, resource).set(told[place])
            else:
                with suppress(KeyError):  # by older versions of the library
                    gauge.remove(account, resource)

    def store(self, *, up: bool) -> None:
        """Whether the store works."""
        self._store_up.set(up)

    def store_failure(self) -> None:
        """A call to the store failed."""
        self._store_failures.inc()

    def restarted(self, task: str) -> None:
        """A task raised and is started again."""
        self._restarts.labels(task).inc()

    def reloaded(self, *, ok: bool) -> None:
        """The settings were read again."""
        self._reloads.labels("ok" if ok else "refused").inc()

    def wrong_token(self) -> None:
        """Somebody came with a token that is not right."""
        self._wrong_tokens.inc()

    def refused_connection(self) -> None:
        """One connection too many was closed at once."""
        self._refused_connections.inc()

    def webhook(self, event: str, result: str) -> None:
        """A delivery came; no event: nothing of it was believed."""
        event = event if event in _EVENTS else "other" if event else "unknown"
        self._webhooks.labels(event, result).inc()

    def render(self, accept: str) -> tuple[bytes, str]:
        """The body and its content type: OpenMetrics for who asks for it."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type
