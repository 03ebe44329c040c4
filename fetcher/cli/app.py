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
    StoreOption,
    choose_format,
    guarded,
    run,
)
from fetcher.cli.render import Format

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
    format_: FormatOption = None,
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
        str | None, typer.Option("--tag", "-t", metavar="TAG", help="Default: the latest release.")
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
        typer.Option("--to", "--dir", "-D", metavar="DIR", help="Default: the working directory."),
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


@app.command("list")
def list_(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[TARGET|releases|tags|sequences|taxa|genomes|summaries]", help="Default: all."
        ),
    ] = None,
    format_: FormatOption = None,
    config: ConfigOption = None,
    store: StoreOption = None,
    quiet: QuietOption = False,
    log_format: LogFormatOption = "console",
    log_level: LogLevelOption = "error",
) -> None:
    """List stored records, withdrawn ones included."""
    with guarded():
        from fetcher.cli.read import list_records
        from fetcher.cli.reading import reading

        how = choose_format(format_)
        common = Common(config, store, quiet, log_format, log_level)
        raise typer.Exit(
            run(reading(common, lambda opened: list_records(opened, what, how, sys.stdout)))
        )


@app.command()
def show(
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="_id, accession, OWNER/REPO@TAG or target.")
    ],
    format_: FormatOption = None,
    config: ConfigOption = None,
    store: StoreOption = None,
    quiet: QuietOption = False,
    log_format: LogFormatOption = "console",
    log_level: LogLevelOption = "error",
) -> None:
    """Show one stored record, or the state of a target."""
    with guarded():
        from fetcher.cli.read import show as show_record
        from fetcher.cli.reading import reading

        how = choose_format(format_)
        common = Common(config, store, quiet, log_format, log_level)
        raise typer.Exit(
            run(reading(common, lambda opened: show_record(opened, key, how, sys.stdout)))
        )


@app.command()
def diff(
    first: Annotated[
        str, typer.Argument(metavar="ACC.1", help="A stored sequence; alone: its newest two.")
    ],
    second: Annotated[str | None, typer.Argument(metavar="ACC.2", help="Another one.")] = None,
    format_: FormatOption = None,
    config: ConfigOption = None,
    store: StoreOption = None,
    quiet: QuietOption = False,
    log_format: LogFormatOption = "console",
    log_level: LogLevelOption = "error",
) -> None:
    """Show what differs between two stored sequence records: fields, features, sequence."""
    with guarded():
        from fetcher.cli.diff import diff as show_difference
        from fetcher.cli.reading import reading

        how = choose_format(format_)
        common = Common(config, store, quiet, log_format, log_level)
        raise typer.Exit(
            run(
                reading(
                    common, lambda opened: show_difference(opened, first, second, how, sys.stdout)
                )
            )
        )


@app.command()
def changes(
    after: Annotated[
        str | None,
        typer.Option(
            metavar="CURSOR|now", help="What changed behind a cursor; default: everything."
        ),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on with what changes from then on.")
    ] = False,
    format_: FormatOption = None,
    config: ConfigOption = None,
    store: StoreOption = None,
    quiet: QuietOption = False,
    log_format: LogFormatOption = "console",
    log_level: LogLevelOption = "error",
) -> None:
    """List the records that were added, changed or withdrawn, each at its latest state."""
    with guarded():
        from fetcher.cli.changes import changes as list_changes
        from fetcher.cli.reading import reading
        from fetcher.clock import SystemClock

        how = choose_format(format_)
        common = Common(config, store, quiet, log_format, log_level)
        clock = SystemClock()
        raise typer.Exit(
            run(
                reading(
                    common,
                    lambda opened: list_changes(
                        opened, after, how, sys.stdout, clock, follow=follow
                    ),
                )
            )
        )


