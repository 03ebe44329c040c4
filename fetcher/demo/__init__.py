"""A local GitHub and NCBI for `fetcher demo`, the tests and the benchmarks.

It knows nothing of the fetcher: what it does is what the upstreams document, and it is strict
where they are.
"""

from fetcher.demo.exchange import Logged
from fetcher.demo.faults import Fault
from fetcher.demo.github_models import (
    Asset,
    GithubApp,
    GithubUser,
    Installation,
    Release,
    Repository,
)
from fetcher.demo.github_state import GithubState
from fetcher.demo.ncbi_state import Entry, NcbiState
from fetcher.demo.ncbi_taxonomy import Taxon
from fetcher.demo.publisher import Publisher
from fetcher.demo.server import DemoUpstream, Urls
from fetcher.demo.synthetic import synthetic_genbank

__all__ = [
    "Asset",
    "DemoUpstream",
    "Entry",
    "Fault",
    "GithubApp",
    "GithubState",
    "GithubUser",
    "Installation",
    "Logged",
    "NcbiState",
    "Publisher",
    "Release",
    "Repository",
    "Taxon",
    "Urls",
    "synthetic_genbank",
]
