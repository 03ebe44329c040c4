"""Places in a listing and in the feed: what comes back is believed only where it can be meant."""

import base64
from datetime import UTC, datetime

import pytest

from fetcher.cursors import feed_position, page_cursor, page_place
from fetcher.errors import CursorGone, UsageError
from tests.hostile.values import ANYWHERE, NAMES, TIMES

ORDER = ("published_at", "_id")


def packed(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize("text", [*ANYWHERE.values(), *NAMES.values(), "[" * 4_000])
def test_what_no_cursor_says_is_refused(text: str) -> None:
    """However it is nested, and whatever numbers and halves of pairs it holds."""
    if len(text) > 6_000:
        return
    for wrapped in (text, f'["s", {text}]', f'[["published_at", "_id"], {text}]'):
        with pytest.raises(CursorGone):
            feed_position(packed(wrapped), "other")
        with pytest.raises(UsageError):
            page_place(packed(wrapped), ORDER)


@pytest.mark.parametrize("text", TIMES.values())
def test_a_time_of_a_cursor_can_be_asked_for(text: str) -> None:
    """It is in UTC, or refused: years that UTC does not have included."""
    try:
        place = page_place(packed(f'[["published_at", "_id"], [{text}, "x"]]'), ORDER)
    except UsageError:
        return
    assert page_place(page_cursor(ORDER, place), ORDER) == place
    assert isinstance(place[0], datetime)
    assert place[0].tzinfo is UTC
