"""The watch list: what the settings file names and what was typed, brought into the store."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from fetcher.models import Every, TargetState, Watch, Wish
from fetcher.store.protocol import WriteStore
from fetcher.targets import Target

__all__ = ["Applied", "apply_file", "wish_by_hand"]

_AT_ONCE: Final = 1_000


@dataclass(frozen=True, slots=True)
class Applied:
    """What the store's watch list learned: numbers of targets."""

    added: int = 0
    changed: int = 0
    removed: int = 0


async def apply_file(
    store: WriteStore,
    wanted: Mapping[Target, Every],
    home: Callable[[Target], str],
    interval: Callable[[TargetState], float],
) -> Applied:
    """Makes the file's side of the watch list what the file says; the rest is left alone.

    `home` names the account that polls a new target; others stay where they are (see
    `fetcher.moves`). `interval` is how often, in seconds, a state's watch means. Among replicas
    with different files the one that applied last wins.
    """
    every = {target.fold: (target, value) for target, value in wanted.items()}
    unwatch: list[Wish] = []
    change: dict[str, tuple[Target, Every]] = {}
    changed = 0
    async for watched in store.watched():
        found = [every.pop(name) for name in watched.names if name in every]
        if found:
            target, value = found[0]
            if watched.watch.file != value:
                change[target.fold] = target, value
                changed += 1
        elif watched.watch.file is not None:
            unwatch.append(Wish(watched.id, watched.key, watched.watch.account, None))
    for at in range(0, len(unwatch), _AT_ONCE):
        await store.wish("file", unwatch[at : at + _AT_ONCE])
    added = len(every)
    every.update(change)
    folds = list(every)
    for at in range(0, len(folds), _AT_ONCE):
        part = folds[at : at + _AT_ONCE]
        states = await store.targets_by_name(part)
        wishes = [
            _wish(*every[fold], states.get(fold), home(every[fold][0]), interval) for fold in part
        ]
        await store.wish("file", wishes)
    return Applied(added, changed, len(unwatch))


async def wish_by_hand(
    store: WriteStore,
    targets: Sequence[Target],
    every: Every | None,
    home: Callable[[Target], str],
    interval: Callable[[TargetState], float],
) -> None:
    """Watches targets by hand, or (None) no longer."""
    for at in range(0, len(targets), _AT_ONCE):
        part = targets[at : at + _AT_ONCE]
        states = await store.targets_by_name([target.fold for target in part])
        wishes = [
            _wish(target, every, states.get(target.fold), home(target), interval)
            for target in part
            if every is not None or target.fold in states
        ]
        await store.wish("hand", wishes)


def _wish(
    target: Target,
    every: Every | None,
    state: TargetState | None,
    account: str,
    interval: Callable[[TargetState], float],
) -> Wish:
    if state is None:
        return Wish(target.fold, target.key, account, every)
    if state.watch is not None:
        account = state.watch.account  # it may have moved, and who moved it brings it back
    due = None
    if every is not None and state.last_attempt is not None:
        # A shorter interval counts from the last poll, but not before what the server asked for.
        wished = replace(state, watch=Watch(account, every))
        due = state.last_attempt + timedelta(seconds=interval(wished))
        if state.failure is not None and state.failure.retry_at is not None:
            due = max(due, state.failure.retry_at)
    elif every is not None:
        due = state.next_due
    return Wish(state.id, state.key, account, every, due)
