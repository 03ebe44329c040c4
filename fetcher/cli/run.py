"""``fetcher run``: the daemon, with its signals."""

import asyncio
import contextlib
import gc
import os
import resource
import signal
import sys
from typing import Final

from fetcher.cli.common import Common
from fetcher.cli.memory import give_back
from fetcher.cli.settings import exposed, settings_of, shows_password
from fetcher.clock import SystemClock
from fetcher.config import Settings
from fetcher.daemon import Daemon
from fetcher.log import set_up_log

__all__ = ["open_many_files", "run_daemon"]

_FILES: Final = 1 << 16
_SWITCH: Final = 0.0005


async def run_daemon(common: Common) -> int:
    """Runs the command to its exit code."""

    def load() -> Settings:
        settings = settings_of(common)
        for path in settings.exposed:
            log.warning("other users may read a secret", advice=exposed(path))
        return settings

    log = set_up_log(common.log_format, common.log_level)
    give_back()
    # Threads that read and merge records hold the interpreter for so long at a time. At Python's
    # 5 ms the event loop, and with it the API, waits behind them again and again:
    # https://docs.python.org/3/library/sys.html#sys.setswitchinterval and docs/benchmarks.md
    sys.setswitchinterval(_SWITCH)
    open_many_files()
    settings = load()
    log = set_up_log(common.log_format, common.log_level, settings.secrets)
    for sentence in shows_password(common):
        log.warning("other users may see a secret", advice=sentence)
    # What a start leaves behind lives as long as the process, and is not gone through again.
    # https://docs.python.org/3/library/gc.html#gc.freeze
    gc.freeze()
    daemon = Daemon(settings, load, SystemClock(), log, environ=os.environ)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, daemon.stop, int(number))
    loop.add_signal_handler(signal.SIGHUP, daemon.reload_soon)
    return await daemon.run()


def open_many_files() -> None:
    """Raises the soft limit of open files, 1,024 on many systems, as far as the hard one allows.

    A reader of the event stream is one. The low default is for programs that use ``select``, which
    this one does not: https://0pointer.net/blog/file-descriptor-limits.html
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        # Who is not let do that (by a filter of system calls, say) goes on with what there is.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
