"""A whole small world: local upstreams, a store, and the service between them, on one clock."""

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import structlog

from fetcher.config import Settings, load_settings
from fetcher.demo import DemoUpstream, Urls
from fetcher.documents import Document
from fetcher.refresh import Event, Polled, Stored, kinds_of
from fetcher.service import Service, open_transport
from fetcher.store import Query, WriteStore, open_store
from fetcher.targets import Target, parse_target
from tests.clock import FakeClock

__all__ = ["SILENT", "World", "open_world"]


SILENT = structlog.wrap_logger(
    None, wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL)
)


class World:
    """What a test needs to publish upstream, poll, and look at what is stored."""

    def __init__(
        self, upstream: DemoUpstream, urls: Urls, clock: FakeClock, store: WriteStore, folder: Path
    ) -> None:
        self.upstream = upstream
        self.urls = urls
        self.clock = clock
        self.store = store
        self.folder = folder
        self.overrides: dict[str, object] = {
            "github.api_url": urls.github,
            "ncbi.eutils_url": urls.eutils,
            "ncbi.datasets_url": urls.datasets,
            "ncbi.email": "tests@example.org",
        }
        self.events: list[Event] = []
        self.moves: list[str] = []

    @property
    def settings(self) -> Settings:
        return load_settings(None, {}, self.folder, self.overrides)

    async def poll(
        self, *targets: str, full: bool = False, wait: float = 60.0
    ) -> dict[str, Polled]:
        """Polls by a service of its own, as each one-shot does; answers by what was asked."""
        wanted = [parse_target(text) for text in targets]
        polled: dict[Target, Polled] = {}

        async def on_event(event: Event) -> None:
            self.events.append(event)
            if isinstance(event, Polled):
                assert event.asked not in polled
                polled[event.asked] = event

        async with open_transport(self.settings, self.clock, uniform=lambda low, high: high) as way:
            service = Service(
                self.settings,
                self.store,
                way,
                self.clock,
                SILENT,
                patience=wait,
                identity=await self.store.identity(),
                uniform=lambda low, high: low,
            )
            await service.poll(
                wanted,
                on_event,
                full=full,
                wait=wait,
                on_wait=lambda owner, seconds: None,
                on_move=self.moves.append,
            )
        assert set(polled) == set(wanted), "every target ends in exactly one outcome"
        return {text: polled[target] for text, target in zip(targets, wanted, strict=True)}

    async def outcome(self, target: str, **options: Any) -> str:
        """Polls one target and gives its outcome in a word."""
        return str((await self.poll(target, **options))[target].state.outcome)

    async def records(self, target: str, *, withdrawn: bool | None = False) -> list[Document]:
        """What is stored of a target."""
        state = await self.store.target(parse_target(target).fold)
        key = state.key if state is not None else target
        return [
            document
            for kind in kinds_of(parse_target(key))
            async for document in self.store.records(
                Query(kind, target=key, withdrawn=withdrawn, newest_first=kind == "release")
            )
        ]

    def changes(self) -> list[tuple[str, str]]:
        """What the polls so far changed; forgets it."""
        made: list[tuple[str, str]] = [
            (change.id, change.change)
            for event in self.events
            if isinstance(event, Stored)
            for change in event.changes
        ]
        self.events.clear()
        return made

    def asked(self, path: str = "") -> Sequence[str]:
        """Lines of the requests so far, by a part of their path; forgets all."""
        lines = [f"{each.method} {each.path}" for each in self.upstream.log if path in each.path]
        self.upstream.log.clear()
        return lines


@asynccontextmanager
async def open_world(
    folder: Path, url: str | None = None, clock: FakeClock | None = None
) -> AsyncIterator[World]:
    """A world with an empty store (SQLite unless `url` names another) and empty upstreams."""
    clock = clock or FakeClock()
    upstream = DemoUpstream(clock.time, clock.sleep)
    opening = open_store(url or f"sqlite:///{folder}/w.db", clock=clock)
    async with upstream.serve() as urls, await opening as store:
        yield World(upstream, urls, clock, store, folder)
