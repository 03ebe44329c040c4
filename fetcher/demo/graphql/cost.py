"""What a query costs before anything is looked up: requests, points, and possible nodes.

https://docs.github.com/en/graphql/overview/rate-limits-and-query-limits-for-the-graphql-api
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLIncludeDirective,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    GraphQLSkipDirective,
    InlineFragmentNode,
    SelectionNode,
    SelectionSetNode,
    get_argument_values,
    get_directive_values,
    get_named_type,
    is_composite_type,
)
from graphql.execution.values import VariableValues

__all__ = ["Weight", "weigh"]


@dataclass(frozen=True, slots=True)
class Weight:
    """`requests` are those that all connections would take, `nodes` what they could return.

    A `dry` query only wants to know that.
    """

    requests: int
    nodes: int
    root_fields: int
    dry: bool

    @property
    def points(self) -> int:
        """Hundreds of requests, to the nearest whole, and one at least."""
        return max(1, (self.requests + 50) // 100)


def weigh(
    schema: GraphQLSchema,
    selections: SelectionSetNode,
    fragments: Mapping[str, FragmentDefinitionNode],
    variables: VariableValues,
) -> Weight:
    """The weight of an operation that has been validated, with its coerced variables."""
    scale = _Scale(schema, fragments, variables)
    scale.walk(selections, schema.type_map["Query"], 1, ())
    return Weight(scale.requests, scale.nodes, len(scale.roots), scale.dry)


@dataclass(slots=True)
class _Scale:
    schema: GraphQLSchema
    fragments: Mapping[str, FragmentDefinitionNode]
    variables: VariableValues
    requests: int = 0
    nodes: int = 0
    roots: set[str] = field(default_factory=set)
    dry: bool = False
    _seen: set[tuple[str, ...]] = field(default_factory=set)

    def walk(
        self,
        selections: SelectionSetNode,
        kind: GraphQLNamedType,
        times: int,
        path: tuple[str, ...],
    ) -> None:
        """Weighs what is selected of a type that is reached up to so many `times`."""
        for node in selections.selections:
            if self._left_out(node):
                continue
            if isinstance(node, FieldNode):
                self._field(node, kind, times, path)
                continue
            inner: FragmentDefinitionNode | InlineFragmentNode
            if isinstance(node, FragmentSpreadNode):
                inner = self.fragments[node.name.value]
            elif isinstance(node, InlineFragmentNode):
                inner = node
            else:
                continue
            on = inner.type_condition
            narrowed = kind if on is None else self.schema.type_map[on.name.value]
            self.walk(inner.selection_set, narrowed, times, path)

    def _field(
        self, node: FieldNode, kind: GraphQLNamedType, times: int, path: tuple[str, ...]
    ) -> None:
        name = node.name.value
        here = (*path, (node.alias or node.name).value)
        if not path:
            self.roots.add(here[0])
        if name.startswith("__") or not isinstance(kind, GraphQLObjectType | GraphQLInterfaceType):
            return
        definition = kind.fields[name]
        inner = get_named_type(definition.type)
        if not is_composite_type(inner) or node.selection_set is None:
            return
        given: Mapping[str, Any] = get_argument_values(definition, node, self.variables)
        self.dry = self.dry or (name == "rateLimit" and bool(given["dryRun"]))
        if name == "nodes" and "ids" in given:
            times *= len(given["ids"])
        if inner.name.endswith("Connection"):
            size = given.get("first") or given.get("last") or 0
            # The same connection, asked for twice under the same name, is fetched once.
            if here not in self._seen:
                self._seen.add(here)
                self.requests += times
                self.nodes += times * size
            times *= size
        self.walk(node.selection_set, inner, times, here)

    def _left_out(self, node: SelectionNode) -> bool:
        skip = get_directive_values(GraphQLSkipDirective, node, self.variables)
        include = get_directive_values(GraphQLIncludeDirective, node, self.variables)
        return bool(skip and skip["if"]) or bool(include and not include["if"])
