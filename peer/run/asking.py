"""Asks members for announcements that pubsub may have lost, and answers members that ask.

`protocol.wire.asking` has the reasons and the messages, `protocol.wire.asking_schedule` decides whom to ask when. Here
are the threads, the clock and the engine.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

from peer.base import logs
from peer.engine.interface import AskingOff, EngineError, Streams, Subscription, Unanswered
from peer.reach.calling_back import called_back
from protocol.jobs.request import AskedAboutJob, AskedJob, ToldJob
from protocol.pacing.token_bucket import TokenBucket
from protocol.roles.effects import Report, What
from protocol.wire.asking import Answer, BadMessage, Board, Channel, Place, Question
from protocol.wire.asking_schedule import AT_ONCE, AskingSchedule, Target
from protocol.wire.calling_back import CallBack, CalledBack
from protocol.wire.unheard_nodes import HEARD_LATELY, UnheardNodes

_TICK: Final = 0.25
"""Seconds between checks whom to ask."""

_LOOK: Final = 5.0
"""Seconds between checks which nodes are connected."""

QUESTIONS: Final = 32
"""The most questions of one node that are answered in a burst. Several members may use the node."""

RATE: Final = 8.0
"""The most questions of one node that are answered in a second, over time."""

SIZE: Final = 64 << 10
"""A question counts once more for each so many bytes."""

_REMEMBERED: Final = 256
"""The number of nodes whose questions are counted."""


class Asking:
    """Asks and answers while a peer runs. Safe to use from several threads."""

    def __init__(
        self,
        streams: Streams,
        own: Channel,
        *,
        asked: Callable[[], Sequence[bytes]],
        receive: Callable[[bytes], bool],
        call_back: Callable[[str, CallBack], CalledBack],
        take_job: Callable[[bytes], bytes | None],
        tell_job: Callable[[bytes], bytes | None],
        judges_pubsub: Callable[[], bool],
        on_report: Callable[[Report], None],
    ) -> None:
        """``own`` is the channel on which we are asked, ``asked`` are the members to ask. ``receive`` takes an
        announcement and returns whether it is news. ``call_back`` calls addresses for a node. ``judges_pubsub`` says
        whether pubsub should bring us what those say that we talk with, and them what we say."""
        self._streams = streams
        self._own = own
        self._asked = asked
        self._receive = receive
        self._call_back = call_back
        self._take_job = take_job
        self._tell_job = tell_job
        self._judges_pubsub = judges_pubsub
        self._on_report = on_report
        self._board = Board(os.urandom(8))
        self._schedule = AskingSchedule()
        self._unheard = UnheardNodes()
        self._told_fixes: set[str] = set()
        self._allowances: OrderedDict[str, TokenBucket] = OrderedDict()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._pool = ThreadPoolExecutor(AT_ONCE, "ask")
        self._listening: Subscription | None = None
        self._nodes: tuple[str, ...] = ()
        self._look_at = 0.0

    def said(self, subject: str, data: bytes, by: bytes = b"") -> None:
        """Remember that we announce ``data``, or that the member ``by`` does, for those that ask."""
        with self._lock:
            self._board.note(subject, data, time.monotonic(), by)

    def start(self) -> None:
        """Ask and answer from now on. If the engine can do neither, report what that means."""
        try:
            self._listening = self._streams.listen(self._own.name, self.answer)
        except AskingOff as error:
            self._on_report(Report(What.ASKING_OFF, {"why": str(error), "fix": error.fix}))
            return
        self._thread = threading.Thread(target=self._run, name="asking", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop asking and answering."""
        self._over.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._listening is not None:
            self._listening.close()

    def answer(self, node: str, data: bytes) -> bytes | None:
        """Our answer to a question; None if the question is malformed, or the node asks too often."""
        now = time.monotonic()
        with self._lock:
            if not self._may_ask(node, len(data), now):
                return None
        try:
            question = self._own.read(data, Question)
        except BadMessage as error:
            return self._answer_other(node, data, error)
        with self._lock:
            announcements, place = self._board.since(Place(*question.read), now)
        news = self._take(question.announcements)
        hears = not self._judges_pubsub() or self._hears(node)  # a peer that listens to no such topic misses nothing
        answer = Answer((place.board, place.number), announcements, hears)
        self._heard_from(node, news=news, hears=question.hears)
        return self._own.write(answer)

    def _answer_other(self, node: str, data: bytes, no_question: BadMessage) -> bytes | None:
        with contextlib.suppress(BadMessage):
            return self._own.write(self._call_back(node, self._own.read(data, CallBack)))
        with contextlib.suppress(BadMessage):
            return self._told(self._take_job(self._own.read(data, AskedJob).signed))
        with contextlib.suppress(BadMessage):
            return self._told(self._tell_job(self._own.read(data, AskedAboutJob).signed))
        logs.event("question-dropped", logging.DEBUG, why=str(no_question))
        return None

    def _told(self, sealed: bytes | None) -> bytes | None:
        return None if sealed is None else self._own.write(ToldJob(sealed))

    def ask(self, target: Target) -> None:
        """Ask once."""
        with self._lock:
            read, told = self._schedule.places(target)
            announcements, told = self._board.since(told, time.monotonic())
        hears = self._hears(target.node) if self._judges_pubsub() else None
        question = Question((read.board, read.number), announcements, hears)
        channel = replace(self._own, member=target.member)
        try:
            answer = channel.read(self._streams.ask(target.node, channel.name, channel.write(question)), Answer)
        except (EngineError, BadMessage) as error:
            logs.event("not-answered", logging.DEBUG, node=target.node, why=str(error))
            with self._lock:
                if isinstance(error, Unanswered | BadMessage):
                    self._schedule.did_not_answer(target, time.monotonic())
                else:
                    self._schedule.could_not_ask(target, time.monotonic())
            return
        news = self._take(answer.announcements)
        with self._lock:
            self._schedule.answered(target, Place(*answer.read), told, news=news, now=time.monotonic())
        self._heard_from(target.node, news=news, hears=answer.hears)

    # -- below ------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._over.wait(_TICK):
            now = time.monotonic()
            if now >= self._look_at:
                self._look_at = now + _LOOK
                try:
                    self._nodes = self._streams.nodes()
                except EngineError:
                    continue  # whatever needs the engine reports that
            targets = [Target(node, member) for member in self._asked() for node in self._nodes]
            with self._lock:
                due = self._schedule.due(targets, now)
            for target in due:
                with contextlib.suppress(RuntimeError):  # the pool was closed meanwhile
                    self._pool.submit(self.ask, target).add_done_callback(_log_bug)

    def _may_ask(self, node: str, size: int, now: float) -> bool:
        times = 1 + size // SIZE
        allowance = self._allowances.setdefault(node, TokenBucket(QUESTIONS, RATE))
        self._allowances.move_to_end(node)
        if len(self._allowances) > _REMEMBERED:
            self._allowances.popitem(last=False)
        return allowance.take(now, times)

    def _take(self, announcements: Sequence[bytes]) -> bool:
        """Hand the announcements on. Returns whether one was news."""
        news = [self._receive(announcement) for announcement in announcements]
        return any(news)

    def _hears(self, node: str) -> bool:
        ago = self._streams.heard_ago(node)
        return ago is not None and ago < HEARD_LATELY

    def _heard_from(self, node: str, *, news: bool, hears: bool | None) -> None:
        """Note what a talk with a node shows about pubsub, and repair pubsub if we can."""
        if node == self._streams.own_name:  # another peer on our node; publishing reports what is wrong
            return
        if not self._judges_pubsub():
            return
        with self._lock:
            ago = self._streams.heard_ago(node)
            to_hear = self._unheard.talked(node, news=news, heard_ago=ago, now=time.monotonic())
            is_unheard = hears is not None and self._unheard.told(node, hears=hears)
        try:
            if to_hear:
                self._fix(node)
            if is_unheard:
                fix = self._streams.how_to_hear(self._streams.own_name)
                self._on_report(Report(What.PUBSUB_UNHEARD, {"node": node, "fix": fix}))
        except EngineError as error:
            logs.event("pubsub-not-fixed", logging.DEBUG, node=node, why=str(error))

    def _fix(self, node: str) -> None:
        if self._streams.hear(node):
            logs.event("pubsub-fixed", node=node)
        elif node not in self._told_fixes:
            self._told_fixes.add(node)
            fix = self._streams.how_to_hear(node)
            self._on_report(Report(What.PUBSUB_NOT_HEARING, {"node": node, "fix": fix}))


