"""How polls ended, as a strip of thirty days."""

from datetime import timedelta

from fetcher.models import Spell
from fetcher.web.charts import mood_of, timeline
from tests.shelf import NOW


def ago(days: float, outcome: str) -> Spell:
    return Spell(NOW - timedelta(days=days), outcome)


def test_each_spell_lasts_until_the_next() -> None:
    """What began before the chart does is cut at its edge, what is shorter is left out."""
    told = timeline(
        [ago(90, "unreachable"), ago(60, "good"), ago(15, "not_found"), ago(12, "good")], NOW
    )
    assert [(each.outcome, each.x, each.width) for each in told.stretches] == [
        ("good", 0.0, 150.0),
        ("not_found", 150.0, 30.0),
        ("good", 180.0, 120.0),
    ]
    assert (told.watched, told.failing) == (30 * 86_400, 3 * 86_400)
    assert [each.outcome for each in told.bad] == ["not_found"]


def test_what_is_short_can_be_seen() -> None:
    """Within the drawing, also at its end; nothing watched draws nothing."""
    told = timeline([ago(1, "good"), ago(0.001, "rate_limited")], NOW)
    last = told.stretches[-1]
    assert (last.x, last.width, last.mood) == (299.0, 1.0, "warn")
    assert timeline([ago(0, "good")], NOW).stretches[0].width == 1.0
    assert timeline([], NOW).stretches == []


def test_moods() -> None:
    """Three, and none before the first poll."""
    named = {each: mood_of(each) for each in (None, "good", "empty", "partial", "blocked")}
    assert list(named.values()) == ["", "good", "good", "warn", "bad"]
