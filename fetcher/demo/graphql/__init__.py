"""GitHub's GraphQL API; the only part of the demo that needs graphql-core."""

from fetcher.demo.graphql.api import GraphqlApi

__all__ = ["GraphqlApi"]
