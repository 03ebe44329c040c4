"""Upstream accounts: what each of them polls with, and which of them polls a target."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from fetcher.config import GithubAccount, Settings
from fetcher.databases import SUMMARY_DATABASES
from fetcher.gate import DATASETS, Door, DoubleDoor, Gate
from fetcher.models import Clock, ReachableSource
from fetcher.policy.budget import asset_budget, github_budget, graphql_budget, ncbi_budget
from fetcher.sources.credentials import Anonymous, Credentials, Installation, Token
from fetcher.sources.datasets import Genomes
from fetcher.sources.eutils import Eutils
from fetcher.sources.github import GithubSource
from fetcher.sources.github_batches import BatchedGithubSource
from fetcher.sources.graphql import Graphql
from fetcher.sources.ncbi import NcbiSource
from fetcher.sources.summaries import Summaries
from fetcher.sources.taxonomy import Taxonomy
from fetcher.targets import Target, Upstream
from fetcher.transport import Transport

if TYPE_CHECKING:
    from fetcher.sources.lookups import Directory

__all__ = [
    "Account",
    "AssetAccount",
    "Homes",
    "homes_of",
    "open_accounts",
    "open_asset_account",
]


@dataclass(frozen=True, slots=True)
class Account:
    """One upstream account: the key of its lease, its door, and the source that uses it.

    `name` is what people call it.
    """

    key: str
    name: str
    upstream: Upstream
    gate: Door
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

    def of(self, target: Target, away: Collection[str] = ()) -> str:
        """The key of the target's account, among those that are not `away`, if there are any."""
        return self.other(target, away) or self._first(target, self._keys[target.upstream])

    def other(self, target: Target, away: Collection[str]) -> str | None:
        """The key of an account that is not `away`; None if there is none."""
        keys = [key for key in self._keys[target.upstream] if key not in away]
        return self._first(target, keys) if keys else None

    def __contains__(self, key: str) -> bool:
        return any(key in keys for keys in self._keys.values())

    def _first(self, target: Target, keys: Sequence[str]) -> str:
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
    settings: Settings,
    transport: Transport,
    clock: Clock,
    patience: float,
    *,
    reserve: float = 0.0,
) -> dict[str, Account]:
    """All accounts, by key; one request waits for a limit for `patience` seconds at most.

    `reserve` is the share of GitHub's quotas that is kept for who is urgent.
    """
    accounts = (
        *_github(settings, transport, clock, patience, reserve),
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
    credentials = _credentials(account, transport, gate, clock, settings.github.api_url, patience)
    source = _github_source(settings, transport, account, gate, credentials, patience)
    return AssetAccount(f"downloads:{key}", key, gate, source)


def _github(
    settings: Settings, transport: Transport, clock: Clock, patience: float, reserve: float
) -> tuple[Account, ...]:
    accounts = []
    for account in settings.github.all_accounts:
        # GitHub allows 100 at once for REST and GraphQL together, and asks to be spared.
        gate = Gate(f"GitHub account {account.name}", github_budget(reserve), clock, in_flight=20)
        api_url = settings.github.api_url
        credentials = _credentials(account, transport, gate, clock, api_url, patience)
        rest = _github_source(settings, transport, account, gate, credentials, patience)
        key = f"github:{account.identity}"
        if isinstance(credentials, Anonymous):
            accounts.append(Account(key, gate.name, "github", gate, rest))
            continue
        name = f"GitHub account {account.name} (GraphQL)"
        points = Gate(name, graphql_budget(reserve), clock, in_flight=8)
        graphql = Graphql(
            transport,
            points,
            url=graphql_url(api_url),
            credentials=credentials,
            patience=patience,
        )
        batched = BatchedGithubSource(graphql, rest, api_url=api_url, identity=account.identity)
        # A check of a hundred repositories is a point, a changed one takes a third of one.
        door = DoubleDoor(points, gate, each=50)
        accounts.append(Account(key, gate.name, "github", door, batched))
    return tuple(accounts)


def _github_source(
    settings: Settings,
    transport: Transport,
    account: GithubAccount,
    gate: Gate,
    credentials: Credentials,
    patience: float,
) -> GithubSource:
    return GithubSource(
        transport,
        gate,
        api_url=settings.github.api_url,
        credentials=credentials,
        identity=account.identity,
        patience=patience,
    )


def _credentials(
    account: GithubAccount,
    transport: Transport,
    gate: Gate,
    clock: Clock,
    api_url: str,
    patience: float,
) -> Credentials:
    if account.app is not None:
        return Installation(
            transport,
            gate,
            clock,
            api_url=api_url,
            app_id=account.app.app_id,
            installation_id=account.app.installation_id,
            private_key=account.app.private_key.get_secret_value(),
            patience=patience,
        )
    return Token(account.token.get_secret_value()) if account.token is not None else Anonymous()


def graphql_url(api_url: str) -> str:
    """Where GraphQL is beside REST; on GitHub Enterprise Server beside `/api/v3`.

    https://docs.github.com/en/enterprise-server@latest/graphql/guides/forming-calls-with-graphql
    """
    base = api_url.rstrip("/")
    return f"{base.removesuffix('/v3')}/graphql"


def _ncbi(
    settings: Settings, transport: Transport, clock: Clock, patience: float
) -> tuple[Account, ...]:
    accounts = []

    def today() -> date:
        return datetime.fromtimestamp(clock.time(), UTC).date()

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
        # Counted apart from the E-utilities' requests.
        name = f"NCBI account {account.name} (Datasets)"
        reports = Gate(name, ncbi_budget(account.rate), clock, in_flight=4)
        genomes = Genomes(
            transport, reports, url=settings.ncbi.datasets_url, api_key=key, patience=patience
        )
        directories: dict[str, Directory] = {"taxonomy": Taxonomy(eutils), "genome": genomes}
        for each in SUMMARY_DATABASES.values():
            directories[each.name] = Summaries(eutils, each)
        source = NcbiSource(eutils, today, directories)
        door = DoubleDoor(gate, reports, each=1, other=DATASETS, together=False)
        accounts.append(Account(f"ncbi:{account.identity}", gate.name, "ncbi", door, source))
    return tuple(accounts)
