"""Where a Grid's answers come from: the peer, through the pipe, or a script first
(`strategy.replay.scripted_answers`)."""

from __future__ import annotations

import itertools
from typing import Protocol, TypeVar

from protocol.app.calls import (
    Compared,
    Diverged,
    Ended,
    Finished,
    GetNodes,
    GridCall,
    Handed,
    Nodes,
    Outgoing,
    Progress,
    Pull,
    Push,
    Pushed,
    PushRefused,
    Renewed,
    Replayed,
    Replies,
    Rules,
    ServerAnswer,
    Wait,
)
from protocol.blocks.cid import CID
from protocol.blocks.content import ContentKey

T = TypeVar("T")


class ServerPipe(Protocol):
    """The app process's end of the pipe to its peer."""

    def ask(self, call: GridCall) -> ServerAnswer:
        """Send ``call`` and wait for the answer with the same number. Safe to call from several threads.

        Raises:
            RunStopped: if the peer ends the run, and no answer will come.
        """

    def send(self, value: Compared | Diverged | Replayed | Progress) -> None:
        """Tell the peer how a replay goes, or its owner how the run goes."""


def epoch_of(key: ContentKey | None) -> int | None:
    """The epoch of contents that are encrypted with ``key``."""
    return None if key is None else key.epoch


class RunStopped(BaseException):
    """The run stops here, unfinished, because the peer or its engine is gone. It can be resumed.

    Not an `Exception`, so that an app that goes on after any error does not go on after this one.
    """


class Answers(Protocol):
    """Where the Grid's answers come from. Each method may be called from several threads."""

    def nodes(self) -> tuple[int, ...]:
        """The nodes there are now, in rising order."""

    def key(self) -> ContentKey | None:
        """What to encrypt the contents of the next push with; None: they stay plain."""

    def push(self, messages: tuple[Outgoing, ...], key: ContentKey | None) -> Pushed | Renewed:
        """Send one or more messages, whose contents are encrypted with ``key``. Returns their ids and the dispatch's
        time.

        A `Renewed` means that the epoch of ``key`` is over and nothing was sent: write the contents again with its key.

        Raises:
            ValueError: if they break a rule, such as a message to a node that is no client member.
        """

    def pull(self, messages: tuple[bytes, ...], rules: Rules = ()) -> tuple[Handed, ...]:
        """The replies that are here now, in the order of the messages. ``rules`` are those of the strategy in use."""

    def wait(self, messages: tuple[bytes, ...], timeout: float | None, rules: Rules = ()) -> tuple[Handed, ...]:
        """All the replies, or those that are here after ``timeout`` seconds, in the order of the messages."""

    def any_model(self) -> bool:
        """Whether the app may go on with a model with NaN or infinities that its first model did not have."""


class LiveAnswers:
    """The peer's answers, now. ``key`` encrypts contents until the peer says otherwise. ``any_model`` says whether the
    server's owner lets the app send out models with new NaN or infinities."""

    def __init__(self, pipe: ServerPipe, key: ContentKey | None, *, any_model: bool = False) -> None:
        self._pipe = pipe
        self._key = key
        self._any_model = any_model
        self._calls = itertools.count(1)  # next() on it is atomic

    def nodes(self) -> tuple[int, ...]:
        return self._ask(GetNodes(next(self._calls)), Nodes).nodes

    def key(self) -> ContentKey | None:
        return self._key

    def use(self, key: ContentKey | None) -> None:
        """Go on with the key of another epoch."""
        self._key = key

    def push(self, messages: tuple[Outgoing, ...], key: ContentKey | None) -> Pushed | Renewed:
        return self._ask_in_epoch(Push(next(self._calls), messages, epoch_of(key)), Pushed)

    def finish(self, model: CID | None, error: str, key: ContentKey | None) -> Finished | Renewed:
        """Tell the peer that the app ended. Its final model's content is encrypted with ``key``; `Renewed` as in
        `push`."""
        finished = Finished(next(self._calls), model, error, epoch_of(key))
        answer = self._ask_in_epoch(finished, Ended)
        return answer if isinstance(answer, Renewed) else finished

    def pull(self, messages: tuple[bytes, ...], rules: Rules = ()) -> tuple[Handed, ...]:
        return self._ask(Pull(next(self._calls), messages, rules), Replies).replies

    def wait(self, messages: tuple[bytes, ...], timeout: float | None, rules: Rules = ()) -> tuple[Handed, ...]:
        return self._ask(Wait(next(self._calls), messages, timeout, rules), Replies).replies

    def any_model(self) -> bool:
        return self._any_model

    def _ask_in_epoch(self, call: Push | Finished, kind: type[T]) -> T | Renewed:
        """As `_ask`, but another epoch may have begun."""
        answer = self._pipe.ask(call)
        if isinstance(answer, Renewed):
            self._key = answer.key
            return answer
        return _expected(call, answer, kind)

    def _ask(self, call: GridCall, kind: type[T]) -> T:
        return _expected(call, self._pipe.ask(call), kind)


def _expected(call: GridCall, answer: ServerAnswer, kind: type[T]) -> T:
    if isinstance(answer, PushRefused):
        raise ValueError(answer.reason)
    if not isinstance(answer, kind):
        raise RunStopped(f"the peer answered a {type(call).__name__} with a {type(answer).__name__}")
    return answer
