"""systemd's notify protocol, spoken by the standard library alone.

https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

import contextlib
import socket
from collections.abc import Mapping

__all__ = ["Notifier"]


class Notifier:
    """Tells the service manager how the daemon stands.

    Where there is none, or it has gone, nothing happens: that is no reason to stop polling.
    `watchdog_interval` is seconds between two signs of life, None where none are asked for.
    """

    def __init__(self, address: str | None, watchdog_interval: float | None = None) -> None:
        self.watchdog_interval = watchdog_interval
        self._address = address
        self._socket: socket.socket | None = None
        if address is not None and hasattr(socket, "AF_UNIX"):
            kind = socket.SOCK_DGRAM | getattr(socket, "SOCK_CLOEXEC", 0)
            self._socket = socket.socket(socket.AF_UNIX, kind)
            # A full buffer loses a message; waiting for it would stop the event loop.
            self._socket.setblocking(False)

    @classmethod
    def of(cls, environ: Mapping[str, str], pid: int) -> "Notifier":
        """What the environment asks of this process."""
        address = environ.get("NOTIFY_SOCKET", "")
        if not address.startswith(("/", "@")):
            return cls(None)
        # A leading @ stands for the zero byte of an abstract socket.
        path = f"\0{address[1:]}" if address.startswith("@") else address
        usec = environ.get("WATCHDOG_USEC", "")
        mine = environ.get("WATCHDOG_PID", str(pid)) == str(pid)
        asked = usec.isascii() and usec.isdigit() and int(usec) > 0 and mine
        return cls(path, int(usec) / 2_000_000 if asked else None)

    def ready(self, status: str = "") -> None:
        """It polls; also the end of a reload."""
        self._send("READY=1", _status(status))

    def reloading(self, monotonic: float) -> None:
        """It reads its settings anew, since that moment (seconds of CLOCK_MONOTONIC)."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={int(monotonic * 1_000_000)}")

    def stopping(self, status: str = "") -> None:
        """It drains."""
        self._send("STOPPING=1", _status(status))

    def alive(self) -> None:
        """The watchdog's sign of life."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """A line for ``systemctl status``."""
        self._send(_status(text))

    def close(self) -> None:
        """Nothing more is said."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, *assignments: str) -> None:
        if self._socket is None or self._address is None:
            return
        message = "\n".join(filter(None, assignments)).encode("utf-8", "replace")
        with contextlib.suppress(OSError):
            self._socket.sendto(message, self._address)


def _status(text: str) -> str:
    """One assignment, whatever lines the text has."""
    return f"STATUS={' '.join(text.split())}" if text else ""
