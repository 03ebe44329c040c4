"""``fetcher watch``: watches by hand, kept in the store beside those of the settings file."""

import random
from collections.abc import Sequence
from contextlib import aclosing
from typing import IO

from fetcher.accounts import homes_of
from fetcher.cli.common import Common, say
from fetcher.cli.render import Format, json_text, print_table
from fetcher.cli.settings import told_settings_of
from fetcher.clock import SystemClock
from fetcher.config import parse_every
from fetcher.errors import Mistake, SettingsError, TargetError
from fetcher.keeper import Keeper
from fetcher.models import Every, Watch
from fetcher.shield import Shield
from fetcher.standing import away
from fetcher.store import open_store
from fetcher.store.protocol import ReadStore
from fetcher.targets import Target, parse_targets
from fetcher.timetable import Timetable
from fetcher.watches import wish_by_hand

__all__ = ["forget", "list_watches", "told_every", "wish"]


async def wish(targets: Sequence[str], every: str | None, common: Common) -> int:
    """Adds watches, polled `every`; None removes them. The daemon sees it within a second."""
    settings = told_settings_of(common)
    wanted = _parsed(targets)
    interval: Every | None = None
    if every is not None:
        interval = parse_every(every)
        if interval != "auto" and interval < settings.service.min_interval:
            least = f"{settings.service.min_interval:g}s"
            text = f"{every!r} is below service.min_interval, which is {least}"
            raise SettingsError((Mistake("--every", text),))
    clock = SystemClock()
    timetable = Timetable(settings, random.uniform)
    async with await open_store(settings.store.url, clock=clock) as store:
        known = await store.targets_by_name([target.fold for target in wanted])
        gone = away(await store.accounts(), clock.time())

        def home(target: Target) -> str:
            return homes_of(settings).of(target, gone)

        await wish_by_hand(store, wanted, interval, home, timetable.every)
        states = await store.targets_by_name([target.fold for target in wanted])
    code = 0
    for target in wanted:
        before, after = known.get(target.fold), states.get(target.fold)
        if every is None and (before is None or before.watch is None or before.watch.hand is None):
            say(f"fetcher: {target.key} was not watched by hand")
            code = 1
        elif every is None and after is not None and after.watch is not None:
            say(f"{target.key}: no longer watched by hand, still by the settings file")
        elif not common.quiet:
            told = f"watched, every {every}" if every is not None else "no longer watched"
            say(f"{target.key}: {told}")
    return code


async def forget(targets: Sequence[str], common: Common, *, purge: bool) -> int:
    """Watches targets no longer, by hand or by the file; with `purge` their records go."""
    settings = told_settings_of(common)
    wanted = _parsed(targets)
    timetable = Timetable(settings, random.uniform)
    homes = homes_of(settings)
    failed: list[BaseException] = []
    shield = Shield(failed.append)
    code = 0
    async with await open_store(settings.store.url, clock=SystemClock()) as store:
        keeper = Keeper(
            store,
            shield,
            lambda target: homes.of(target, frozenset()),
            timetable.every,
            settings.service.min_interval,
        )
        for target in wanted:
            found = await keeper.forget(target, purge=purge)
            if found is None:
                say(f"fetcher: {target.key} is not known")
                code = 1
                continue
            if found.in_file:
                say(f"{found.key}: the settings file names it; the next start watches it again")
            if not common.quiet:
                records = "record" if found.purged == 1 else "records"
                gone = f", {found.purged:,} {records} gone" if purge else ""
                say(f"{found.key}: forgotten{gone}")
    return code


def _parsed(targets: Sequence[str]) -> list[Target]:
    wanted: dict[str, Target] = {}
    mistakes: list[Mistake] = []
    for text in targets:
        try:
            parsed = parse_targets(text)
        except TargetError as error:
            mistakes.append(Mistake("argument", str(error)))
            continue
        wanted.update((target.fold, target) for target in parsed)
    if mistakes:
        raise SettingsError(tuple(mistakes))
    return list(wanted.values())


async def list_watches(store: ReadStore, how: Format, out: IO[str]) -> int:
    """Writes the watch list: who watches what, how often, on which account."""
    async with aclosing(store.watched()) as found:
        watched = [each async for each in found]
    items = [
        {
            "target": each.key,
            "every": each.watch.every,
            "by": _by(each.watch),
            "account": each.watch.account,
        }
        for each in watched
    ]
    match how:
        case Format.TABLE:
            rows = [
                (each.key, told_every(each.watch.every), _by(each.watch), each.watch.account)
                for each in watched
            ]
            if rows:
                print_table(("TARGET", "EVERY", "BY", "ACCOUNT"), rows, out)
            else:
                say("nothing is watched; `fetcher watch add TARGET` or [[watch]] in the settings")
        case Format.JSON:
            out.write(f'{{"items": {json_text(items)}}}\n')
        case _:
            out.writelines(json_text(item) + "\n" for item in items)
    return 0


def _by(watch: Watch) -> str:
    return "hand" if watch.hand is not None else "file"


def told_every(every: Every | None) -> str:
    if every is None or every == "auto":
        return str(every)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if every % size == 0:
            return f"{every // size:g}{unit}"
    return f"{every:g}s"
