"""Contents of replies at a standby, before a collect takes them: fetched as soon as their clients announce them.

So they are here when the app is to aggregate them, and a standby is done about as early as the leader. Which replies
the leader takes is known only then. What it refuses was fetched in vain.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import Final

from protocol.blocks.cid import CID, BlockError
from protocol.blocks.root_hints import root_among
from protocol.chain.chain import check_reply
from protocol.federation.manifest import node_id
from protocol.pacing.backoff import SLOWEST_RETRY
from protocol.records.bodies import Reply
from protocol.records.signed_records import parse_record
from protocol.roles.catch_up import CatchUp
from protocol.roles.effects import FetchContent
from protocol.roles.following.follower_states import FollowerState
from protocol.roles.machine import Machine
from protocol.roles.server.succession import HeardReply
from protocol.roles.unchecked_claims import UncheckedClaims

SIDE_BY_SIDE: Final = 2
"""Contents of one client's that are fetched at once."""

REMEMBERED: Final = 1_024
"""Contents that are known to be here: those of one exchange, mostly."""


class EarlyContents:
    """Of the open messages of the run that is followed: one for each."""

    def __init__(self, machine: Machine[FollowerState]) -> None:
        self._machine = machine
        self._outbox = machine.outbox
        self._claims = UncheckedClaims(SIDE_BY_SIDE, SLOWEST_RETRY)
        self._begun: set[bytes] = set()
        """The messages of which a reply's content is fetched, or was."""
        self._here: deque[CID] = deque(maxlen=REMEMBERED)

    def begin(self) -> None:
        """Another run is followed."""
        self._begun = set()
        self._here.clear()

    def have(self, content: CID) -> bool:
        """Whether a content is here that was fetched lately."""
        return content in self._here

    def answered(self, message: bytes) -> None:
        """A collect has answered a message."""
        self._begun.discard(message)

    def heard(self, heard: HeardReply, run: CatchUp, now: float) -> None:
        """The addressee of an open message says that it has an answer. Fetch its content if a collect made now could
        take it, and if that can be told from what came with the announcement."""
        message, asked = heard.ready.message, run.chain.open.get(heard.ready.message)
        block = next((block for block in heard.blocks if block.cid == heard.ready.record), None)
        if asked is None or block is None or message in self._begun or self._machine.no_room:
            return
        if asked.node != node_id(heard.by) or not self._claims.may_open(heard.by, now):
            return
        self._claims.open(heard.by)
        try:
            record = parse_record(block)
            check_reply(record, asked, run.chain.in_force)
        except BlockError:
            self._claims.failed(heard.by, now)
            return
        self._begun.add(message)
        reply = record.body
        if isinstance(reply, Reply) and reply.content is not None:
            done = partial(self._is_here, heard.by, reply.content)
            failed = partial(self._lost, heard.by, message)
            root = root_among(reply.content, heard.blocks)
            self._outbox.ask(FetchContent, done, failed, reply.content, of_reply=True, root=root)
        else:
            self._claims.held(heard.by)

    def _is_here(self, by: bytes, content: CID, now: float) -> None:
        self._claims.held(by)
        self._here.append(content)

    def _lost(self, by: bytes, message: bytes, why: str, now: float) -> None:
        """Its client announces it again, or a collect has it fetched."""
        self._claims.failed(by, now)
        self._begun.discard(message)
