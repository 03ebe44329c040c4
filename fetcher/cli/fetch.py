"""``fetcher fetch``: polls now, stores, and prints the records that the targets now have."""

import asyncio
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from fetcher.cli.common import Common, check_format, say
from fetcher.cli.memory import give_back
from fetcher.cli.output import open_output
from fetcher.cli.progress import Progress, make_progress
from fetcher.cli.render import Format
from fetcher.cli.settings import told_settings_of
from fetcher.cli.sinks import Row, Sink, make_sink
from fetcher.clock import SystemClock
from fetcher.config import Settings, parse_duration, read_target_file
from fetcher.errors import Mistake, SettingsError, TargetError
from fetcher.log import set_up_log
from fetcher.models import Expected
from fetcher.refresh import Event, Polled, kinds_of
from fetcher.service import Service, open_transport
from fetcher.store import open_store
from fetcher.targets import Target, parse_target, split_targets

__all__ = ["FetchOptions", "fetch", "fetch_with", "read_targets"]

_GOOD = ("changed", "unchanged", "empty")


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """The options of one call, as typed."""

    targets: Sequence[str]
    from_file: Path | None = None
    format: Format = Format.NDJSON
    changed: bool = False
    output: Path | None = None
    no_store: bool = False
    force: bool = False
    wait: str = "60s"


def read_targets(typed: Sequence[str], from_file: Path | None) -> dict[Target, str]:
    """Each target once, with the string that asked for it; raises all mistakes together."""
    mistakes: list[Mistake] = []
    words: list[tuple[str, str]] = [("argument", word) for word in typed]
    if from_file is not None:
        try:
            data = sys.stdin.buffer.read() if str(from_file) == "-" else from_file.read_bytes()
            name = "standard input" if str(from_file) == "-" else str(from_file)
            words += [(f"{name}:{line}", word) for line, word in read_target_file(data, name)]
        except OSError as error:
            mistakes.append(Mistake(str(from_file), f"cannot be read: {error.strerror or error}"))
        except SettingsError as error:
            mistakes.extend(error.mistakes)
    targets: dict[Target, str] = {}
    folds: set[str] = set()
    for place, word in words:
        for text in split_targets(word):
            try:
                target = parse_target(text)
            except TargetError as error:
                mistakes.append(Mistake(place, str(error)))
                continue
            if target.fold not in folds:
                folds.add(target.fold)
                targets[target] = text
    if not targets and not mistakes:
        mistakes.append(Mistake("fetch", "name at least one target, or a file with --from-file"))
    if mistakes:
        raise SettingsError(tuple(mistakes))
    return targets


async def fetch(options: FetchOptions, common: Common) -> int:
    """Runs the command to its exit code."""
    with ExitStack() as stack:
        store: str | None = None
        if options.no_store:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="fetcher-"))
            store = f"sqlite:///{folder}/fetcher.db"
        settings = told_settings_of(common, store, files=True)
        return await fetch_with(settings, options, common)


async def fetch_with(settings: Settings, options: FetchOptions, common: Common) -> int:
    """The same with settings at hand."""
    give_back()
    targets = read_targets(options.targets, options.from_file)
    wait = parse_duration(options.wait)
    for target, text in targets.items():
        check_format(options.format, text, kinds_of(target))
    with (
        open_output(options.output) as out,
        make_progress(len(targets), quiet=common.quiet) as progress,
    ):
        return await _Fetch(settings, targets, options, common, wait, progress).run(out)


@dataclass(slots=True)
class _Fetch:
    """One call under way."""

    settings: Settings
    targets: dict[Target, str]
    options: FetchOptions
    common: Common
    wait: float
    progress: Progress
    rows: dict[Target, Row] = field(default_factory=dict)
    moves: list[str] = field(default_factory=list)

    async def run(self, out: IO[str]) -> int:
        log = set_up_log(self.common.log_format, self.common.log_level, self.settings.secrets)
        clock = SystemClock()
        async with AsyncExitStack() as stack:
            store = await stack.enter_async_context(
                await open_store(self.settings.store.url, clock=clock)
            )
            transport = await stack.enter_async_context(
                open_transport(self.settings, clock, self.progress.waiting)
            )
            service = Service(
                self.settings,
                store,
                transport,
                clock,
                log,
                patience=self.wait,
                identity=await store.identity(),
            )
            sink = make_sink(self.options.format, store, out, changed_only=self.options.changed)

            async def on_event(event: Event) -> None:
                await self._take(event, sink)

            try:
                busy = await service.poll(
                    list(self.targets),
                    on_event,
                    full=self.options.force,
                    wait=self.wait,
                    on_wait=self.progress.account_taken,
                    on_move=self.moves.append,
                )
            except asyncio.CancelledError:
                self.progress.stop()
                say(
                    f"fetcher: interrupted; {len(self.rows)} of {len(self.targets)} targets are "
                    f"complete{self._where()}; run it again to go on"
                )
                raise
            states = await store.targets_by_name([target.fold for target in busy])
            for target, error in busy.items():
                state = states.get(target.fold)
                self.rows[target] = Row.busy(self.targets[target], target, state, str(error))
            self.progress.stop()
            rows = [self.rows[target] for target in self.targets]
            await sink.close(rows)
        return self._summary(rows)

    async def _take(self, event: Event, sink: Sink) -> None:
        if isinstance(event, Polled):
            self.rows[event.asked] = Row.of(self.targets[event.asked], event)
            self.progress.ended(event.state.records)
        elif isinstance(event, Expected):
            self.progress.expected(event.records)
        else:
            self.progress.stored(len(event.changes) + event.unchanged)
        await sink.take(event)

    def _where(self) -> str:
        return "" if self.options.no_store else f" in {self.settings.store.shown}"

    def _summary(self, rows: Sequence[Row]) -> int:
        """Failures are named always, the rest unless it shall be quiet."""
        if not self.common.quiet:
            for move in self.moves:
                say(f"fetcher: {move}")
        bad = [row for row in rows if row.outcome not in _GOOD]
        for row in bad:
            say(f"fetcher: {row.asked}: {row.outcome}: {row.error}")
            for name in row.missing:
                if name not in row.asked:
                    say(f"fetcher: {row.asked}: missing: {name}")
        if not self.common.quiet:
            records = sum(row.records for row in rows)
            changed = sum(row.changed for row in rows)
            failed = f", {len(bad)} failed" if bad else ""
            kept = f"; stored{self._where()}" if self._where() else ""
            say(
                f"{_many(len(rows), 'target')}{failed}: {_many(records, 'record')}, "
                f"{changed} changed{kept}"
            )
        return 1 if bad else 0


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
