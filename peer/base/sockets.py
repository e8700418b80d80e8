"""Sockets that several threads use."""

from __future__ import annotations

import contextlib
import socket


def shut_down(wire: socket.socket) -> None:
    """End the reads of other threads on ``wire``, which closing it would not. Harmless if it has ended."""
    with contextlib.suppress(OSError):
        wire.shutdown(socket.SHUT_RDWR)
