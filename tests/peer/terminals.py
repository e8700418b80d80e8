"""What a terminal would make of what is printed, and real terminals to print on."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from pathlib import Path

from protocol.visible import visible

ROOT = Path(__file__).parents[2]

HOSTILE = (
    "\x1b[2K\rverified\x1b]0;pwned\x07\nverified: all\u2028x\u202ey\u200bz\x7f\x9b1m\u3164\u2800\ud800[red]:smile:\t"
)
"""A line that clears itself, sets the title, begins another line, turns the text round and hides some."""


def unstyled(printed: str) -> str:
    """What was printed, without the styles that are our own: colour, bold, italic, reset."""
    return re.sub(r"\x1b\[[\d;]*m", "", printed)


def obeyed(printed: str) -> set[str]:
    """The characters that a terminal would obey or hide."""
    return {each for each in unstyled(printed) if each != "\n" and visible(each) != each}


def on_a_terminal(*command: str, environ: dict[str, str] | None = None) -> bytes:
    """What a process prints whose standard output and error are a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=ROOT, env={**os.environ, **(environ or {})}
    ) as process:
        os.close(theirs)
        printed = b"".join(iter(lambda: _read(ours), b""))
        process.wait()
    os.close(ours)
    return printed.replace(b"\r\n", b"\n")


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:  # the other end is closed
        return b""
