"""``fetcher demo``: the very same fetch and the very same daemon, on a local GitHub and NCBI."""

import asyncio
import os
import shlex
import signal
import sys
import tempfile
from pathlib import Path
from typing import Final

from fetcher.cli.common import Common, say
from fetcher.cli.fetch import FetchOptions, fetch_with
from fetcher.cli.render import Format
from fetcher.clock import SystemClock
from fetcher.config import Settings, load_settings
from fetcher.daemon import Daemon
from fetcher.demo import DemoUpstream, Publisher, Urls
from fetcher.log import set_up_log

__all__ = ["WATCHED", "demo"]

WATCHED = (
    "github:stellarcarbon/sorocarbon",
    "github:Codertocat/Hello-World",
    "ncbi:nuccore/NC_003355.1",
    "ncbi:nuccore/NC_010316.1,NC_043170.1",
    "ncbi:nuccore?txid1169032[Organism:exp]",
)
"""The small watch list of the demo."""

# Seconds between two things that the local GitHub and NCBI publish.
_PAUSE: Final = 5.0
# Requests an hour that the local GitHub allows without a token. The real one allows 60, and
# whoever looks at a demo does not want to wait for the next hour.
_GENEROUS: Final = 5_000


async def demo(how: Format, common: Common, *, listen: str, once: bool) -> int:
    """Runs the command to its exit code; what it stored is left to be looked at.

    With `once` it ends after the fetch. Otherwise it goes on as the daemon until SIGINT or
    SIGTERM, while the local upstreams keep publishing.
    """
    folder = Path(tempfile.mkdtemp(prefix="fetcher-demo-"))
    file = folder / "fetcher.toml"
    upstream = DemoUpstream()
    upstream.load_bundled()
    upstream.github.limit_anonymous = _GENEROUS
    async with upstream.serve() as urls:
        file.write_text(_settings(urls, folder), encoding="utf-8")

        def load() -> Settings:
            return load_settings(file, {}, folder, {"api.listen": listen})

        settings = load()
        say(f"A local GitHub at {urls.github} and a local NCBI at {urls.eutils}.")
        code = await fetch_with(settings, FetchOptions(WATCHED, format=how), common)
        if not once and code == 0:
            daemon = Daemon(
                settings,
                load,
                SystemClock(),
                set_up_log(common.log_format, common.log_level),
                environ=os.environ,
            )
            code = await _stay(daemon, upstream, settings, file, common)
    if not common.quiet:
        program = _program()
        store = settings.store.url
        say(
            f"{len(upstream.log):,} requests were made. Everything lies in {store}\n\n"
            "Look at it:\n"
            f"  {program} list --store {store}\n"
            f"  {program} show NC_003355 --store {store} --format genbank\n"
            "Then fetch something of your own from the real GitHub and NCBI:\n"
            f"  {program} fetch github:virtool/virtool ncbi:nuccore/NC_003355.1"
        )
    return code


async def _stay(
    daemon: Daemon, upstream: DemoUpstream, settings: Settings, file: Path, common: Common
) -> int:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, daemon.stop, int(number))
    beside = asyncio.create_task(_publish(daemon, upstream, settings, file, common))
    try:
        return await daemon.run()
    finally:
        beside.cancel()
        await asyncio.gather(beside, return_exceptions=True)


async def _publish(
    daemon: Daemon, upstream: DemoUpstream, settings: Settings, file: Path, common: Common
) -> None:
    """Says where to look once it serves; then publishes something every few seconds."""
    await daemon.started.wait()
    address, program = settings.api.address, _program()
    lines = ["", "The daemon goes on from here, until Ctrl-C."]
    if address is not None:
        host = f"[{address[0]}]" if ":" in address[0] else address[0] or "localhost"
        base = f"http://{host}:{daemon.port}"
        lines += [
            f"  Status page      {base}/",
            f"  API, explained   {base}/docs",
            f"  Latest release   {base}/v1/github/Codertocat/Hello-World/releases/latest",
            f"  Newest sequence  {base}/v1/ncbi/nuccore/NC_003355",
            f"  Changes, live    curl -NH 'Accept: text/event-stream' {base}/v1/changes",
        ]
    lines += [
        "Or in another terminal:",
        f"  {program} changes --follow --config {shlex.quote(str(file))}",
        f"  {program} status --config {shlex.quote(str(file))}",
        "",
    ]
    say("\n".join(lines))
    publisher = Publisher(upstream)
    while True:
        await asyncio.sleep(_PAUSE)
        text = publisher.publish()
        if not common.quiet:
            say(text)


def _program() -> str:
    return os.path.relpath(sys.argv[0])


def _settings(urls: Urls, folder: Path) -> str:
    watched = "".join(f'    "{each}",\n' for each in WATCHED)
    return (
        "# The settings of `fetcher demo`: its upstreams are gone when it has ended.\n"
        "[store]\n"
        f'url = "sqlite:///{folder}/fetcher.db"\n'
        "[github]\n"
        f'api_url = "{urls.github}"\n'
        'reconcile = "30s"\n'
        "[ncbi]\n"
        f'eutils_url = "{urls.eutils}"\n'
        f'datasets_url = "{urls.datasets}"\n'
        'reconcile = "30s"\n'
        "[service]\n"
        'min_interval = "1s"\n'
        "[[watch]]\n"
        f"targets = [\n{watched}]\n"
        'every = "5s"\n'
    )
