"""What the charts of a target's page show: pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from fetcher.documents import Document
from fetcher.models import OutcomeKind, Spell

__all__ = ["DAYS", "Stretch", "Timeline", "changes_by_day", "mood_of", "timeline"]

DAYS: Final = 30
# The width of the drawing, and the least that can be seen of a stretch.
_WIDTH: Final = 300.0
_LEAST: Final = 1.0


@dataclass(frozen=True, slots=True)
class Stretch:
    """A spell as far as the chart shows it: `x` and `width` of 300, and how long it was."""

    outcome: str
    since: datetime
    seconds: float
    x: float
    width: float

    @property
    def mood(self) -> str:
        """How it looks; its word says the same."""
        return mood_of(self.outcome)


@dataclass(frozen=True, slots=True)
class Timeline:
    """The stretches of the last days, oldest first, and seconds watched and failing in them."""

    stretches: Sequence[Stretch]
    watched: float
    failing: float

    @property
    def bad(self) -> Sequence[Stretch]:
        """Those that failed, latest first."""
        return [each for each in reversed(self.stretches) if each.outcome != "good"]


def timeline(spells: Sequence[Spell], now: datetime) -> Timeline:
    """How polls ended in the last days: each spell lasts until the next begins."""
    first = now - timedelta(days=DAYS)
    scale = _WIDTH / (DAYS * 86_400.0)
    stretches: list[Stretch] = []
    ends = [*(each.since for each in spells[1:]), now][: len(spells)]
    for spell, end in zip(spells, ends, strict=True):
        since = max(spell.since, first)
        seconds = (end - since).total_seconds()
        if seconds < 0 or (seconds == 0 and end != now):
            continue
        width = max(_LEAST, seconds * scale)
        x = min((since - first).total_seconds() * scale, _WIDTH - width)
        stretches.append(Stretch(spell.outcome, spell.since, seconds, round(x, 1), round(width, 1)))
    failing = sum(each.seconds for each in stretches if each.outcome != "good")
    return Timeline(stretches, sum(each.seconds for each in stretches), failing)


def changes_by_day(records: Sequence[Document], now: datetime) -> list[tuple[str, int]]:
    """How many revisions each of the last days has, as far as the records tell."""
    counts: Counter[str] = Counter()
    for record in records:
        times = {entry["revision"]: entry["changed_at"] for entry in record["history"]}
        times.setdefault(record["revision"], record["changed_at"])
        counts.update(f"{at:%Y-%m-%d}" for at in times.values())
    days = [f"{now - timedelta(days=ago):%Y-%m-%d}" for ago in range(DAYS - 1, -1, -1)]
    return [(day, counts[day]) for day in days]


def mood_of(outcome: str | None) -> str:
    """The class of an outcome: ``good``, ``warn`` or ``bad``, nothing where there is none."""
    match outcome:
        case None:
            return ""
        case "good":
            return "good"
        case _ if OutcomeKind(outcome).good:
            return "good"
        case "partial" | "rate_limited":
            return "warn"
        case _:
            return "bad"
