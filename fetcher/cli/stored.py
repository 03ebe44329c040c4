"""The commands on what is stored and watched."""

import sys
from pathlib import Path
from typing import Annotated

import typer

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

__all__ = ["commands"]

commands = typer.Typer()


@commands.command("list")
def list_(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[TARGET|releases|tags|sequences|taxa|genomes|summaries]", help="Default: all."
        ),
    ] = None,
    format_: RecordFormatOption = None,
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


@commands.command()
def show(
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="_id, accession, OWNER/REPO@TAG or target.")
    ],
    format_: RecordFormatOption = None,
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


@commands.command()
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


@commands.command()
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


@commands.command()
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
commands.add_typer(watch, name="watch")

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


@commands.command()
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


@commands.command()
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


@commands.command("import")
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
