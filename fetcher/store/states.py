"""A target's state and what belongs to it as documents, the same in every store."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime

from fetcher.documents import Document
from fetcher.errors import Evidence
from fetcher.models import (
    Every,
    Failure,
    Lease,
    OutcomeKind,
    PollRequest,
    PollResult,
    Spell,
    TargetState,
    Watch,
)

__all__ = [
    "advances",
    "bearer",
    "failure_from",
    "lasting",
    "passing",
    "request_document",
    "request_from",
    "state_document",
    "state_from",
    "target_document",
    "under",
    "watch_from",
]


def state_document(state: TargetState) -> Document:
    """The document of a state without its watch; its `id` is the `_id`."""
    return {"_id": state.id, **lasting(state), **passing(state)}


def target_document(state: TargetState, now: datetime) -> Document:
    """A target's state as it is written: `age` is seconds since the last good poll."""
    age = (now - state.last_success).total_seconds() if state.last_success is not None else None
    return {
        "kind": "target",
        **state_document(state),
        "watched": state.watch is not None,
        "every": state.watch.every if state.watch is not None else None,
        "age": round(max(0.0, age), 3) if age is not None else None,
    }


def lasting(state: TargetState) -> Document:
    """What a poll that finds nothing new leaves as it is."""
    return {
        "key": state.key,
        "names": list(state.names),
        "failure": _failure_document(state.failure),
        "missing": list(state.missing),
        "cursor": dict(state.cursor) if state.cursor is not None else None,
        "facts": dict(state.facts),
        "spells": [{"since": each.since, "outcome": each.outcome} for each in state.spells],
    }


def passing(state: TargetState) -> Document:
    """What changes with every poll."""
    return {
        "account": state.account,
        "outcome": str(state.outcome) if state.outcome is not None else None,
        "records": state.records,
        "failures": state.failures,
        "last_attempt": state.last_attempt,
        "last_success": state.last_success,
        "last_change": state.last_change,
        "reconciled_at": state.reconciled_at,
        "next_due": state.next_due,
        "rhythm": dict(state.rhythm),
        "token": state.token,
    }


def advances(lease: Lease, state: TargetState, known: TargetState | None) -> bool:
    """Whether nothing but what passes is new in a state, beside what is known of it."""
    return (
        known is not None
        and (known.account != lease.account or known.token <= lease.token)
        and state.cursor == known.cursor
        and state.facts == known.facts
        and state.failure == known.failure
        and state.names == known.names
        and state.key == known.key
        and state.missing == known.missing
        and state.spells == known.spells
    )


def under(lease: Lease, state: TargetState) -> TargetState:
    """The state as whoever holds this lease writes it."""
    if (state.account, state.token) == (lease.account, lease.token):
        return state
    return replace(state, account=lease.account, token=lease.token)


def state_from(document: Document, watch: Watch | None = None) -> TargetState:
    """The state of a document; unknown keys of a later version are left out."""
    get = document.get
    outcome = get("outcome")
    return TargetState(
        id=document["_id"],
        key=document["key"],
        names=tuple(document["names"]),
        account=document["account"],
        outcome=OutcomeKind(outcome) if outcome else None,
        failure=failure_from(get("failure")),
        missing=tuple(get("missing", ())),
        cursor=get("cursor"),
        facts=get("facts", {}),
        records=get("records", 0),
        failures=get("failures", 0),
        last_attempt=get("last_attempt"),
        last_success=get("last_success"),
        last_change=get("last_change"),
        reconciled_at=get("reconciled_at"),
        next_due=get("next_due"),
        rhythm=get("rhythm", {}),
        spells=tuple([Spell(each["since"], each["outcome"]) for each in get("spells", ())]),
        token=get("token", 0),
        watch=watch,
    )


def _failure_document(failure: Failure | None) -> Document | None:
    if failure is None:
        return None
    evidence = failure.evidence
    return {
        "message": failure.message,
        "evidence": {
            "status": evidence.status,
            "request_id": evidence.request_id,
            "url": evidence.url,
            "quote": evidence.quote,
        },
        "retry_at": failure.retry_at,
        "log_id": failure.log_id,
        "whole_account": failure.whole_account,
    }


def failure_from(told: Document | None) -> Failure | None:
    """The failure in a state's document."""
    if told is None:
        return None
    return Failure(**{**told, "evidence": Evidence(**told["evidence"])})


def watch_from(account: str | None, file: Every | None, hand: Every | None) -> Watch | None:
    """The watch of a target, if anybody watches it."""
    if account is None or (file is None and hand is None):
        return None
    return Watch(account, file, hand)


def request_document(request: PollRequest) -> Document:
    """A request for a poll as a document; keys stand in values, for they hold dots."""
    results = request.results
    return {
        "_id": request.id,
        "account": request.account,
        "targets": list(request.targets),
        "full": request.full,
        "asked_at": request.asked_at,
        "expires_at": request.expires_at,
        "results": _results(results) if results is not None else None,
        "refusal": _failure_document(request.refusal),
        "awaited": request.awaited,
        "not_before": request.not_before,
    }


def _results(results: Mapping[str, PollResult]) -> list[Document]:
    return [
        {"asked": asked, "id": result.id, "changed": result.changed}
        for asked, result in results.items()
    ]


def request_from(document: Document) -> PollRequest:
    """The request of a document."""
    results = document["results"]
    return PollRequest(
        id=document["_id"],
        account=document["account"],
        targets=tuple(document["targets"]),
        full=document["full"],
        asked_at=document["asked_at"],
        expires_at=document["expires_at"],
        results=(
            {each["asked"]: PollResult(each["id"], each["changed"]) for each in results}
            if results is not None
            else None
        ),
        refusal=failure_from(document.get("refusal")),
        awaited=document.get("awaited", True),
        not_before=document.get("not_before"),
    )


def bearer(name: str, states: Iterable[TargetState]) -> TargetState:
    """Which of several targets a folded key means: who bears it now, before who once did.

    A repository that was renamed leaves a name that somebody else may take.
    """
    return max(states, key=lambda each: (each.key.lower() == name.lower(), each.token, each.id))
