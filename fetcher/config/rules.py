"""What one key has to do with another, and the targets of the watches."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from fetcher.config.findings import Findings
from fetcher.config.layers import read_capped
from fetcher.config.places import Keys, dotted
from fetcher.config.sections import DEFAULT, ApiTokenEntry, GithubEntry, NcbiEntry, WatchEntry
from fetcher.config.settings import Settings, Watch
from fetcher.config.target_file import read_target_file
from fetcher.config.units import is_loopback
from fetcher.errors import Mistake, SettingsError, TargetError
from fetcher.targets import Target, parse_target, split_targets

__all__ = ["check_rules"]

_Entry = TypeVar("_Entry", GithubEntry, NcbiEntry, ApiTokenEntry)

_MAX_TARGET_FILE = 64 * 2**20
_MIN_INTERVAL: Keys = ("service", "min_interval")
_MAX_INTERVAL: Keys = ("service", "max_interval")
_UNITS = (("d", 86_400.0), ("h", 3_600.0), ("m", 60.0), ("s", 1.0))


def check_rules(settings: Settings, findings: Findings, cwd: Path) -> tuple[Watch, ...]:
    """Adds every broken rule to the findings; gives the watches with their targets.

    A rule about a key that is already known to be wrong is left out.
    """
    _intervals(settings, findings)
    _reach(settings, findings)
    _github_accounts(settings, findings)
    _ncbi_accounts(settings, findings)
    return tuple(
        _watch(watch, ("watch", index), settings, findings, cwd)
        for index, watch in enumerate(settings.watch)
    )


def _shown(seconds: float) -> str:
    for unit, size in _UNITS:
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:g}s"


def _intervals(settings: Settings, findings: Findings) -> None:
    service = settings.service
    if findings.is_bad(_MIN_INTERVAL, _MAX_INTERVAL):
        return
    if service.min_interval > service.max_interval:
        least, most = _shown(service.min_interval), _shown(service.max_interval)
        if findings.is_set(_MIN_INTERVAL):
            findings.add(_MIN_INTERVAL, f"{least} is above service.max_interval, which is {most}")
        else:
            findings.add(_MAX_INTERVAL, f"{most} is below service.min_interval, which is {least}")


def _reach(settings: Settings, findings: Findings) -> None:
    """Nobody may be served from elsewhere without a token, unless that is wanted."""
    api = settings.api
    listen, require = ("api", "listen"), ("api", "require_token")
    tokens: Keys = ("api", "tokens")
    for keys, entry in _entries(tokens, api.tokens, findings):
        if entry.token is None:
            findings.add(keys, "needs token or token_file")
    if findings.is_bad(("api", "token"), require, tokens):
        return
    if api.require_token and not api.all_tokens:
        findings.add(require, "needs api.token or api.token_file: nobody could read")
    if findings.is_bad(listen, ("api", "public")) or api.public or api.address is None:
        return
    if not is_loopback(api.address[0]) and not (api.all_tokens and api.require_token):
        findings.add(
            listen,
            f"{api.listen} can be reached from other machines; "
            "set api.token and api.require_token = true, or api.public = true",
        )


def _github_accounts(settings: Settings, findings: Findings) -> None:
    section = settings.github
    single = section.token is not None
    identities = [entry.account.identity for entry in section.accounts]
    if single:
        identities.insert(0, section.all_accounts[0].identity)
    _distinct(("github", "accounts"), section.accounts, identities, single, findings)
    for keys, entry in _entries(("github", "accounts"), section.accounts, findings):
        app = {
            "app_id": entry.app_id,
            "installation_id": entry.installation_id,
            "private_key_file": entry.private_key,
        }
        missing = [key for key, value in app.items() if not value]
        if entry.token is None and len(missing) == len(app):
            ways = "token, token_file, or app_id, installation_id and private_key_file"
            findings.add(keys, f"needs one of {ways}")
        elif entry.token is not None and len(missing) < len(app):
            findings.add(keys, "has both a token and an App's keys; leave one of the two out")
        elif entry.token is None and missing:
            findings.add(keys, f"lacks {' and '.join(missing)}")


def _ncbi_accounts(settings: Settings, findings: Findings) -> None:
    section = settings.ncbi
    single = section.api_key is not None
    identities = [account.identity for account in section.all_accounts]
    _distinct(("ncbi", "accounts"), section.accounts, identities, single, findings)
    for keys, entry in _entries(("ncbi", "accounts"), section.accounts, findings):
        if entry.api_key is None:
            findings.add(keys, "needs api_key or api_key_file")


def _entries(
    above: Keys, entries: Sequence[_Entry], findings: Findings
) -> Iterator[tuple[Keys, _Entry]]:
    """The entries in which no mistake was found yet, but for their names."""
    for index, entry in enumerate(entries):
        if not findings.is_bad((*above, index), but=(*above, index, "name")):
            yield (*above, index), entry


def _distinct(
    above: Keys,
    entries: Sequence[GithubEntry | NcbiEntry],
    identities: Sequence[str],
    single: bool,
    findings: Findings,
) -> None:
    """Names and secrets are each an account's own; the single token's account comes first.

    Two accounts of one secret would both count on the whole of its rate limit.
    """
    names = {DEFAULT: f"the account of {above[0]}'s single token or key"} if single else {}
    secrets = {identities[0]: names[DEFAULT]} if single else {}
    for index, (entry, identity) in enumerate(
        zip(entries, identities[1 if single else 0 :], strict=False)
    ):
        keys = (*above, index)
        if findings.is_bad((*keys, "name")):
            continue
        if not entry.name.strip() or not entry.name.isprintable():
            findings.add((*keys, "name"), "is missing" if not entry.name else "is no name")
        elif entry.name in names:
            findings.add((*keys, "name"), f"{entry.name!r} is {names[entry.name]} already")
        elif not findings.is_bad(keys) and identity in secrets:
            findings.add(keys, f"is the same account as {secrets[identity]}")
        names.setdefault(entry.name, dotted(keys))
        secrets.setdefault(identity, dotted(keys))


def _watch(
    watch: WatchEntry, keys: Keys, settings: Settings, findings: Findings, cwd: Path
) -> Watch:
    every = (*keys, "every")
    least = settings.service.min_interval
    if watch.every != "auto" and watch.every < least and not findings.is_bad(every, _MIN_INTERVAL):
        findings.add(
            every, f"{_shown(watch.every)} is below service.min_interval ({_shown(least)})"
        )
    if not watch.targets and not watch.from_file and not findings.is_bad(keys, but=every):
        findings.add(keys, "has neither targets nor from_file")
    targets: dict[str, Target] = {}
    for index, text in enumerate(watch.targets):
        place = (*keys, "targets", index)
        for one in split_targets(text) if not findings.is_bad(place) else ():
            try:
                target = parse_target(one)
            except TargetError as error:
                findings.add(place, str(error))
            else:
                targets.setdefault(target.fold, target)
    if watch.from_file:
        for target in _from_file(Path(watch.from_file), (*keys, "from_file"), findings, cwd):
            targets.setdefault(target.fold, target)
    return Watch(tuple(targets.values()), watch.every)


def _from_file(path: Path, keys: Keys, findings: Findings, cwd: Path) -> Iterator[Target]:
    shown = str(path.relative_to(cwd)) if path.is_relative_to(cwd) else str(path)
    try:
        lines = read_target_file(read_capped(path, _MAX_TARGET_FILE), shown)
    except OSError as error:
        findings.add(keys, f"{shown!r} cannot be read: {error.strerror or error}")
    except SettingsError as error:
        for mistake in error.mistakes:
            findings.add_elsewhere(keys, Mistake(mistake.place, mistake.message))
    else:
        for _, text in lines:
            yield from map(parse_target, split_targets(text))
