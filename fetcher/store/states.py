"""A target's state and what belongs to it as documents, the same in every store."""

import json
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
    TargetState,
    Watch,
)
from fetcher.store.times import read_time

__all__ = [
    "bearer",
    "request_document",
    "request_from",
    "state_document",
    "state_from",
    "state_from_text",
    "under",
    "watch_from",
]

_TIMES = ("last_attempt", "last_success", "last_change", "reconciled_at")


def state_document(state: TargetState) -> Document:
    """The document of a state without its watch; its `id` is the `_id`."""
    failure = state.failure
    told: Document | None = None
    if failure is not None:
        evidence = failure.evidence
        told = {
            "message": failure.message,
            "evidence": {
                "status": evidence.status,
                "request_id": evidence.request_id,
                "url": evidence.url,
                "quote": evidence.quote,
            },
            "retry_at": failure.retry_at,
            "log_id": failure.log_id,
        }
    return {
        "_id": state.id,
        "key": state.key,
        "names": list(state.names),
        "account": state.account,
        "outcome": str(state.outcome) if state.outcome is not None else None,
        "failure": told,
        "missing": list(state.missing),
        "cursor": dict(state.cursor) if state.cursor is not None else None,
        "facts": dict(state.facts),
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


def under(lease: Lease, state: TargetState) -> TargetState:
    """The state as whoever holds this lease writes it."""
    if (state.account, state.token) == (lease.account, lease.token):
        return state
    return replace(state, account=lease.account, token=lease.token)


def state_from(document: Document, watch: Watch | None = None) -> TargetState:
    """The state of a document; unknown keys of a later version are left out."""
    get = document.get
    failure = get("failure")
    outcome = get("outcome")
    return TargetState(
        id=document["_id"],
        key=document["key"],
        names=tuple(document["names"]),
        account=document["account"],
        outcome=OutcomeKind(outcome) if outcome else None,
        failure=(
            Failure(**{**failure, "evidence": Evidence(**failure["evidence"])})
            if failure is not None
            else None
        ),
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
        token=get("token", 0),
        watch=watch,
    )


def state_from_text(text: str, next_due: datetime | None, watch: Watch | None) -> TargetState:
    """The state of a JSON document; its due time is told beside it."""
    document = json.loads(text)
    for name in _TIMES:
        document[name] = read_time(document.get(name))
    document["next_due"] = next_due
    if document["failure"] is not None:
        document["failure"]["retry_at"] = read_time(document["failure"]["retry_at"])
    return state_from(document, watch)


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
    )


def bearer(name: str, states: Iterable[TargetState]) -> TargetState:
    """Which of several targets a folded key means: who bears it now, before who once did.

    A repository that was renamed leaves a name that somebody else may take.
    """
    return max(states, key=lambda each: (each.key.lower() == name.lower(), each.token, each.id))
