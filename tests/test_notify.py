"""systemd's notify protocol, spoken to a real socket."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from fetcher.notify import Notifier


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as opened:
        opened.bind(path)
        opened.settimeout(5)
        yield path, opened


def test_what_is_told(manager: tuple[str, socket.socket]) -> None:
    """One message each; a status is one line, so that it says nothing else."""
    path, heard = manager
    notifier = Notifier.of({"NOTIFY_SOCKET": path}, 1)
    notifier.ready("polling")
    notifier.reloading(12.5)
    notifier.alive()
    notifier.status("a\nSTOPPING=1")
    notifier.stopping()
    notifier.close()
    told = [heard.recv(4096) for _ in range(5)]
    assert told == [
        b"READY=1\nSTATUS=polling",
        b"RELOADING=1\nMONOTONIC_USEC=12500000",
        b"WATCHDOG=1",
        b"STATUS=a STOPPING=1",
        b"STOPPING=1",
    ]
    notifier.ready()


def test_an_abstract_socket() -> None:
    """Its address begins with an @."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind("\0fetcher-test-notify")
        heard.settimeout(5)
        notifier = Notifier.of({"NOTIFY_SOCKET": "@fetcher-test-notify"}, 1)
        notifier.alive()
        assert heard.recv(4096) == b"WATCHDOG=1"
        notifier.close()


@pytest.mark.parametrize(
    ("environ", "interval"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_how_often_a_sign_of_life_is_wanted(
    manager: tuple[str, socket.socket], environ: dict[str, str], interval: float | None
) -> None:
    """Twice in the time that is given, and only by the process that is meant."""
    notifier = Notifier.of({"NOTIFY_SOCKET": manager[0], **environ}, 7)
    assert notifier.watchdog_interval == interval
    notifier.close()


def test_without_a_manager_nothing_happens(tmp_path: Path) -> None:
    """Nor where it has gone."""
    for environ in ({}, {"NOTIFY_SOCKET": str(tmp_path / "gone")}, {"NOTIFY_SOCKET": "odd"}):
        notifier = Notifier.of(environ, 1)
        notifier.ready("polling")
        notifier.close()
        notifier.close()
