"""``fetcher status``: accounts, targets and counts, from the store alone."""

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from typing import IO, Any

from fetcher.cli.render import TABLE_ROWS, Format, json_text, print_table
from fetcher.documents import Document, time_text
from fetcher.policy.capacity import ANONYMOUS_ACCOUNT, without_token
from fetcher.store.protocol import ReadStore
from fetcher.store.states import target_document
from fetcher.told import account_document

__all__ = ["ago", "status"]

_UPSTREAMS = ("github:", "ncbi:")
_BARE = "without_token"
_ACCOUNTS = ("ACCOUNT", "LEADER", "PARKED UNTIL", "QUOTA", "LEFT", "LIMIT", "RESET")


async def status(store: ReadStore, how: Format, out: IO[str]) -> int:
    """Writes how accounts and targets stand; those that fail come first in a table."""
    now = await store.now()
    accounts = [
        account_document(each)
        for each in await store.accounts()
        if each.account.startswith(_UPSTREAMS)
    ]
    match how:
        case Format.TABLE:
            await _table(store, accounts, now, out)
        case Format.JSON:
            counts: Counter[str] = Counter()
            out.write(f'{{"accounts": {json_text(accounts)},\n "items": [')
            first = True
            async with aclosing(_targets(store, now)) as targets:
                async for document in targets:
                    counts.update(_counted(document))
                    out.write(("\n  " if first else ",\n  ") + json_text(document))
                    first = False
            out.write(f'],\n "counts": {json_text(counts)}}}\n')
        case _:
            for account in accounts:
                out.write(json_text(account) + "\n")
            async with aclosing(_targets(store, now)) as targets:
                async for document in targets:
                    out.write(json_text(document) + "\n")
    return 0


async def _targets(store: ReadStore, now: datetime) -> AsyncGenerator[Document, None]:
    async with aclosing(store.targets()) as states:
        async for state in states:
            yield target_document(state, now)


def _counted(document: Document) -> dict[str, int]:
    outcome = document["outcome"] or "never polled"
    watched = int(document["watched"])
    bare = {_BARE: 1} if watched and document["account"] == ANONYMOUS_ACCOUNT else {}
    return {"targets": 1, "watched": watched, outcome: 1, **bare}


async def _table(
    store: ReadStore, accounts: list[dict[str, Any]], now: datetime, out: IO[str]
) -> None:
    lines = [line for each in accounts for line in _account_lines(each, now)]
    if lines:
        print_table(_ACCOUNTS, lines, out)
        out.write("\n")
    counts: Counter[str] = Counter()
    failing: list[Document] = []
    others: list[Document] = []
    async with aclosing(_targets(store, now)) as targets:
        async for document in targets:
            counts.update(_counted(document))
            kept = failing if document["failures"] else others
            if len(kept) < TABLE_ROWS:
                kept.append(document)
    shown = (failing + others)[:TABLE_ROWS]
    if shown:
        headings = ("TARGET", "OUTCOME", "RECORDS", "CHECKED", "NEXT DUE", "ERROR")
        print_table(headings, [_row(each, now) for each in shown], out)
        out.write("\n")
    total, watched = counts.pop("targets", 0), counts.pop("watched", 0)
    if total > len(shown):
        out.write(f"… and {total - len(shown)} more; --format ndjson writes them all\n")
    repositories = counts.pop(_BARE, 0)
    said = ", ".join(f"{number:,} {outcome}" for outcome, number in counts.most_common())
    out.write(f"{total:,} targets, {watched:,} watched{': ' if said else ''}{said}\n")
    if repositories:
        out.write(f"{without_token(repositories)}\n")


def _account_lines(account: dict[str, Any], now: datetime) -> list[tuple[str, ...]]:
    """A line for each of its quotas, the first of which tells of the account, too."""
    parked = "refused" if account["refused"] else _clock(account["parked_until"], now)
    told = (account["account"], account["leader"] or "nobody", parked)
    quotas = [
        (
            name,
            *(_number(quota[key]) for key in ("remaining", "limit")),
            _clock(quota["reset"], now),
        )
        for name, quota in account["quotas"].items()
    ]
    lines = quotas or [("-", "-", "-", "-")]
    return [((*told, *line) if at == 0 else ("", "", "", *line)) for at, line in enumerate(lines)]


def _number(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"


def _row(document: Document, now: datetime) -> tuple[str, ...]:
    failure = document["failure"]
    due = document["next_due"] if document["watched"] else None
    return (
        document["key"],
        document["outcome"] or "-",
        f"{document['records']:,}",
        ago(document["age"]),
        _clock(due, now),
        failure["message"] if failure is not None else "",
    )


def ago(seconds: float | None) -> str:
    """An age in the largest unit that fits: ``3m ago``."""
    if seconds is None:
        return "never"
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size:.0f}{unit} ago"
    return f"{seconds:.0f}s ago"


def _clock(time: datetime | None, now: datetime) -> str:
    """A moment near now by its time of day, another with its date."""
    if time is None:
        return "-"
    if abs((time - now).total_seconds()) < 43_200:
        return f"{time:%H:%M:%S}"
    return time_text(time)[:16].replace("T", " ")
