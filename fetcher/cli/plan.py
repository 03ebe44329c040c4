"""``fetcher plan``: what a watch list costs on its accounts, and what they can give."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from fetcher.cli.common import Common, say
from fetcher.cli.fetch import read_targets
from fetcher.cli.render import Format, json_text, print_table
from fetcher.cli.settings import told_settings_of
from fetcher.cli.watch import told_every
from fetcher.clock import SystemClock
from fetcher.config import Settings, parse_every
from fetcher.documents import Document
from fetcher.errors import Mistake, SettingsError, StoreMissing
from fetcher.gate import DATASETS
from fetcher.models import Every
from fetcher.plan import Line, Wanted, reckon
from fetcher.policy.capacity import ANONYMOUS_ACCOUNT
from fetcher.store import open_store

__all__ = ["plan"]

_HEADINGS = ("ACCOUNT", "TARGETS", "EVERY", "AN HOUR", "SHARE", "AT BEST")

_UNITS = ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "m"), (60, "m", 1, "s"))


async def plan(
    typed: Sequence[str],
    from_file: Path | None,
    every: str | None,
    common: Common,
    how: Format,
    out: IO[str],
) -> int:
    """Runs the command to its exit code. Without a store the settings alone are reckoned with."""
    settings = told_settings_of(common)
    targets: Wanted | None = None
    interval = _interval(every, settings)
    if typed or from_file is not None:
        asked = read_targets(typed, from_file)
        targets = dict.fromkeys(asked, interval if interval is not None else "auto")
    try:
        opened = await open_store(settings.store.url, clock=SystemClock(), create=False)
    except StoreMissing:
        lines = await reckon(settings, None, targets, every=interval)
    else:
        async with opened as store:
            lines = await reckon(settings, store, targets, every=interval)
    _write(lines, how, out)
    if not lines:
        say("nothing is watched; name targets, or write [[watch]] into the settings")
    return 0


def _interval(text: str | None, settings: Settings) -> Every | None:
    if text is None:
        return None
    interval = parse_every(text)
    if interval != "auto" and interval < settings.service.min_interval:
        least = told_every(settings.service.min_interval)
        reason = f"{text!r} is below service.min_interval, which is {least}"
        raise SettingsError((Mistake("--every", reason),))
    return interval


def _write(lines: Sequence[Line], how: Format, out: IO[str]) -> None:
    items = [_document(line) for line in lines]
    match how:
        case Format.TABLE if lines:
            print_table(_HEADINGS, [_row(line) for line in lines], out)
            out.write("\n")
            for line in lines:
                out.writelines(f"{sentence}\n" for sentence in _sentences(line))
        case Format.TABLE:
            pass
        case Format.JSON:
            out.write(f'{{"items": {json_text(items)}}}\n')
        case _:
            out.writelines(json_text(item) + "\n" for item in items)


def _document(line: Line) -> Document:
    late = None if math.isinf(line.late) else line.late
    return {
        "kind": "plan",
        "account": line.account,
        "quota": line.quota,
        "unit": line.unit,
        "targets": line.targets,
        "every": {"shortest": line.every[0], "longest": line.every[1]},
        "hourly": round(line.hourly, 1),
        "limit": round(line.limit, 1),
        "share": round(line.hourly / line.limit, 4),
        "fits": not line.late,
        "late": late,
        "accounts": line.accounts,
        "unpolled": line.unpolled,
        "first": {"units": round(line.first, 1), "seconds": line.first_seconds},
    }


def _row(line: Line) -> tuple[str, ...]:
    share = f"{line.hourly / line.limit:.0%}" if line.hourly >= line.limit / 100 else "< 1%"
    return (
        line.account if line.quota != DATASETS else f"{line.account} (Datasets)",
        f"{line.targets:,}",
        _range(*line.every),
        f"{_number(line.hourly)} of {line.limit:,.0f} {line.unit}",
        share,
        _best(line),
    )


def _number(units: float) -> str:
    return f"{units:,.0f}" if units >= 10 else f"{units:.1f}"


def _best(line: Line) -> str:
    if not line.late:
        return "as wanted"
    if math.isinf(line.late):
        return "never"
    shortest, longest = line.every
    return _range(shortest + line.late, longest + line.late)


def _range(shortest: float, longest: float) -> str:
    least, most = _about(shortest), _about(longest)
    return least if least == most else f"{least}–{most}"  # noqa: RUF001 - a range


def _about(seconds: float) -> str:
    """A duration in two units at the most."""
    for size, unit, part, smaller in _UNITS:
        if seconds >= size:
            whole, rest = divmod(round(seconds / part), size // part)
            return f"{whole}{unit}{rest}{smaller}" if rest else f"{whole}{unit}"
    return f"{seconds:.0f}s"


def _sentences(line: Line) -> list[str]:
    """What to do where it does not fit, and what first polls take."""
    said = []
    if line.late and line.account == ANONYMOUS_ACCOUNT:
        said.append("with a token (github.token) a hundred repositories share a request of 5,000")
    elif line.late:
        more = "" if math.isinf(line.late) else f", or every = {_best(line)}"
        said.append(f"{line.accounts} accounts like this one would give it{more}")
    if line.unpolled:
        time = f"over {_about(line.first_seconds)}" if line.first_seconds else "at once"
        number = f"{line.unpolled:,} targets" if line.unpolled != 1 else "1 target"
        units = math.ceil(line.first)
        unit = line.unit if units != 1 else line.unit.removesuffix("s")
        said.append(f"{number} never polled yet: that takes {units:,} {unit} or more, {time}")
    return [f"{line.account}: {each}" for each in said]
