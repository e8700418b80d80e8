"""A line between two nodes of this machine."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Final

PIECE: Final = 1 << 14
SEGMENT: Final = 1400


class Line:
    """The only way to a port of loopback, which can be cut, and has a rate."""

    def __init__(self, to: int, rate: float) -> None:
        """``rate`` is in bytes a second, in each direction."""
        self._to, self._rate = to, rate
        self._is_cut = False
        self._ends: set[socket.socket] = set()
        self._listens = socket.socket()  # with as little room as a line has: what is in it has left its sender
        self._listens.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PIECE)
        self._listens.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)
        self._listens.bind(("127.0.0.1", 0))
        self._listens.listen()
        self.address = f"127.0.0.1:{self._listens.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End what goes over it, and let nobody in."""
        self._is_cut = True
        for end in list(self._ends):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Let others in again."""
        self._is_cut = False

    def close(self) -> None:
        """Cut it for good."""
        self.cut()
        self._listens.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listens.accept()
                if self._is_cut:
                    near.close()
                    continue
                far = socket.socket()
                far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PIECE)
                far.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT)
                far.connect(("127.0.0.1", self._to))
                self._ends |= {near, far}
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(source, target), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(PIECE):
                time.sleep(len(data) / self._rate)  # that is the line
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
