"""Takes a query in: who may ask, what it costs, and the answer, whose errors have status 200.

https://docs.github.com/en/graphql/guides/forming-calls-with-graphql
"""

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any, Final, TypeAlias

from graphql import (
    DocumentNode,
    FragmentDefinitionNode,
    GraphQLSyntaxError,
    OperationDefinitionNode,
    build_schema,
    execute_sync,
    get_operation_ast,
    get_variable_values,
    parse,
    validate,
)

from fetcher.demo.exchange import Answer, Call, Refused, json_answer
from fetcher.demo.github_answers import exhausted, refusal, request_id, too_fast
from fetcher.demo.github_models import GithubUser, stamp
from fetcher.demo.github_shapes import Shapes
from fetcher.demo.github_state import GithubState
from fetcher.demo.graphql.cost import Weight, weigh
from fetcher.demo.graphql.errors import invalid, shown, unreadable
from fetcher.demo.graphql.resolve import Resolver
from fetcher.demo.limits import ResettingWindow

__all__ = ["GraphqlApi"]

Row: TypeAlias = dict[str, Any]

ABOUT: Final = "https://docs.github.com/graphql"
AUTHENTICATING: Final = f"{ABOUT}/guides/forming-calls-with-graphql#authenticating-with-graphql"
MOST_NODES: Final = 500_000
# "If GitHub takes more than 10 seconds to process an API request, GitHub will terminate" it.
PATIENCE: Final = 10.0
# Clients send the same few documents with other variables.
REMEMBERED: Final = 64


class GraphqlApi:
    """Answers queries out of a `GithubState`."""

    def __init__(self, state: GithubState) -> None:
        self._state = state
        text = (files("fetcher.demo") / "data" / "github.graphql").read_text(encoding="utf-8")
        self._schema = build_schema(text)
        self._documents: dict[str, DocumentNode] = {}
        self._timeouts = 0

    def answer(
        self,
        call: Call,
        user: GithubUser | None,
        account: str,
        window: ResettingWindow,
    ) -> Answer:
        """The answer to one query; `Refused` where there is none."""
        if call.method != "POST":
            raise refusal(404, "Not Found", about=ABOUT)
        if user is None:
            message = "This endpoint requires you to be authenticated."
            raise refusal(401, message, about=AUTHENTICATING)
        if self._state.secondary(account, 1, "graphql"):
            raise too_fast(self._state, "graphql")
        if window.look(call.at) < 1:
            self._state.violations.append(call.at)
            raise _errors({"type": "RATE_LIMITED", "message": exhausted(call, user)})
        try:
            return self._answered(call, user, window)
        except Refused:
            window.spend(call.at)
            raise

    def _answered(self, call: Call, user: GithubUser, window: ResettingWindow) -> Answer:
        try:
            asked = json.loads(call.body)
        except ValueError:
            raise refusal(400, "Problems parsing JSON", about=ABOUT) from None
        if not isinstance(asked, dict) or not isinstance(asked.get("query"), str):
            message = "A query attribute must be specified and must be a string."
            raise _errors({"message": message})
        document, operation = self._operation(asked)
        given = asked.get("variables") or {}
        values = get_variable_values(self._schema, operation.variable_definitions or (), given)
        if isinstance(values, list):
            raise _errors(*map(shown, values))
        fragments = {
            each.name.value: each
            for each in document.definitions
            if isinstance(each, FragmentDefinitionNode)
        }
        weight = weigh(self._schema, operation.selection_set, fragments, values)
        if weight.nodes > MOST_NODES:
            message = (
                f"This query requests up to {weight.nodes:,} possible nodes which exceeds the "
                f"maximum limit of {MOST_NODES:,}."
            )
            raise _errors({"type": "MAX_NODE_LIMIT_EXCEEDED", "message": message})
        slow = self._state.graphql_slow_above
        if slow is not None and weight.root_fields > slow:
            return self._timeout(call, window, weight)
        if not weight.dry:
            window.spend(call.at, weight.points)
        resolver = Resolver(
            self._state,
            user,
            Shapes(call.base, self._state.web_url),
            _rate_limit(call, window, weight),
            dry=weight.dry,
        )
        result = execute_sync(
            self._schema,
            document,
            root_value=resolver.root(),
            variable_values=given,
            operation_name=asked.get("operationName"),
        )
        body: Row = {"data": result.data}
        if result.errors:
            body["errors"] = [shown(each) for each in result.errors]
        return json_answer(200, body)

    def _operation(self, asked: Mapping[str, Any]) -> tuple[DocumentNode, OperationDefinitionNode]:
        """The document, if it can be parsed and holds against the schema."""
        document = self._documents.get(asked["query"]) or self._document(asked["query"])
        operation = get_operation_ast(document, asked.get("operationName"))
        if operation is None:
            name = asked.get("operationName")
            message = "An operation name is required"
            raise _errors({"message": f'No operation named "{name}"' if name else message})
        return document, operation

    def _document(self, text: str) -> DocumentNode:
        try:
            document = parse(text)
        except GraphQLSyntaxError as error:
            raise _errors(unreadable(error)) from None
        if wrong := validate(self._schema, document, hide_suggestions=True):
            raise _errors(*(invalid(document, each) for each in wrong))
        if len(self._documents) >= REMEMBERED:
            self._documents.clear()
        self._documents[text] = document
        return document

    def _timeout(self, call: Call, window: ResettingWindow, weight: Weight) -> Answer:
        """What takes too long costs more than what is answered."""
        window.spend(call.at, weight.points + self._state.graphql_timeout_points)
        self._timeouts += 1
        status = self._state.graphql_timeout_status
        body: Row
        if status == 502:
            message = (
                "Something went wrong while executing your query. This may be the result of a "
                "timeout, or it could be a GitHub bug. Please include "
                f"`{request_id(self._timeouts, call.at)}` when reporting this issue."
            )
            body = {"data": None, "errors": [{"message": message}]}
        else:
            message = (
                "We couldn't respond to your request in time. Sorry about that. Please try "
                "resubmitting your request and contact us if the problem persists."
            )
            body = {"message": message}
        answer = json_answer(status, body)
        return Answer(status, answer.headers, answer.text, delay=PATIENCE)


def _errors(*rows: Row) -> Refused:
    return Refused(json_answer(200, {"errors": list(rows)}))


def _rate_limit(call: Call, window: ResettingWindow, weight: Weight) -> Row:
    left = window.look(call.at)
    return {
        "cost": weight.points,
        "limit": window.limit,
        "nodeCount": weight.nodes,
        "remaining": left,
        "resetAt": stamp(window.reset_epoch),
        "used": window.limit - left,
    }
