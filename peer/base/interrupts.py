"""Ctrl-C and its like, handled so that no process is started and then forgotten."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Self

_Handler = Callable[[int, FrameType | None], object] | int | None
"""What `signal.signal` takes and `signal.getsignal` gives."""


class Interrupts:
    """Makes the first Ctrl-C, SIGTERM or SIGHUP a KeyboardInterrupt, and ignores later ones, so that a stop in progress
    goes on in order. A context, for the main thread."""

    def __init__(self) -> None:
        self._held = 0
        self._came = False
        self._raised = False
        self._before: dict[signal.Signals, _Handler] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            before = signal.getsignal(number)
            if number is not signal.SIGHUP or before is not signal.SIG_IGN:  # nohup has it ignored
                self._before[number] = before
                signal.signal(number, self._arrived)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    @property
    def came(self) -> bool:
        """Whether an interrupt came. Its KeyboardInterrupt may have been lost, in a finalizer or a broad ``except``."""
        return self._came

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        self._came = True
        self.check()

    def check(self) -> None:
        """Raise an interrupt that came while it was held.

        Raises:
            KeyboardInterrupt: once.
        """
        if self._came and not self._held and not self._raised:
            self._raised = True
            raise KeyboardInterrupt

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold interrupts back until the end of this context."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
            self.check()


def end_as_told() -> None:
    """Let this process end with its own exit code, even after an interrupt. Call it last.

    If a KeyboardInterrupt comes while Python executes a text, as it does to define a dataclass, Python notes it as
    unhandled. ``python -m`` then ends by SIGINT, even if it was handled later (``Python/pythonrun.c``,
    ``run_eval_code_obj``). Executing another text removes the note.
    """
    exec("")
