"""A Grid's answers from a script: what the records of a chain say, and then, if the run goes on, the peer's own.

While the script lasts, each call of the app is compared with the record, and answered as recorded. The first difference
is the verdict: every later call raises it again, whatever the app does with the exception.
"""

from __future__ import annotations

import hashlib
import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from protocol.app.calls import (
    CloseEntry,
    CollectEntry,
    Compared,
    DispatchEntry,
    Diverged,
    EntryHead,
    Handed,
    NextEntry,
    Outgoing,
    Pushed,
    QuietEntry,
    Renewed,
    Replayed,
    Rules,
    Scripted,
    ScriptEnd,
)
from protocol.blocks.cid import CID
from protocol.blocks.content import ContentKey
from protocol.replay.differences import Cause, Difference
from strategy.grid_answers import LiveAnswers, ServerPipe

LOOK_AHEAD: Final = 512
"""How many entries are searched for the exchanges of an app's own threads."""


class Divergence(BaseException):
    """The app did not do what is recorded. Not an `Exception`, so that an app that goes on after any error does not."""

    def __init__(
        self,
        height: int,
        what: str,
        tell: Callable[[Diverged], None],
        ours: str,
        index: int | None = None,
        recorded: Outgoing | None = None,
    ) -> None:
        super().__init__(what)
        self.height = height
        self.what = what
        self.index = index
        """Which message of the push differs, from 0."""
        self.recorded = recorded
        """That message as recorded."""
        self.difference: Difference | None = None
        """How the contents differ, if they do."""
        self.flowers_own = False
        """Whether Flower's own code alone decided what is sent to whom."""
        self.pushed: Sequence[Outgoing] = ()
        """The push that differs."""
        self.raised = ""
        """What the app raised, if that is the difference."""
        self.raised_there = False
        """Whether the app raised here when it was recorded, and did not now."""
        self.content: CID | None = None
        """The content that differs, as the app made it."""
        self._ours = digest(ours)
        self._tell = tell

    def tell(self) -> None:
        """Tell the peer, once. An app may wait for ever for a thread of its own that this exception ended."""
        tell, self._tell = self._tell, lambda _: None
        tell(self.verdict())

    def verdict(self) -> Diverged:
        """What to tell the peer."""
        what = self.what if self.difference is None else f"{self.what}: {self.difference.what}"
        return Diverged(
            self.height,
            what,
            self.index,
            self.difference,
            self.flowers_own,
            self._ours,
            raised=self.raised,
            raised_there=self.raised_there,
            content=self.content,
        )


def digest(ours: str) -> bytes:
    """By which what an app did is told from what it did another time."""
    return hashlib.sha256(ours.encode()).digest()


class ScriptOver(BaseException):
    """The script has ended, and the run does not go on here."""


Entry = DispatchEntry | CollectEntry | CloseEntry


class _Pending:
    """An entry not yet taken, and those of its looks and empty pulls that the app has not seen yet."""

    def __init__(self, entry: Entry, looks: list[list[tuple[int, ...]]], empties: int, may_differ: Cause) -> None:
        self.entry = entry
        self.may_differ = may_differ
        self.looks = deque(nodes for run in looks for nodes in run)
        self.empties = empties


