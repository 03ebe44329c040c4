"""A line of the log, whatever it is about, has no secret of the settings in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from fetcher.config import load_settings
from fetcher.log import set_up_log
from tests.canary.planted import Canaries, proxy_url, settings_tree


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.mark.parametrize("how", ["console", "json"])
def test_what_nobody_thought_of_tells_no_secret(
    how: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """An exception may quote anything."""
    canaries = Canaries()
    tree = settings_tree(canaries)
    tree["http"] = {"proxy": proxy_url(canaries, "127.0.0.1:1")}
    tree["store"] = {"url": proxy_url(canaries, "h/x").replace("http", "mongodb")}
    overrides = {f"{a}.{b}": value for a, table in tree.items() for b, value in table.items()}
    settings = load_settings(None, {}, tmp_path, overrides)
    log = set_up_log(how, "debug", settings.secrets)
    everything = f"{canaries.values} {tree}"
    assert len(canaries.found_in("the text", everything)) == len(canaries.values)
    nothing: dict[str, str] = {}
    try:
        nothing.pop(everything)
    except KeyError as error:
        log.exception("poll failed", log_id="c0ffee")
        log.debug(everything, error=str(error))
    out, err = capfd.readouterr()
    assert "c0ffee" in err
    assert "Traceback" in err
    assert not canaries.found_in("the log", out + err)
