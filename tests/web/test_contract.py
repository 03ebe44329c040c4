"""The API keeps to its own OpenAPI document, whatever it is asked: over both stores."""

import asyncio
from typing import Any, Final

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.shelf import shelf
from tests.store.build import batch, sequence
from tests.stores import store_url
from tests.web.test_api import TOKEN, Client, client

__all__ = ["client", "shelf", "store_url"]

EXAMPLES: Final = 6
# Beyond this the HTTP server itself refuses a request line, before it is anybody's.
_LONGEST: Final = 8_000
# What a document cannot say, such as which names of repositories there can be, is not held to it.
_CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
async def test_every_answer_is_as_it_is_declared(client: Client, mode: GenerationMode) -> None:
    """No server error, and the statuses, types and shapes that the document tells of."""
    await client.shelf.write(batch(sequence()))

    def ask() -> int:
        schema = schemathesis.openapi.from_url(f"{client.base}/openapi.json")
        asked = 0
        for found in schema.get_all_operations():
            assert isinstance(found, Ok), "the document is one of OpenAPI"
            operation = found.ok()

            @settings(
                max_examples=EXAMPLES,
                derandomize=True,
                database=None,
                deadline=None,
                phases=[Phase.explicit, Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def hold(case: schemathesis.Case[Any]) -> None:
                nonlocal asked
                url = requests.Request(**case.as_transport_kwargs()).prepare().url or ""
                if len(url) >= _LONGEST:
                    return
                asked += 1
                case.call_and_validate(headers=TOKEN, timeout=20, checks=_CHECKS)

            hold()
        return asked

    assert await asyncio.to_thread(ask) > 50