class ScriptedAnswers:
    """`Answers` from a script, then from ``live``."""

    def __init__(self, pipe: ServerPipe, live: LiveAnswers, may_differ: Cause = Cause.NOTHING) -> None:
        """``may_differ`` is the most that this environment may change, until an entry says something else."""
        self._may_differ = may_differ
        self._had_gap = False
        self._pipe = pipe
        self._live = live
        self._calls = itertools.count(1 << 40)  # apart from the numbers of the live answers
        self._lock = threading.RLock()
        self._ahead: deque[_Pending] = deque()
        self._end: ScriptEnd | None = None
        self._threads: set[int] = set()
        self._divergence: Divergence | None = None
        self._anchored: dict[int, tuple[Difference, bytes]] = {}

    @property
    def divergence(self) -> Divergence | None:
        """The first difference, whatever the app did with the exception."""
        return self._divergence

    def differs(self, difference: Difference | None, model: CID | None, *, goes_on: bool = False) -> None:
        """Tell that the final ``model`` differs from the recorded one.

        Raises:
            Divergence: unless another machine may have caused that, and the replay ``goes_on``.
        """
        pending = self._ahead[0]
        if goes_on:
            self._pipe.send(Compared(pending.entry.head.height, 0, difference, digest(str(model))))
            return
        divergence = self._diverged(pending, "the final model differs", str(model))
        divergence.difference, divergence.content = difference, model
        raise divergence

    def next_dispatch(self) -> DispatchEntry | None:
        """The entry that the app's next push will be compared with; None if that cannot be told, or there is none."""
        with self._lock:
            if self._divergence is not None or len(self._threads - {threading.get_ident()}):
                return None
            if not self._ahead and not self._read_one():
                return None
            entry = self._ahead[0].entry
            return entry if isinstance(entry, DispatchEntry) else None

    @property
    def may_differ(self) -> Cause:
        """The most that this environment may change in what the app does next. What came of replies that are not kept
        counts as rounding."""
        with self._lock:
            found = self._ahead[0].may_differ if self._ahead else self._may_differ
            return Cause.ROUNDING if self._had_gap and found is Cause.NOTHING else found

    @property
    def had_gap(self) -> bool:
        """Whether the app was handed a reply that is not kept."""
        return self._had_gap

    def fills_gap(self) -> tuple[CID, ContentKey | None] | None:
        """The content that is recorded to be sent next, or as the final model, after replies that are not kept; None if
        there is none."""
        with self._lock:
            self._had_gap = True
            for index in range(LOOK_AHEAD):
                if index >= len(self._ahead) and not self._read_one():
                    return None
                match self._ahead[index].entry:
                    case DispatchEntry(head=head, messages=messages, gone=gone):
                        content = messages[0].message.content
                        return None if content in gone else (content, head.key)
                    case CloseEntry(head=head, model=CID() as model):
                        return model, head.key
                    case _:
                        pass
        return None

    def goes_on(self, height: int, difference: Difference, ours: bytes) -> None:
        """Note that the app goes on with what is recorded at ``height`` in place of what it did."""
        with self._lock:
            self._anchored.setdefault(height, (difference, ours))

    @property
    def is_over(self) -> bool:
        """Whether the Grid is live."""
        return self._end is not None and not self._ahead

    def nodes(self) -> tuple[int, ...]:
        with self._answering():
            pending = self._head()
            if pending is not None:
                return self._look(pending)
        return self._live.nodes()

    def key(self) -> ContentKey | None:
        with self._answering():
            pending = self._head()
            if pending is not None:
                return pending.entry.head.key
        return self._live.key()

    def push(self, messages: tuple[Outgoing, ...], key: ContentKey | None) -> Pushed | Renewed:
        with self._answering():
            pending = self._head()
            if pending is not None:
                return self._push(pending, messages, key)
        return self._live.push(messages, key)

    def any_model(self) -> bool:
        with self._answering():
            pending = self._head()
            if pending is not None:  # a recorded model was allowed; one that was not ended the run
                return not (isinstance(pending.entry, CloseEntry) and pending.entry.raised)
        return self._live.any_model()

    def pull(self, messages: tuple[bytes, ...], rules: Rules = ()) -> tuple[Handed, ...]:
        with self._answering():
            pending = self._head()
            if pending is not None:
                return self._pull(pending, set(messages))
        return self._live.pull(messages, rules)

    def wait(self, messages: tuple[bytes, ...], timeout: float | None, rules: Rules = ()) -> tuple[Handed, ...]:
        with self._answering():
            pending = self._head()
            if pending is not None:
                return self._wait(pending, set(messages))
        return self._live.wait(messages, timeout, rules)

    def finish(self, model: CID | None, raised: str) -> CID | None:
        """The app ended: compare that with the close record, if there is one. ``raised`` is empty if the app returned.

        Returns the recorded final model's content if it differs from ``model``. The caller finds out how.

        Raises:
            Divergence: if the chain goes on, or the app ended in another way.
        """
        with self._lock:
            pending = self._head()
            if pending is None:
                return None
            entry = pending.entry
            if raised and not (isinstance(entry, CloseEntry) and entry.raised):
                divergence = self._diverged(pending, f"the app raised {raised}, but {_recorded(entry)}")
                divergence.raised = raised
                raise divergence
            if not isinstance(entry, CloseEntry):
                raise self._diverged(pending, f"the app returned, but {_recorded(entry)}")
            self._check_seen(pending)
            if entry.raised and not raised:
                raise self._diverged(pending, "the app raised when it was recorded and returned now")
            if (entry.model is None) != (model is None):
                had = "no final model" if entry.model is None else "a final model"
                raise self._diverged(pending, f"{had} is recorded")
            return entry.model if entry.model != model else None

    # -- taking entries ---------------------------------------------------------------------------------------------

    def _look(self, pending: _Pending) -> tuple[int, ...]:
        if not pending.looks:
            other = self._find(lambda each: bool(each.looks))
            if other is None:
                raise self._diverged(pending, f"the app looks at the nodes, but {_recorded(pending.entry)}")
            pending = other
        return pending.looks.popleft()

    def _push(self, pending: _Pending, messages: Sequence[Outgoing], key: ContentKey | None) -> Pushed | Renewed:
        if not self._is_push_of(pending, messages):
            other = self._find(lambda each: self._is_push_of(each, messages))
            if other is None:
                if (later := self._in_another_epoch(messages, key)) is not None:
                    return Renewed(0, later)
                raise self._differing_push(pending, messages)
            pending = other
        entry = pending.entry
        assert isinstance(entry, DispatchEntry)
        self._check_seen(pending)
        self._take(pending)
        height = entry.head.height
        self._pipe.send(Compared(height, len(messages), *self._anchored.pop(height, (None, b""))))
        return Pushed(entry.call, tuple(scripted.id for scripted in entry.messages), entry.created)

    def _pull(self, pending: _Pending, asked: set[bytes]) -> tuple[Handed, ...]:
        if pending.empties:
            pending.empties -= 1
            return ()
        entry = pending.entry
        if not isinstance(entry, CollectEntry) or not _asked_for(entry) <= asked:
            other = self._find(lambda each: isinstance(each.entry, CollectEntry) and _asked_for(each.entry) <= asked)
            if other is None:
                raise self._diverged(pending, f"the app pulls replies, but {_recorded(entry)}")
            pending = other
        return self._collect(pending)

    def _wait(self, pending: _Pending, asked: set[bytes]) -> tuple[Handed, ...]:
        entry = pending.entry
        if not isinstance(entry, CollectEntry) or _asked_for(entry) != asked:
            other = self._find(lambda each: isinstance(each.entry, CollectEntry) and _asked_for(each.entry) == asked)
            if other is None and pending.empties:  # another thread of the app had taken the replies
                pending.empties -= 1
                return ()
            if other is None:
                what = f"the app waits for {len(asked)} replies, but {_recorded(entry)}"
                raise self._diverged(pending, what)
            pending = other
        return self._collect(pending)

    def _collect(self, pending: _Pending) -> tuple[Handed, ...]:
        assert isinstance(pending.entry, CollectEntry)
        self._check_seen(pending)
        self._take(pending)
        return pending.entry.replies

    def _is_push_of(self, pending: _Pending, messages: Sequence[Outgoing]) -> bool:
        entry = pending.entry
        return isinstance(entry, DispatchEntry) and [each.message for each in entry.messages] == list(messages)

    def _in_another_epoch(self, messages: Sequence[Outgoing], key: ContentKey | None) -> ContentKey | None:
        """The key of a recorded push by another thread, which may be the same push in another epoch."""
        to = [message.node for message in messages]
        other = self._find(
            lambda each: (
                isinstance(each.entry, DispatchEntry)
                and each.entry.head.key is not None
                and (key is None or each.entry.head.key.epoch > key.epoch)
                and [scripted.message.node for scripted in each.entry.messages] == to
            )
        )
        return None if other is None else other.entry.head.key

    def _check_seen(self, pending: _Pending) -> None:
        """Check that the app looked and pulled as often as recorded, unless it has threads of its own: those do it in
        no order."""
        if (pending.looks or pending.empties) and len(self._threads) == 1:
            what = "looked at the nodes" if pending.looks else "pulled in vain"
            raise self._diverged(pending, f"the app {what} more often when it was recorded")

    def _differing_push(self, pending: _Pending, messages: Sequence[Outgoing]) -> Divergence:
        entry = pending.entry
        if not isinstance(entry, DispatchEntry):
            return self._diverged(pending, f"the app sends {len(messages)} messages, but {_recorded(entry)}")
        for index, (scripted, message) in enumerate(zip(entry.messages, messages, strict=False)):
            if scripted.message != message:
                what = f"message {index} differs: {_difference(scripted, message)}"
                divergence = self._diverged(pending, what, repr(messages), index, scripted.message)
                divergence.pushed = messages
                divergence.content = None if scripted.message.content == message.content else message.content
                return divergence
        what = f"the app sends {len(messages)} messages, {len(entry.messages)} are recorded"
        divergence = self._diverged(pending, what, repr(messages))
        divergence.pushed = messages
        return divergence

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Answer one call at a time. Tell the peer of a difference at once, unless the Grid explains it first."""
        with self._lock:
            try:
                yield
            except Divergence as divergence:
                if not divergence.pushed:
                    divergence.tell()
                raise

    def _diverged(
        self,
        pending: _Pending,
        what: str,
        ours: str = "",
        index: int | None = None,
        recorded: Outgoing | None = None,
    ) -> Divergence:
        height = pending.entry.head.height
        told = f"at height {height}, {what}"
        self._divergence = Divergence(height, told, self._pipe.send, ours or what, index, recorded)
        self._divergence.raised_there = isinstance(pending.entry, CloseEntry) and pending.entry.raised
        return self._divergence

    # -- the script -------------------------------------------------------------------------------------------------

    def _head(self) -> _Pending | None:
        """The next entry; None if the Grid is live."""
        if self._divergence is not None:
            raise self._divergence
        self._threads.add(threading.get_ident())
        if not self._ahead:
            self._read_one()
        if self._ahead:
            return self._ahead[0]
        assert self._end is not None
        if not self._end.live:
            self._pipe.send(Replayed())  # at once, as with a divergence
            raise ScriptOver
        return None

    def _find(self, fits: Callable[[_Pending], bool]) -> _Pending | None:
        """The first later entry that fits: the order of an app's own threads is not recorded."""
        if len(self._threads) < 2:
            return None
        for at in range(LOOK_AHEAD):
            if at == len(self._ahead) and not self._read_one():
                return None
            if fits(self._ahead[at]):
                return self._ahead[at]
        return None

    def _take(self, pending: _Pending) -> None:
        """Take an entry. Looks and pulls in it that other threads of the app have not seen move to the next entry."""
        self._ahead.remove(pending)
        if (pending.looks or pending.empties) and (self._ahead or self._read_one()):
            self._ahead[0].looks.extendleft(reversed(pending.looks))
            self._ahead[0].empties += pending.empties

    def _read_one(self) -> bool:
        """Read one more entry of the app from the script. Returns whether there is one.

        What the app saw before records that it did not cause counts as seen before its own next record.
        """
        looks: list[list[tuple[int, ...]]] = []
        empties = 0
        while self._end is None:
            match self._pipe.ask(NextEntry(next(self._calls))):
                case QuietEntry(head=head, may_differ=may_differ):
                    looks += _looks_of(head)
                    empties += head.empties
                    self._may_differ = self._may_differ if may_differ is None else may_differ
                case DispatchEntry(head=head) | CollectEntry(head=head) | CloseEntry(head=head) as entry:
                    looks += _looks_of(head)
                    self._ahead.append(_Pending(entry, looks, empties + head.empties, self._may_differ))
                    return True
                case ScriptEnd() as end:
                    self._end = end
                    self._live.use(end.key)
                case other:
                    raise TypeError(f"the peer answered a NextEntry with a {type(other).__name__}")
        return False


def _looks_of(head: EntryHead) -> list[list[tuple[int, ...]]]:
    return [[look.nodes] * look.count for look in head.looks]


def _asked_for(entry: CollectEntry) -> set[bytes]:
    return {reply.message for reply in entry.replies}.union(entry.unanswered)


def _recorded(entry: Entry) -> str:
    match entry:
        case DispatchEntry():
            return f"a dispatch of {len(entry.messages)} messages is recorded"
        case CollectEntry():
            return f"a collect of {len(entry.replies)} replies is recorded"
        case CloseEntry():
            return "its end is recorded" if entry.raised else "its return is recorded"


def _difference(scripted: Scripted, message: Outgoing) -> str:
    recorded = scripted.message
    for name, was, now in (
        ("addressee", recorded.node, message.node),
        ("type", recorded.type, message.type),
        ("group", recorded.group, message.group),
        ("ttl", recorded.ttl, message.ttl),
    ):
        if was != now:
            return f"its {name} was {was!r} and is {now!r}"
    return f"its content was {recorded.content} and is {message.content}"
