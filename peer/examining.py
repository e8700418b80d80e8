"""Fetching the content of a reply and examining it: what the effect `protocol.effects.Examine` asks for."""

from __future__ import annotations

import threading
from typing import Final

from peer.contents import local_content
from peer.engine.interface import Engine, TooLarge
from protocol.admission import Check, Examination, Finding
from protocol.app_calls import ContentKey
from protocol.blocks import CID
from protocol.effects import Examine
from strategy.admission import Sent, examine, opened_records, read_sent
from strategy.content import DEFAULT_LIMITS, Limits

SIDE_BY_SIDE: Final = 2
"""Replies that are examined at once: each may hold the rest of a content's records and two arrays in memory."""

SENT_KEPT: Final = 16
"""Dispatched contents whose layouts are kept, for the next reply to the same."""


class Examiner:
    """Examines the replies that are in an engine. Safe to use from several threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sent: dict[CID, Sent] = {}
        self._reading = threading.Lock()
        self._places = threading.BoundedSemaphore(SIDE_BY_SIDE)

    def examine(self, effect: Examine, *, timeout: float) -> Examination:
        """Make the reply's content local, within ``timeout`` seconds, and say what is found in it.

        Raises:
            EngineError: where a content cannot be had.
            protocol.blocks.BlockError: where the dispatched content, our own, cannot be read.
        """
        sent = self._read_sent(effect.sent, effect.sent_key)
        limit = effect.limits.of_answer_to(sent.size if sent.records else None)
        try:
            self._engine.fetch(effect.reply, timeout=timeout, limit=limit)
        except TooLarge:
            return Examination((Finding(Check.SIZE, f"its content is larger than {limit} bytes"),), here=False)
        with self._places:
            measured = None
            if effect.measure:
                measured = opened_records(sent.root, local_content(self._engine, sent.root), effect.sent_key)
            return examine(
                effect.reply,
                local_content(self._engine, effect.reply),
                effect.reply_key,
                sent,
                update=effect.update,
                measured=measured,
                limits=Limits(min(limit, DEFAULT_LIMITS.body), min(limit, DEFAULT_LIMITS.arrays)),
            )

    def _read_sent(self, root: CID, key: ContentKey | None) -> Sent:
        with self._reading:  # the replies to one dispatch come together
            sent = self._sent.pop(root, None) or read_sent(root, local_content(self._engine, root), key)
            self._sent[root] = sent  # the newest last
            if len(self._sent) > SENT_KEPT:
                del self._sent[next(iter(self._sent))]
            return sent
