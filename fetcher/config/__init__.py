"""TOML, environment and secret files to frozen settings; every mistake at once, with its place.

`sections` has the keys, `rules` what one key has to do with another, `load` the way through.
"""

from fetcher.config.load import load_settings
from fetcher.config.sections import (
    ApiSection,
    GithubAccount,
    GithubApp,
    GithubSection,
    HttpSection,
    NcbiAccount,
    NcbiSection,
    ServiceSection,
    StoreSection,
)
from fetcher.config.settings import Settings, Watch
from fetcher.config.target_file import read_target_file
from fetcher.config.units import mask_url, parse_duration, parse_every, parse_size

__all__ = [
    "ApiSection",
    "GithubAccount",
    "GithubApp",
    "GithubSection",
    "HttpSection",
    "NcbiAccount",
    "NcbiSection",
    "ServiceSection",
    "Settings",
    "StoreSection",
    "Watch",
    "load_settings",
    "mask_url",
    "parse_duration",
    "parse_every",
    "parse_size",
    "read_target_file",
]
