"""How accounts stand, as it is told to people and programs."""

from datetime import UTC, datetime

from fetcher.documents import Document
from fetcher.gate import GRAPHQL, REST
from fetcher.models import AccountState

__all__ = ["account_document"]


def account_document(account: AccountState) -> Document:
    """Who leads it, until when it is parked, and what is left of each of its quotas."""
    budget = account.budget
    # What GitHub counts apart; NCBI tells no quota.
    parts = {GRAPHQL: budget, REST: budget[REST]} if REST in budget else {REST: budget}
    return {
        "kind": "account",
        "account": account.account,
        "leader": account.owner,
        "lease_until": account.expires_at if account.owner is not None else None,
        "quotas": {
            name: {
                "remaining": part["remaining"],
                "limit": part.get("limit"),
                "reset": _time(part["reset"]),
            }
            for name, part in parts.items()
            if "remaining" in part
        },
        "parked_until": _time(budget.get("parked_until")),
        "refused": bool(budget.get("refused")),
    }


def _time(epoch: float | None) -> datetime | None:
    return datetime.fromtimestamp(epoch, UTC) if epoch is not None else None
