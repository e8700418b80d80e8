"""Where a Grid's answers come from: the peer, through the pipe; or a script in front of it (`strategy.script`)."""

from __future__ import annotations

import itertools
from typing import Protocol, TypeVar

from protocol.app_calls import (
    Compared,
    Diverged,
    GridCall,
    Handed,
    Look,
    Nodes,
    Outgoing,
    Pull,
    Push,
    Pushed,
    Refused,
    Replayed,
    Replies,
    ServerAnswer,
    Wait,
)

T = TypeVar("T")


class ServerPipe(Protocol):
    """The app process's end of the pipe to its peer."""

    def ask(self, call: GridCall) -> ServerAnswer:
        """Send ``call`` and wait for the answer with the same number. Safe to call from several threads.

        Raises:
            RunStopped: where the peer ends the run, and no answer will come.
        """

    def send(self, value: Compared | Diverged | Replayed) -> None:
        """Tell the peer how a replay goes."""


class RunStopped(BaseException):
    """The run stops here without being finished: the peer or its engine is gone. It can be resumed.

    Not an `Exception`, so that an app that goes on after any error does not go on after this one.
    """


class Answers(Protocol):
    """Where the Grid's answers come from. Each method may be called from several threads."""

    def nodes(self) -> tuple[int, ...]:
        """The nodes there are now, in rising order."""

    def push(self, messages: tuple[Outgoing, ...]) -> Pushed:
        """Send messages, at least one; their ids and the time of the dispatch.

        Raises:
            ValueError: where they break a rule, such as a message to a node that is no client member.
        """

    def pull(self, messages: tuple[bytes, ...]) -> tuple[Handed, ...]:
        """The replies that are here now, in the order of the messages."""

    def wait(self, messages: tuple[bytes, ...], timeout: float | None) -> tuple[Handed, ...]:
        """All the replies, or those that are here after ``timeout`` seconds, in the order of the messages."""


class LiveAnswers:
    """The peer's answers, now."""

    def __init__(self, pipe: ServerPipe) -> None:
        self._pipe = pipe
        self._calls = itertools.count(1)  # next() on it is atomic

    def nodes(self) -> tuple[int, ...]:
        return self._ask(Look(next(self._calls)), Nodes).nodes

    def push(self, messages: tuple[Outgoing, ...]) -> Pushed:
        return self._ask(Push(next(self._calls), messages), Pushed)

    def pull(self, messages: tuple[bytes, ...]) -> tuple[Handed, ...]:
        return self._ask(Pull(next(self._calls), messages), Replies).replies

    def wait(self, messages: tuple[bytes, ...], timeout: float | None) -> tuple[Handed, ...]:
        return self._ask(Wait(next(self._calls), messages, timeout), Replies).replies

    def _ask(self, call: GridCall, kind: type[T]) -> T:
        answer = self._pipe.ask(call)
        if isinstance(answer, Refused):
            raise ValueError(answer.reason)
        if not isinstance(answer, kind):
            raise RunStopped(f"the peer answered a {type(call).__name__} with a {type(answer).__name__}")
        return answer
