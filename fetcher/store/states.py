"""A target's state as a document, the same in every store."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from fetcher.documents import Document
from fetcher.errors import Evidence
from fetcher.models import Failure, OutcomeKind, TargetState

__all__ = ["bearer", "state_document", "state_from"]


def state_document(state: TargetState) -> Document:
    """The document of a state; its `id` is the `_id`."""
    document: dict[str, Any] = asdict(state)
    document["_id"] = document.pop("id")
    document["names"] = list(state.names)
    document["missing"] = list(state.missing)
    document["outcome"] = str(state.outcome) if state.outcome is not None else None
    document["cursor"] = dict(state.cursor) if state.cursor is not None else None
    document["facts"] = dict(state.facts)
    return document


def state_from(document: Document) -> TargetState:
    """The state of a document; unknown keys of a later version are left out."""
    values = {k: v for k, v in document.items() if k in TargetState.__dataclass_fields__}
    failure = document.get("failure")
    if failure is not None:
        evidence = Evidence(**failure["evidence"])
        values["failure"] = Failure(**{**failure, "evidence": evidence})
    values["outcome"] = OutcomeKind(document["outcome"]) if document.get("outcome") else None
    values["names"] = tuple(document["names"])
    values["missing"] = tuple(document["missing"])
    return TargetState(id=document["_id"], **values)


def bearer(name: str, states: Iterable[TargetState]) -> TargetState:
    """Which of several targets a folded key means: who bears it now, before who once did.

    A repository that was renamed leaves a name that somebody else may take.
    """
    return max(states, key=lambda each: (each.key.lower() == name.lower(), each.token, each.id))
