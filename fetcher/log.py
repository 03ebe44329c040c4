"""structlog, set up once by whoever starts the program: to standard error, never to data."""

import logging
import sys
from collections.abc import Callable, Iterable

import structlog

from fetcher.policy.secrecy import hider

__all__ = ["set_up_log"]


def set_up_log(
    how: str, level: str, secrets: Iterable[str] = ()
) -> structlog.typing.FilteringBoundLogger:
    """A logger that writes lines for people (``console``) or for machines (``json``).

    `level` is one of debug, info, warning, error. The `secrets` are left out of every line: an
    exception that nobody thought of may have a library's words in its traceback.
    """
    render: structlog.typing.Processor
    if how == "json":
        render = structlog.processors.JSONRenderer()
    else:
        render = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _without(hider(secrets)),
            _harmless,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger("fetcher")
    return logger


def _without(hide: Callable[[str], str]) -> structlog.typing.Processor:
    def processor(
        logger: structlog.typing.WrappedLogger, name: str, event: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        return {key: hide(each) if isinstance(each, str) else each for key, each in event.items()}

    return processor


def _harmless(
    logger: structlog.typing.WrappedLogger, method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Values may quote anybody, and nothing in them moves a terminal; lines stay lines."""
    for name, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            event[name] = "".join(c if c.isprintable() or c in "\n\t" else " " for c in value)
    return event
