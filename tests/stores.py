"""Both stores for tests: each test that asks for `store_url` runs over SQLite and MongoDB."""

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pymongo
import pytest

from tests.conftest import MONGODB_URL
from tests.heard import listen
from tests.rights import ROLES, Wanted

__all__ = ["store_url"]


@pytest.fixture(params=["sqlite", "mongodb"])
def store_url(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """The URL of an empty store that is gone after the test.

    What is said to a MongoDB in between has to be what the roles in docs/deploy allow.
    """
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/store.db"
        return
    server = os.environ.get(MONGODB_URL)
    if not server:
        assert not os.environ.get("CI_REQUIRES_MONGODB"), f"{MONGODB_URL} is not set"
        pytest.skip(f"{MONGODB_URL} is not set")
    name = f"fetcher_test_{uuid4().hex[:12]}"
    wanted = Wanted()
    listen(monkeypatch, wanted)
    yield f"{server.rstrip('/')}/{name}"
    with pymongo.MongoClient[dict[str, object]](server) as client:
        client.drop_database(name)
    assert wanted.actions <= ROLES["fetcherWriter"]
    assert wanted.databases <= {name}
