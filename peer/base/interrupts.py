"""Ctrl-C and its like, so that they never fall between the start of a process and our knowing of it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Self

_Handler = Callable[[int, FrameType | None], object] | int | None
"""What `signal.signal` takes and `signal.getsignal` gives."""


class Interrupts:
    """Makes the first Ctrl-C, SIGTERM or SIGHUP a KeyboardInterrupt, and passes over those after it: what has begun
    to stop stops in good order. A context; use it in the main thread."""

    def __init__(self) -> None:
        self._held = 0
        self._came = False
        self._raised = False
        self._before: dict[signal.Signals, _Handler] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            before = signal.getsignal(number)
            if number is not signal.SIGHUP or before is not signal.SIG_IGN:  # which is what nohup asks for
                self._before[number] = before
                signal.signal(number, self._arrived)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    @property
    def came(self) -> bool:
        """Whether one came: what it raised may have been lost, in a finalizer or an import that catches all."""
        return self._came

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        self._came = True
        self.check()

    def check(self) -> None:
        """Raise what came while it was held.

        Raises:
            KeyboardInterrupt: once.
        """
        if self._came and not self._held and not self._raised:
            self._raised = True
            raise KeyboardInterrupt

    @contextmanager
    def held(self) -> Iterator[None]:
        """What comes meanwhile is raised at the end."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
            self.check()


def end_as_told() -> None:
    """Have this process end with its own exit code, though it was interrupted; call it last.

    A KeyboardInterrupt that comes while Python executes a text, as it does to define a dataclass, is noted as one that
    nobody handled. Handled or not, ``python -m`` then ends by SIGINT (``Python/pythonrun.c``, ``run_eval_code_obj``).
    Executing another text takes the note away.
    """
    exec("")