@dataclass(frozen=True, slots=True)
class Talker:
    """A run that takes part in asking."""

    asked: Callable[[], Sequence[bytes]]
    """The members to ask."""
    receive: Callable[[bytes], bool]
    on_report: Callable[[Report], None]
    known: Callable[[], Collection[str]]
    """The addresses that it dials, but for those that members announced."""
    judges_pubsub: Callable[[], bool] = lambda: False
    """Whether pubsub should bring it what those say that it talks with. A standby and an admin's desk listen to no
    topic of clients, and are silent if no run goes on: to them, and to others of them, that is no fault."""


class SharedAsking:
    """`Asking` for all runs of one member in one federation: others ask the member, not a run. It asks and answers as
    long as there is a run. Safe to use from several threads."""

    def __init__(self, streams: Streams, own: Channel) -> None:
        self._streams = streams
        self._own = own
        self._talkers: dict[int, Talker] = {}
        self.take_job: Callable[[bytes], bytes | None] = lambda _: None
        """Takes a signed request of another member for a run. Returns the sealed answer; None says nothing."""
        self.tell_job: Callable[[bytes], bytes | None] = lambda _: None
        """Answers a signed question about a job likewise."""
        self._asking: Asking | None = None
        self._lock = threading.Lock()

    def join(self, place: int, talker: Talker) -> None:
        """Take part, as the run at this ``place`` of the process."""
        with self._lock:
            self._talkers[place] = talker
            if self._asking is None:
                self._asking = Asking(
                    self._streams,
                    self._own,
                    asked=self._asked,
                    receive=self._receive,
                    call_back=self._call_back,
                    take_job=lambda signed: self.take_job(signed),
                    tell_job=lambda signed: self.tell_job(signed),
                    judges_pubsub=lambda: any(talker.judges_pubsub() for talker in self._now()),
                    on_report=self._report,
                )
                self._asking.start()

    def leave(self, place: int) -> None:
        """Take part no more."""
        with self._lock:
            del self._talkers[place]
            last, self._asking = (None, self._asking) if self._talkers else (self._asking, None)
        if last is not None:
            last.close()

    def said(self, place: int, subject: str, data: bytes, by: bytes = b"") -> None:
        """As `Asking.said`. Two runs may say something about the same subject."""
        with self._lock:
            asking = self._asking
        if asking is not None:
            asking.said(subject if by else f"{place} {subject}", data, by)

    def _asked(self) -> Sequence[bytes]:
        return list(dict.fromkeys(member for talker in self._now() for member in talker.asked()))

    def _receive(self, data: bytes) -> bool:
        news = [talker.receive(data) for talker in self._now()]
        return any(news)

    def _call_back(self, node: str, request: CallBack) -> CalledBack:
        known = {address for talker in self._now() for address in talker.known()}
        return called_back(self._streams, node, request, known)

    def _report(self, report: Report) -> None:
        for talker in self._now()[:1]:
            talker.on_report(report)

    def _now(self) -> list[Talker]:
        return list(self._talkers.copy().values())


def _log_bug(done: Future[None]) -> None:
    if not done.cancelled() and (error := done.exception()) is not None:
        logs.event("asking-crashed", logging.ERROR, error=f"{type(error).__name__}: {error}")
