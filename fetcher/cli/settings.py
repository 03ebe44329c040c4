"""The settings of one call, and what to say of secrets that others may see."""

import os
import shlex
from pathlib import Path

from fetcher.cli.common import Common, say
from fetcher.config import Settings, load_settings, mask_url

__all__ = ["exposed", "settings_of", "shows_password", "told_settings_of"]


def settings_of(common: Common, store: str | None = None) -> Settings:
    """What file, environment and command line say; `store` is the URL of one made for the call."""
    url = store or common.store
    overrides = {"store.url": url} if url else {}
    return load_settings(common.config, os.environ, Path.cwd(), overrides)


def told_settings_of(common: Common, store: str | None = None, *, files: bool = False) -> Settings:
    """The same, with warnings on standard error; of files only to those who use what is in them."""
    settings = settings_of(common, store)
    if not common.quiet:
        for sentence in (*shows_password(common), *map(exposed, settings.exposed if files else ())):
            say(f"fetcher: warning: {sentence}")
    return settings


def shows_password(common: Common) -> tuple[str, ...]:
    """What to say of a password that stands on the command line, if one does."""
    if common.store is None or mask_url(common.store) == common.store:
        return ()
    return (
        (
            "whoever lists processes (ps) sees the password in --store; give it as store.url or "
            "store.url_file in the settings, or as FETCHER_STORE__URL"
        ),
    )


def exposed(path: Path) -> str:
    """What to say of a file with a secret in it that other users may read."""
    return (
        f"{path} has a secret in it and every user may read it; chmod o= {shlex.quote(str(path))}"
    )
