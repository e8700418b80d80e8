"""Replies to messages that were left out: heard, judged, and told of in the next collect.

Their contents are not fetched. A late reply is taken only from its own announcement: its client repeats that until a
collect tells of the reply.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from protocol.blocks.cid import Block, BlockError
from protocol.chain.chain import check_reply
from protocol.federation.manifest import node_id
from protocol.records.signed_records import Record, parse_record
from protocol.roles.effects import What
from protocol.roles.leader.leader_states import LeaderState
from protocol.roles.leader.record_writer import RecordWriter
from protocol.roles.machine import Machine
from protocol.status.lateness import NEVER_LATE, Lateness
from protocol.wire.announcements import ReplyReady


class LateReplies:
    """The late replies of which no collect has told yet, and how often each client was left out."""

    def __init__(self, writer: RecordWriter, machine: Machine[LeaderState]) -> None:
        self._writer = writer
        self._newest, self._equivocations, self._outbox = machine.newest, machine.equivocations, machine.outbox
        self._here: dict[bytes, tuple[Record, Block]] = {}
        """By message; of messages in the chain's ``left_out`` only, so there are few."""
        self.of: dict[int, Lateness] = {}
        """By node, for people."""

    # -- on their way -----------------------------------------------------------------------------------------------

    def heard(self, by: bytes, ready: ReplyReady, inline: tuple[Block, ...], now: float) -> bool:
        """A client says that it has an answer to a message that is not open. Whether it was left out with that."""
        asked = self._writer.chain.left_out.get(ready.message)
        if asked is None or asked.node != node_id(by):
            return False
        if ready.message in self._here:
            _, block = self._here[ready.message]
            if block.cid != ready.record:
                self._equivocations.compare(block.cid, ready.record, (*inline, block), now)
        elif (new := next((block for block in inline if block.cid == ready.record), None)) is not None:
            try:
                self.came(ready.message, parse_record(new), new)
            except BlockError as error:
                name = self._newest.manifest.name_of(by)
                self._outbox.report(What.REPLY_REFUSED, name=name, message=ready.message.hex(), why=str(error))
        return True

    def came(self, message: bytes, reply: Record, block: Block) -> bool:
        """Keep the reply to ``message``, if that was left out; whether it was.

        Raises:
            protocol.blocks.cid.BlockError: it is none that a collect may tell of.
        """
        chain = self._writer.chain
        asked = chain.left_out.get(message)
        if asked is None:
            return False
        check_reply(reply, asked, chain.in_force)
        self._here[message] = reply, block
        name = self._newest.manifest.name_of(reply.body.by)
        self._outbox.report(What.REPLY_LATE, name=name, message=message.hex())
        return True

    def forget_the_bad(self) -> None:
        """Another manifest is in force: some may have to be signed with another key."""
        chain = self._writer.chain
        for message, (reply, _) in list(self._here.items()):
            try:
                check_reply(reply, chain.left_out[message], chain.in_force)
            except (BlockError, KeyError):
                del self._here[message]

    def take(self) -> list[bytes]:
        """Those for the next collect, in the order in which their messages were left out; then none is here."""
        left_out = self._writer.chain.left_out
        taken = [self._here[message] for message in left_out if message in self._here]
        for reply, _ in taken:
            node = node_id(reply.body.by)
            before = self.of.get(node, NEVER_LATE)
            self.of[node] = replace(before, late=before.late + 1)
        self._here = {}
        return [block.data for _, block in taken]

    # -- for people -------------------------------------------------------------------------------------------------

    def left_out(self, nodes: Iterable[int]) -> None:
        """A collect did not wait for these."""
        for node in nodes:
            before = self.of.get(node, NEVER_LATE)
            self.of[node] = replace(before, left_out=before.left_out + 1, in_a_row=before.in_a_row + 1)

    def in_time(self, nodes: Iterable[int]) -> None:
        """A collect has answers of these."""
        for node in nodes:
            if (before := self.of.get(node)) is not None:
                self.of[node] = replace(before, in_a_row=0)