@app.command()
def status(
    format_: FormatOption = None,
    config: ConfigOption = None,
    store: StoreOption = None,
    quiet: QuietOption = False,
    log_format: LogFormatOption = "console",
    log_level: LogLevelOption = "error",
) -> None:
    """Show accounts, targets and counts, as the store knows them."""
    with guarded():
        from fetcher.cli.reading import reading
        from fetcher.cli.status import status as show_status

        how = choose_format(format_)
        common = Common(config, store, quiet, log_format, log_level)
        raise typer.Exit(run(reading(common, lambda opened: show_status(opened, how, sys.stdout))))


watch = typer.Typer(
    no_args_is_help=True, help="Watch targets by hand, beside those of the settings file."
)
app.add_typer(watch, name="watch")

TargetsArgument = Annotated[list[str], typer.Argument(metavar="TARGET…", help="As for fetch.")]


@watch.command("add")
def watch_add(
    targets: TargetsArgument,
    every: Annotated[
        str, typer.Option(metavar="DURATION|auto", help="How often it is polled.")
    ] = "auto",
    config: ConfigOption = None,
    store: StoreOption = None,
    quiet: QuietOption = False,
) -> None:
    """Keep targets current from now on."""
    with guarded():
        from fetcher.cli.watch import wish

        common = Common(config, store, quiet, "console", "error")
        raise typer.Exit(run(wish(targets, every, common)))


@watch.command("remove")
def watch_remove(
    targets: TargetsArgument,
    config: ConfigOption = None,
    store: StoreOption = None,
    quiet: QuietOption = False,
) -> None:
    """Watch targets no longer; their records stay."""
    with guarded():
        from fetcher.cli.watch import wish

        common = Common(config, store, quiet, "console", "error")
        raise typer.Exit(run(wish(targets, None, common)))


@watch.command("list")
def watch_list(
    format_: FormatOption = None,
    config: ConfigOption = None,
    store: StoreOption = None,
    quiet: QuietOption = False,
) -> None:
    """List what is watched, by hand or by the settings file."""
    with guarded():
        from fetcher.cli.reading import reading
        from fetcher.cli.watch import list_watches

        how = choose_format(format_)
        common = Common(config, store, quiet, "console", "error")
        raise typer.Exit(run(reading(common, lambda opened: list_watches(opened, how, sys.stdout))))


@app.command()
def forget(
    targets: TargetsArgument,
    purge: Annotated[
        bool,
        typer.Option(
            "--purge", help="Its records go, too, but for those to which another target leads."
        ),
    ] = False,
    config: ConfigOption = None,
    store: StoreOption = None,
    quiet: QuietOption = False,
) -> None:
    """Watch targets no longer, and with --purge drop their records."""
    with guarded():
        from fetcher.cli.watch import forget as forget_targets

        common = Common(config, store, quiet, "console", "error")
        raise typer.Exit(run(forget_targets(targets, common, purge=purge)))


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
def export(
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Write it there; compressed if it ends in .gz."
        ),
    ] = None,
    config: ConfigOption = None,
    store: StoreOption = None,
    quiet: QuietOption = False,
    log_format: LogFormatOption = "console",
    log_level: LogLevelOption = "error",
) -> None:
    """Write all that the store has as ndjson: records, targets, watches, budgets."""
    with guarded():
        from fetcher.cli.archive import export as export_all

        common = Common(config, store, quiet, log_format, log_level)
        raise typer.Exit(run(export_all(output, common)))


@app.command("import")
def import_(
    file: Annotated[
        Path, typer.Argument(metavar="FILE|-", help="What `fetcher export` wrote, .gz or not.")
    ],
    config: ConfigOption = None,
    store: StoreOption = None,
    quiet: QuietOption = False,
    log_format: LogFormatOption = "console",
    log_level: LogLevelOption = "error",
) -> None:
    """Fill an empty store with what an export has, and verify the counts."""
    with guarded():
        from fetcher.cli.archive import import_ as import_all

        common = Common(config, store, quiet, log_format, log_level)
        raise typer.Exit(run(import_all(file, common)))


@app.command()
def demo(
    format_: FormatOption = Format.TABLE,
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
        raise typer.Exit(run(run_demo(format_ or Format.TABLE, common, listen=listen, once=once)))
