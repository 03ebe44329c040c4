"""Upstream accounts: what each of them polls with, and which of them polls a target."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from fetcher.config import GithubAccount, Settings
from fetcher.errors import UsageError
from fetcher.gate import Gate
from fetcher.models import Clock, Source
from fetcher.policy.budget import asset_budget, github_budget, ncbi_budget
from fetcher.sources.eutils import Eutils
from fetcher.sources.github import GithubSource
from fetcher.sources.ncbi import NcbiSource
from fetcher.targets import Target, Upstream
from fetcher.transport import Transport

__all__ = [
    "Account",
    "AssetAccount",
    "Homes",
    "ReachableSource",
    "homes_of",
    "open_accounts",
    "open_asset_account",
]


class ReachableSource(Source, Protocol):
    """A source that can also say whether its upstream answers."""

    async def reach(self) -> str:
        """What the upstream says of the account's limits; raises `UpstreamError`."""
        ...


@dataclass(frozen=True, slots=True)
class Account:
    """One upstream account: the key of its lease, its door, and the source that uses it."""

    key: str
    upstream: Upstream
    gate: Gate
    source: ReachableSource


@dataclass(frozen=True, slots=True)
class AssetAccount:
    """A GitHub account as downloads use it: a lease and a share of the rate of their own.

    `polls` is the key under which the same account is polled.
    """

    key: str
    polls: str
    gate: Gate
    source: GithubSource


class Homes:
    """Which account polls a target, by rendezvous hashing.

    A target keeps its account when others come and go.
    https://en.wikipedia.org/wiki/Rendezvous_hashing
    """

    def __init__(self, keys: Mapping[Upstream, Sequence[str]]) -> None:
        self._keys = keys

    def of(self, target: Target) -> str:
        """The key of the target's account."""
        keys = self._keys[target.upstream]
        if len(keys) == 1:
            return keys[0]

        def weight(key: str) -> bytes:
            return hashlib.sha256(f"{key} {target.fold}".encode()).digest()

        return max(keys, key=weight)


def homes_of(settings: Settings) -> Homes:
    """The homes that settings give."""
    return Homes(
        {
            "github": [f"github:{each.identity}" for each in settings.github.all_accounts],
            "ncbi": [f"ncbi:{each.identity}" for each in settings.ncbi.all_accounts],
        }
    )


def open_accounts(
    settings: Settings, transport: Transport, clock: Clock, patience: float
) -> dict[str, Account]:
    """All accounts, by key; one request waits for a limit for `patience` seconds at most."""
    accounts = (
        *_github(settings, transport, clock, patience),
        *_ncbi(settings, transport, clock, patience),
    )
    return {account.key: account for account in accounts}


def open_asset_account(
    settings: Settings, transport: Transport, clock: Clock, patience: float, key: str
) -> AssetAccount:
    """What assets are asked for with, of the GitHub account that is polled under `key`."""
    account = next(
        each for each in settings.github.all_accounts if key == f"github:{each.identity}"
    )
    gate = Gate(f"GitHub account {account.name}", asset_budget(), clock, in_flight=20)
    source = _github_source(settings, transport, account, gate, patience)
    return AssetAccount(f"downloads:{key}", key, gate, source)


def _github(
    settings: Settings, transport: Transport, clock: Clock, patience: float
) -> tuple[Account, ...]:
    accounts = []
    for account in settings.github.all_accounts:
        # GitHub allows 100 at once for REST and GraphQL together, and asks to be spared.
        gate = Gate(f"GitHub account {account.name}", github_budget(), clock, in_flight=20)
        source = _github_source(settings, transport, account, gate, patience)
        accounts.append(Account(f"github:{account.identity}", "github", gate, source))
    return tuple(accounts)


def _github_source(
    settings: Settings, transport: Transport, account: GithubAccount, gate: Gate, patience: float
) -> GithubSource:
    if account.app is not None:
        text = f"the GitHub account {account.name} is an App, which this version cannot use yet"
        raise UsageError(text)
    return GithubSource(
        transport,
        gate,
        api_url=settings.github.api_url,
        token=account.token.get_secret_value() if account.token is not None else None,
        identity=account.identity,
        patience=patience,
    )


def _ncbi(
    settings: Settings, transport: Transport, clock: Clock, patience: float
) -> tuple[Account, ...]:
    accounts = []
    for account in settings.ncbi.all_accounts:
        key = account.api_key.get_secret_value() if account.api_key is not None else None
        gate = Gate(f"NCBI account {account.name}", ncbi_budget(account.rate), clock, in_flight=8)
        eutils = Eutils(
            transport,
            gate,
            url=settings.ncbi.eutils_url,
            api_key=key,
            email=settings.ncbi.email,
            tool=settings.ncbi.tool,
            patience=patience,
        )
        accounts.append(Account(f"ncbi:{account.identity}", "ncbi", gate, NcbiSource(eutils)))
    return tuple(accounts)
