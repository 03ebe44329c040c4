"""``fetcher demo``: the very same fetch, against a local GitHub and NCBI."""

import os
import sys
import tempfile
from pathlib import Path

from fetcher.cli.common import Common, say
from fetcher.cli.fetch import FetchOptions, fetch_with
from fetcher.cli.render import Format
from fetcher.config import load_settings
from fetcher.demo import DemoUpstream

__all__ = ["WATCHED", "demo"]

WATCHED = (
    "github:stellarcarbon/sorocarbon",
    "github:Codertocat/Hello-World",
    "ncbi:nuccore/NC_003355.1",
    "ncbi:nuccore/NC_010316.1,NC_043170.1",
    "ncbi:nuccore?txid1169032[Organism:exp]",
)
"""The small watch list of the demo."""


async def demo(how: Format, common: Common) -> int:
    """Runs the command to its exit code; what it stored is left to be looked at."""
    folder = Path(tempfile.mkdtemp(prefix="fetcher-demo-"))
    store = f"sqlite:///{folder}/fetcher.db"
    upstream = DemoUpstream()
    upstream.load_bundled()
    async with upstream.serve() as urls:
        say(f"A local GitHub at {urls.github} and a local NCBI at {urls.eutils}.")
        settings = load_settings(
            None,
            {},
            folder,
            {
                "store.url": store,
                "github.api_url": urls.github,
                "ncbi.eutils_url": urls.eutils,
            },
        )
        options = FetchOptions(WATCHED, format=how)
        code = await fetch_with(settings, options, common)
    if not common.quiet:
        program = os.path.relpath(sys.argv[0])  # noqa: ASYNC240 - touches no disk
        say(
            f"{len(upstream.log)} requests were made. Everything lies in {store}\n\n"
            "Look at it:\n"
            f"  {program} list --store {store}\n"
            f"  {program} show NC_003355 --store {store} --format genbank\n"
            "Then fetch something of your own from the real GitHub and NCBI:\n"
            f"  {program} fetch github:virtool/virtool ncbi:nuccore/NC_003355.1"
        )
    return code
