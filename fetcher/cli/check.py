"""``fetcher check``: settings, store and upstreams, and what was found."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import IO
from uuid import uuid4

from fetcher.cli.common import Common
from fetcher.cli.render import Format, json_text, print_table
from fetcher.cli.settings import exposed, settings_of, shows_password
from fetcher.clock import SystemClock
from fetcher.config import Settings
from fetcher.errors import StoreError, UpstreamError
from fetcher.log import set_up_log
from fetcher.policy.capacity import ANONYMOUS_ACCOUNT, without_token
from fetcher.service import Service, open_transport
from fetcher.store import open_store
from fetcher.store.protocol import WriteStore

__all__ = ["check"]

_PATIENCE = 10.0
PLACEHOLDER = "you@example.org"


@dataclass(frozen=True, slots=True)
class _Finding:
    """One thing that was looked at."""

    check: str
    ok: bool
    found: str
    warning: bool = False

    @property
    def outcome(self) -> str:
        """In a word."""
        return "WRONG" if not self.ok else "WARNING" if self.warning else "ok"


async def check(common: Common, how: Format, out: IO[str]) -> int:
    """1 if something is wrong; settings that cannot be used are bad usage, as everywhere."""
    settings = settings_of(common)
    findings = [finding async for finding in _findings(settings, common)]
    match how:
        case Format.TABLE:
            rows = [(f.check, f.outcome, f.found) for f in findings]
            print_table(("CHECK", "OUTCOME", "FOUND"), rows, out)
        case Format.JSON:
            items = [{"check": f.check, "ok": f.ok, "found": f.found} for f in findings]
            out.write(f'{{"items": {json_text(items)}}}\n')
        case _:
            for f in findings:
                out.write(json_text({"check": f.check, "ok": f.ok, "found": f.found}) + "\n")
    return 0 if all(finding.ok for finding in findings) else 1


async def _findings(settings: Settings, common: Common) -> AsyncIterator[_Finding]:
    clock = SystemClock()
    watched = sum(len(watch.targets) for watch in settings.watches)
    repositories = sum(
        target.upstream == "github" for watch in settings.watches for target in watch.targets
    )
    source = str(settings.source) if settings.source is not None else "defaults and environment"
    hint = ""
    if settings.ncbi.email == PLACEHOLDER:
        hint = f"; ncbi.email is still {PLACEHOLDER}: NCBI writes there before it blocks anybody"
    yield _Finding("settings", True, f"{source}: {watched} targets watched{hint}")
    for sentence in (*shows_password(common), *map(exposed, settings.exposed)):
        yield _Finding("secrets", True, sentence, warning=True)
    where = settings.store.shown
    try:
        async with await open_store(settings.store.url, clock=clock) as store:
            yield await _writable(store, where)
            log = set_up_log(common.log_format, common.log_level, settings.secrets)
            async with open_transport(settings, clock) as transport:
                service = Service(settings, store, transport, clock, log, patience=_PATIENCE)
                for account in service.accounts:
                    try:
                        found = await account.source.reach()
                        if account.key == ANONYMOUS_ACCOUNT and repositories:
                            found += f"; {without_token(repositories)}"
                        yield _Finding(account.key, True, found)
                    except UpstreamError as error:
                        yield _Finding(account.key, False, str(error))
    except StoreError as error:
        yield _Finding("store", False, str(error))


async def _writable(store: WriteStore, where: str) -> _Finding:
    """Whether the store takes a write: a lease that nobody needs, given back at once."""
    name = f"check:{uuid4().hex[:8]}"
    lease = await store.acquire("check", name, 1.0)
    if lease is not None:
        await store.release(lease, {})
    return _Finding("store", True, f"{where}: reachable and writable")
