"""Examines replies in the server's app process, while the app waits for them (`protocol.app.calls.Examine`).

A reply stays in a file, so the app need not read and check its blocks again. The peer decides what follows from the
findings.
"""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Final, Protocol

from peer.engine.engine_retries import EngineRetries
from peer.engine.interface import EngineError, StillComing, TooLarge
from protocol.app.calls import Examine, Examined, Failed
from protocol.blocks.cid import CID, BlockError, BlockSource
from protocol.blocks.content import ContentKey
from protocol.replies.checks_and_limits import Check, Examination, FailedCheck
from strategy.contents.codec import DEFAULT_LIMITS, Limits
from strategy.contents.kept_replies import KeptReplies
from strategy.replies.examination import Sent, examine, opened_records, read_sent
from strategy.replies.sent_layouts import SentLayouts

CONTENT_TIMEOUT: Final = 120.0
"""Seconds to wait for one content. If some of it came, it goes on later; if nothing, its client announces it again."""

FETCHED_AT_ONCE: Final = 8
"""How many contents are fetched at once. Several, because a content that a member announces may be nowhere."""

SIDE_BY_SIDE: Final = 2
"""How many replies are examined at once. Each takes memory for two arrays at most and what else is in the content."""


def examine_in_threads(
    examiner: Examiner, asked: SimpleQueue[Examine], answer: Callable[[Examined | Failed], None]
) -> None:
    """Examine what is ``asked`` for, as long as the process lives. A reply that is still coming is not given up,
    however slow its line, and lets all others go first: whoever sends it may send a block now and then for ever."""
    coming: SimpleQueue[Examine] = SimpleQueue()

    def following() -> Examine:
        for waiting in (asked, coming):
            with suppress(Empty):
                return waiting.get_nowait()
        return asked.get()  # each that is coming is taken up again by the thread that put it back, or another

    def serve() -> None:
        try:
            while True:
                ask = following()
                try:
                    answer(examiner.answer(ask))
                except StillComing:
                    coming.put(ask)
        except BaseException:  # noqa: BLE001  # a bug of ours; without this exit the peer would wait forever
            traceback.print_exc()
            os._exit(1)

    for _ in range(FETCHED_AT_ONCE):
        threading.Thread(target=serve, name="examine", daemon=True).start()


class FetchedContents(Protocol):
    """Where replies are fetched to and read from. Neither method waits for an engine that is away."""

    def fetch(self, root: CID, *, timeout: float, limit: int) -> None:
        """As `peer.engine.interface.Engine.fetch`."""

    def local(self, root: CID) -> BlockSource:
        """The blocks of a content that was fetched."""


class Examiner:
    """Fetches replies, examines them and keeps them. Safe to use from several threads."""

    def __init__(self, contents: FetchedContents, kept: KeptReplies, layouts: SentLayouts) -> None:
        self._contents = contents
        self._kept = kept
        self._layouts = layouts
        self._retries = EngineRetries()
        self._places = threading.BoundedSemaphore(SIDE_BY_SIDE)

    def answer(self, asked: Examine) -> Examined | Failed:
        """Examine a reply. If the engine is away, wait for it.

        Raises:
            StillComing: if it is not here yet, and more of it came. Ask again.
        """
        try:
            return Examined(asked.id, self._retries(lambda: self.examine(asked, timeout=CONTENT_TIMEOUT)))
        except StillComing:
            raise
        except (EngineError, BlockError, OSError) as error:
            return Failed(asked.id, str(error))

    def examine(self, asked: Examine, *, timeout: float) -> Examination:
        """Fetch the reply's content within ``timeout`` seconds, and examine it.

        Raises:
            EngineError: if a content does not come.
            protocol.blocks.cid.BlockError: if the dispatched content, which is our own, cannot be read.
        """
        sent = self._read_sent(asked.sent, asked.sent_key)
        limit = asked.limits.of_answer_to(sent.size or None)
        try:
            self._contents.fetch(asked.reply, timeout=timeout, limit=limit)
        except TooLarge:
            return Examination((FailedCheck(Check.SIZE, f"its content is larger than {limit} bytes"),), here=False)
        with self._places:
            found, records = examine(
                asked.reply,
                self._contents.local(asked.reply),
                asked.reply_key,
                sent,
                lambda: opened_records(sent.root, self._contents.local(sent.root), asked.sent_key),
                update=asked.update,
                measure=asked.measure,
                limits=Limits(min(limit, DEFAULT_LIMITS.body), min(limit, DEFAULT_LIMITS.arrays)),
                keep=partial(self._kept.make_room, asked.message, hidden=asked.reply_key is not None),
            )
            self._kept.put(asked.message, asked.reply, records)
            return found

    def _read_sent(self, root: CID, key: ContentKey | None) -> Sent:
        return self._layouts.of(root, lambda: read_sent(root, self._contents.local(root), key))
