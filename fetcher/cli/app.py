"""The commands and their options."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from fetcher import __version__
from fetcher.cli.common import (
    Common,
    ConfigOption,
    FormatOption,
    LogFormatOption,
    LogLevelOption,
    QuietOption,
    RecordFormatOption,
    StoreOption,
    choose_format,
    guarded,
    run,
)
from fetcher.cli.stored import commands

__all__ = ["start"]

app = typer.Typer(
    name="fetcher",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Keeps a store supplied with GitHub releases and NCBI records.",
)


def start() -> None:
    """Runs the command that the arguments name."""
    with guarded():
        app()


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fetcher {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="The version.")
    ] = False,
) -> None:
    pass


@app.command()
def fetch(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TARGET…",
            help="github:OWNER/REPO, ncbi:nuccore/ACC[,ACC…], 'ncbi:nuccore?QUERY'; "
            "short: OWNER/REPO and ACC.",
        ),
    ] = None,
    from_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE|-", help="More targets, one a line; - is standard input."),
    ] = None,
    format_: RecordFormatOption = None,
    changed: Annotated[
        bool, typer.Option("--changed", help="Print only what this poll changed.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write data there.")
    ] = None,
    no_store: Annotated[bool, typer.Option("--no-store", help="Print, and store nothing.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Ignore cursors and reconcile in full.")
    ] = False,
    wait: Annotated[
        str,
        typer.Option(metavar="DURATION", help="How long to wait for a limit or another fetcher."),
    ] = "60s",
    config: ConfigOption = None,
    store: StoreOption = None,
    quiet: QuietOption = False,
    log_format: LogFormatOption = "console",
    log_level: LogLevelOption = "error",
) -> None:
    """Poll targets now, store what they have, print it."""
    with guarded():
        from fetcher.cli.fetch import FetchOptions
        from fetcher.cli.fetch import fetch as fetch_now

        options = FetchOptions(
            targets=targets or [],
            from_file=from_file,
            format=choose_format(format_, to_file=output is not None),
            changed=changed,
            output=output,
            no_store=no_store,
            force=force,
            wait=wait,
        )
        common = Common(config, store, quiet, log_format, log_level)
        raise typer.Exit(run(fetch_now(options, common)))


@app.command()
def download(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="github:OWNER/REPO, OWNER/REPO.")],
    tag: Annotated[
        str | None,
        typer.Option("--tag", "-t", metavar="TAG", help="The release; default: the latest."),
    ] = None,
    asset: Annotated[
        list[str] | None,
        typer.Option(
            "--asset",
            "--pattern",
            "-p",
            metavar="GLOB",
            help="Only assets whose name matches; may be repeated. Default: all.",
        ),
    ] = None,
    to: Annotated[
        Path,
        typer.Option("--to", "--dir", "-D", metavar="DIR", help="Where to."),
    ] = Path(),
    clobber: Annotated[
        bool, typer.Option("--clobber", help="Replace files that are there already.")
    ] = False,
    skip_existing: Annotated[
        bool, typer.Option("--skip-existing", help="Leave files that are there as they are.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Ask GitHub first, ignoring cursors.")
    ] = False,
    wait: Annotated[
        str,
        typer.Option(metavar="DURATION", help="How long to wait for a limit or another fetcher."),
    ] = "60s",
    at_once: Annotated[
        int, typer.Option(metavar="N", min=1, max=16, help="Files side by side.")
    ] = 4,
    format_: FormatOption = None,
    config: ConfigOption = None,
    store: StoreOption = None,
    quiet: QuietOption = False,
    log_format: LogFormatOption = "console",
    log_level: LogLevelOption = "error",
) -> None:
    """Download the assets of a release, verified."""
    with guarded():
        from fetcher.cli.download import DownloadOptions
        from fetcher.cli.download import download as download_now

        options = DownloadOptions(
            target=target,
            tag=tag,
            globs=asset or (),
            folder=to,
            clobber=clobber,
            skip_existing=skip_existing,
            force=force,
            wait=wait,
            at_once=at_once,
            format=choose_format(format_),
        )
        common = Common(config, store, quiet, log_format, log_level)
        raise typer.Exit(run(download_now(options, common)))


@app.command("run")
def run_(
    config: ConfigOption = None,
    store: StoreOption = None,
    quiet: QuietOption = False,
    log_format: LogFormatOption = "console",
    log_level: LogLevelOption = "info",
) -> None:
    """Run the daemon: keep the watch list current until it is told to stop."""
    with guarded():
        from fetcher.cli.run import run_daemon

        level = "error" if quiet and log_level == "info" else log_level
        common = Common(config, store, quiet, log_format, level)
        raise typer.Exit(asyncio.run(run_daemon(common)))


app.add_typer(commands)


@app.command()
def check(
    format_: FormatOption = None,
    config: ConfigOption = None,
    store: StoreOption = None,
    quiet: QuietOption = False,
    log_format: LogFormatOption = "console",
    log_level: LogLevelOption = "error",
) -> None:
    """Check settings, store and upstreams, and say what was found."""
    with guarded():
        from fetcher.cli.check import check as check_all

        how = choose_format(format_)
        common = Common(config, store, quiet, log_format, log_level)
        raise typer.Exit(run(check_all(common, how, sys.stdout)))


@app.command()
def plan(
    targets: Annotated[
        list[str] | None,
        typer.Argument(metavar="TARGET…", help="As for fetch. Default: what is watched."),
    ] = None,
    from_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE|-", help="More targets, one a line; - is standard input."),
    ] = None,
    every: Annotated[
        str | None,
        typer.Option(metavar="DURATION|auto", help="How often all of them are polled."),
    ] = None,
    format_: FormatOption = None,
    config: ConfigOption = None,
    store: StoreOption = None,
    quiet: QuietOption = False,
    log_format: LogFormatOption = "console",
    log_level: LogLevelOption = "error",
) -> None:
    """Reckon what a watch list costs, and how often the accounts can poll it; asks nobody."""
    with guarded():
        from fetcher.cli.plan import plan as show_plan

        how = choose_format(format_)
        common = Common(config, store, quiet, log_format, log_level)
        raise typer.Exit(run(show_plan(targets or [], from_file, every, common, how, sys.stdout)))


@app.command()
def demo(
    format_: FormatOption = "table",
    listen: Annotated[
        str,
        typer.Option("--listen", metavar="HOST:PORT", help="Where it serves; port 0: a free one."),
    ] = "127.0.0.1:0",
    once: Annotated[bool, typer.Option("--once", help="End after the first fetch.")] = False,
    quiet: QuietOption = False,
    log_format: LogFormatOption = "console",
    log_level: LogLevelOption = "error",
) -> None:
    """Show it all at work, on a bundled local GitHub and NCBI that keep publishing."""
    with guarded():
        from fetcher.cli.demo import demo as run_demo

        common = Common(None, None, quiet, log_format, log_level)
        raise typer.Exit(run(run_demo(choose_format(format_), common, listen=listen, once=once)))
