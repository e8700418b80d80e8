"""Replies at a keeper, before a collect takes them: kept as soon as their clients announce them.

The server may reach nobody else that has them, and their clients may go away. A keeper cannot read a reply. So it keeps
the first one to each open message that is its addressee's, and leaves it to the server which it takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from protocol.blocks.cid import CID, Block, BlockError
from protocol.chain.chain import check_reply
from protocol.federation.manifest import node_id
from protocol.pacing.backoff import SLOWEST_RETRY
from protocol.records.bodies import Reply
from protocol.records.equivocation import equivocation, says_the_same
from protocol.records.signed_records import Record, parse_record
from protocol.roles.effects import FetchRecord, Store, What
from protocol.roles.equivocations import TIMES
from protocol.roles.keeper.keeper_states import KeeperState
from protocol.roles.keeper.kept_contents import CLAIMS_OF_ONE, KeptContents
from protocol.roles.keeper.kept_runs import KeptRun, KeptRuns
from protocol.roles.machine import Machine
from protocol.roles.unchecked_claims import UncheckedClaims
from protocol.wire.announcements import ReplyReady


class EarlyReplies:
    """The replies to messages that are open."""

    def __init__(self, runs: KeptRuns, contents: KeptContents, machine: Machine[KeeperState]) -> None:
        self._runs = runs
        self._contents = contents
        self._newest, self._equivocations, self._outbox = machine.newest, machine.equivocations, machine.outbox
        self._claims = UncheckedClaims(CLAIMS_OF_ONE, SLOWEST_RETRY)
        self._first: dict[CID, dict[bytes, Record]] = {}
        """The first good reply to each open message, by run."""

    def heard(self, by: bytes, ready: ReplyReady, inline: tuple[Block, ...], now: float) -> None:
        """A client says that it has an answer. Nobody else's word counts."""
        kept = self._runs.followed.get(ready.run)
        asked = None if kept is None else kept.chain.open.get(ready.message)
        if kept is None or asked is None or asked.node != node_id(by):
            return
        first = self._first.get(ready.run, {}).get(ready.message)
        if first is not None and first.cid == ready.record:
            self._keep_content(kept, first, now)
            return
        if not self._claims.may_open(by, now):
            return
        self._claims.open(by)
        if (block := next((block for block in inline if block.cid == ready.record), None)) is not None:
            self._judge(kept, by, ready.message, block, now)
        else:
            fetched, lost = partial(self._fetched, by, kept, ready), partial(self._lost, by)
            self._outbox.ask(FetchRecord, fetched, lost, ready.record, Reply)

    def _fetched(self, by: bytes, kept: KeptRun, ready: ReplyReady, blocks: Mapping[CID, bytes], now: float) -> None:
        self._judge(kept, by, ready.message, Block(ready.record, blocks[ready.record]), now)

    def _lost(self, by: bytes, why: str, now: float) -> None:
        """Its client announces it again."""
        self._claims.failed(by, now)
        self._outbox.report(What.FETCH_FAILED, why=why)

    def _judge(self, kept: KeptRun, by: bytes, message: bytes, block: Block, now: float) -> None:
        """Keep a reply that a collect made now could take, if it is the first."""
        try:
            record = self._good(kept, message, block)
        except BlockError as error:
            self._lost(by, str(error), now)
            return
        if record is None:
            self._claims.held(by)
            return
        first = self._first.setdefault(kept.run, {}).setdefault(message, record)
        if not says_the_same(first, record):
            self._claims.failed(by, now)
            if (found := equivocation(first, record)) is not None:
                self._equivocations.convict(found, TIMES, now)
            return
        self._claims.held(by)
        if first is record or _is_needed_beside(first, record):
            self._first[kept.run][message] = record
            self._outbox.must(Store, lambda _: None, (block,), own=False)
        self._keep_content(kept, record, now)

    def _good(self, kept: KeptRun, message: bytes, block: Block) -> Record | None:
        """The reply in ``block``; None if its message is answered meanwhile.

        Raises:
            protocol.blocks.cid.BlockError: it breaks a rule.
        """
        record, asked = parse_record(block), kept.chain.open.get(message)
        if asked is not None:
            check_reply(record, asked, kept.chain.in_force)
        return None if asked is None else record

    def _keep_content(self, kept: KeptRun, record: Record, now: float) -> None:
        reply = record.body
        assert isinstance(reply, Reply)
        if reply.content is not None and self._contents.may_claim(reply.by, now):
            self._contents.claim(reply.by, kept.run, reply.content)

    def answered(self, run: CID, message: bytes) -> None:
        """A collect has answered a message."""
        self._first.get(run, {}).pop(message, None)

    def fork(self, kept: KeptRun) -> None:
        """Records of a run are lost: a reply to what they opened is signed anew, if that is sent again."""
        first = self._first.get(kept.run, {})
        self._first[kept.run] = {message: reply for message, reply in first.items() if message in kept.chain.open}

    def forget(self, run: CID) -> None:
        """Nothing of the run is open."""
        self._first.pop(run, None)


def _is_needed_beside(first: Record, reply: Record) -> bool:
    """Whether a collect may need a reply that says what the first one says: it has another signer, or is for another
    dispatch. Otherwise it is signed in one more of endless ways."""
    assert isinstance(first.body, Reply)
    assert isinstance(reply.body, Reply)
    return (first.signers, first.body.dispatch) != (reply.signers, reply.body.dispatch)
