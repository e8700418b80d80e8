"""Which members confirmed how much of a run: its acks, checked against the chain that is shown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Final

from crypto.dsse import BadSignature
from peer.audit.terms.promises import Promises
from peer.audit.terms.settling import Settling
from peer.history.verdict import (
    ANOTHER_HISTORY,
    CONFIRMED_BEYOND,
    CONTRADICTED,
    OVERTAKEN,
    REVOKED_HISTORY,
    UNHEARD_REPLY,
    UNWITNESSED,
    Finding,
)
from protocol.app.calls import ErrorCode
from protocol.blocks.cid import CID, Block, BlockError, BlockSource
from protocol.chain.chain import AnsweredMessage, Chain, Step
from protocol.federation.epochs import reads_updates
from protocol.records.bodies import Ack, Comparison, RecomputedAck, Reply
from protocol.records.signed_records import Record, parse_record, read_record, typed_items
from protocol.visible import quoted
from protocol.witnesses.witnessed_rounds import WitnessedRounds

_SILENCE: Final = {ErrorCode.NODE_UNAVAILABLE, ErrorCode.MESSAGE_UNAVAILABLE}
"""The errors by which a leader says that it heard no reply."""


@dataclass(frozen=True, slots=True)
class _Listed:
    """A reply to a message that is still open, and the ack that lists it."""

    reply: CID
    body: Reply
    ack: CID
    height: int


@dataclass(slots=True)
class _Found:
    """All findings of one kind."""

    first: Finding
    count: int = 0
    members: dict[str, None] = field(default_factory=dict)
    """The members that they are about, in order."""

    def finding(self) -> Finding:
        """All of them as one finding, however many members and messages they are about."""
        if self.count == 1:
            return self.first
        named = ", ".join(islice(self.members, _NAMED))
        more = f" and {len(self.members) - _NAMED} more" if len(self.members) > _NAMED else ""
        what = f"{self.first.message} ({self.count} of this kind, by {named}{more}; this is the first)"
        return replace(self.first, message=what, count=self.count)


_NAMED: Final = 10
"""How many members a finding names."""


class Confirmations:
    """The acks of one run. An ack counts only if it is signed with the key in force at its head."""

    def __init__(self, run: CID, acks: Iterable[Block], source: BlockSource, promises: Promises) -> None:
        """``promises`` are told what members confirmed, in this chain or a tail that was lost."""
        self._source = source
        self._promises = promises
        self._waiting: dict[int, list[tuple[Record, Ack]]] = defaultdict(list)
        for block in acks:
            record = parse_record(block)
            if isinstance(record.body, Ack) and record.body.run == run:
                self._waiting[record.body.height].append((record, record.body))
        self._listed: dict[bytes, _Listed] = {}
        self._found: dict[str, _Found] = {}
        self._newer: list[tuple[Record, Ack]] = []
        self._histories: list[tuple[bytes, str, Finding]] = []
        """Acks of other histories: the key, and its member's name. Only the end tells if the key was revoked since."""
        self._term_began = 0
        """The height of the first record of the newest term."""
        self.heights: dict[bytes, int] = {}
        """The highest record that each member has confirmed, by its id."""
        self.recomputed: dict[bytes, list[tuple[int, int]]] = {}
        """From where to where each member's own app did what is recorded, by its id; both heights are inside."""
        self.contradicted: dict[bytes, int] = {}
        """The height at which a member's own app did something else."""
        self.lost: dict[int, tuple[int, CID]] = {}
        """By term: the highest record, and its height, that somebody confirmed of a tail which a takeover left out."""
        self.witnesses = WitnessedRounds()
        """Which training messages had the witnesses that the run needs."""
        self.settling = Settling()
        """Up to where the acks settle the run."""
        self.well_signed: list[CID] = []
        """Acks, and the replies that they list, whose signatures were found right."""

    def take(self, step: Step, chain: Chain) -> None:
        """Compare the acks with the record that was appended to ``chain`` last."""
        for answered in step.answered:
            self._answered(answered, chain)
        self.settling.take(step, chain)
        if step.took_over:
            self._term_began = chain.height
        self.witnesses.take(step, chain)
        for record, ack in self._waiting.pop(chain.height, ()):
            if not self._is_its_authors(record, chain):
                continue  # anybody can make one up
            self._promises.take(record)
            if ack.head != chain.head or ack.term != chain.term:
                self._elsewhere(record, ack, chain)
                continue
            self.heights[ack.by] = chain.height
            self.settling.confirm(ack.by)
            if isinstance(ack, RecomputedAck):
                self._recompute(ack, chain, record.cid)
            self._list(record, ack, chain)

    def _elsewhere(self, record: Record, ack: Ack, chain: Chain) -> None:
        """Take an ack that names another record than the chain has at its height.

        Of an older term, it is of a tail that a takeover left out: that is what takeovers may do, and nobody's fault.
        What it is of a newer term, only the end tells.
        """
        if ack.term < chain.term:
            self._lose(ack)
        elif ack.term > chain.term:
            self._newer.append((record, ack))
        else:
            self._note_history(record, ack, chain, f"{chain.head}")

    def _note_history(self, record: Record, ack: Ack, chain: Chain, shown: str) -> None:
        name = chain.manifest.called(ack.by)
        what = (
            f"{name} confirmed another history: its ack {record.cid} names {ack.head} where this chain has "
            f"{shown}. The leader showed {name} another one, or the ack is false"
        )
        self._histories.append((record.signers[0], name, Finding(ack.height, record.cid, ANOTHER_HISTORY, what)))

    def _judge_newer(self, chain: Chain) -> None:
        """Judge the acks of a newer term than the chain has at their heights, now that all its terms are known.

        A term that begins later in this chain has one leader and one beginning. One that the chain passed over was left
        out by a later one. If it is above all of the chain's, the chain itself was left behind.
        """
        for record, ack in self._newer:
            if ack.term in self.settling.acked:
                self._note_history(record, ack, chain, f"a record of an older term than {ack.term}")
            elif ack.term < chain.term:
                self._lose(ack)
            else:
                name = chain.manifest.called(ack.by)
                self._find(name, Finding(ack.height, record.cid, OVERTAKEN, _overtaken(name, ack, chain)))

    def _lose(self, ack: Ack) -> None:
        self.lost[ack.term] = max((ack.height, ack.head), self.lost.get(ack.term, (-1, ack.head)))

    def _recompute(self, ack: RecomputedAck, chain: Chain, cid: CID) -> None:
        """Take what a member says of having replayed the run. A leader's word is about what was recorded before its
        term, and that of one that cannot read what clients sent says nothing."""
        told, is_equal = ack.recomputed, ack.recomputed.comparison is Comparison.EQUAL
        until = ack.height if is_equal else ack.height - 1
        if ack.by == chain.by:
            until = min(until, self._term_began - 1)
            if not is_equal or told.since > until:
                return
        if not reads_updates(chain.manifest.members[ack.by]):
            return
        spans = self.recomputed.setdefault(ack.by, [])
        if spans and told.since <= spans[-1][1] + 1:
            since, before = spans.pop()
            spans.append((min(since, told.since), max(before, until)))
        elif told.since <= until:
            spans.append((told.since, until))
        self.witnesses.witnessed(self.recomputed)
        if not is_equal:
            self.contradicted[ack.by] = ack.height
            name = chain.manifest.called(ack.by)
            which = "" if told.message is None else f" (message {told.message})"
            made = "" if told.content is None else f", which is {told.content}"
            what = (
                f"{name} has run the app on the recorded replies too, and signs that it came to something else at "
                f"height {ack.height}{which}{made}. Either the leader did not run this app on these replies, or that "
                "is false: a replay (--replay) says which"
            )
            self._find(name, Finding(ack.height, cid, CONTRADICTED, what))

    def findings(self, chain: Chain, revoked: Set[bytes]) -> Iterator[Finding]:
        """What was found, each kind once. ``chain`` is all that is shown; the keys ``revoked`` are so by now."""
        self.settling.count()
        self._judge_newer(chain)
        for key, name, finding in self._histories:
            if key in revoked:
                what = f"by a key that was revoked since, and that a thief may have used: {finding.message}"
                finding = replace(finding, rule=REVOKED_HISTORY, message=what)
            self._find(name, finding)
        self._beyond(chain)
        self._unwitnessed(chain)
        for found in self._found.values():
            yield found.finding()

    def _unwitnessed(self, chain: Chain) -> None:
        """What clients trained on although too few witnesses are known. That convicts nobody: acks can be lost."""
        for asked in self.witnesses.lacking():
            names = ", ".join(chain.manifest.called(by) for by in asked.trained[:_NAMED])
            what = (
                f"{names} trained on what height {asked.height} sends, and of the {asked.needed} witnesses that it "
                f"needs {asked.have(self.recomputed)} are known here. Acks that are not here may be with other members"
            )
            for by in asked.trained:
                self._find(chain.manifest.called(by), Finding(asked.height, None, UNWITNESSED, what))

    def _beyond(self, chain: Chain) -> None:
        """What members have confirmed beyond the end of the chain, the highest first."""
        for height, acks in sorted(self._waiting.items(), reverse=True):
            for record, ack in acks:
                if not self._is_its_authors(record, chain):
                    continue
                self._promises.take(record)
                name = chain.manifest.called(ack.by)
                if ack.term < chain.term:
                    self._lose(ack)
                elif ack.term > chain.term:
                    self._find(name, Finding(height, record.cid, OVERTAKEN, _overtaken(name, ack, chain)))
                else:
                    what = f"{name} has confirmed height {height}, and the chain shown ends at {chain.height}"
                    self._find(name, Finding(height, record.cid, CONFIRMED_BEYOND, what))

    def _find(self, member: str, finding: Finding) -> None:
        found = self._found.setdefault(finding.rule, _Found(finding))
        found.count += 1
        found.members[member] = None

    def _list(self, record: Record, ack: Ack, chain: Chain) -> None:
        """Note the replies that an ack lists to messages that are still open."""
        for link in typed_items(ack.replies, CID, self._source):
            try:
                reply = read_record(link, self._source)
            except BlockError:
                continue  # if no collect took it, only its member need have it
            body = reply.body
            if not isinstance(body, Reply) or body.by != ack.by or not self._is_its_authors(reply, chain):
                continue  # the leader was right not to take it
            if body.message in chain.open:
                self._listed[body.message] = _Listed(link, body, record.cid, ack.height)

    def _answered(self, answered: AnsweredMessage, chain: Chain) -> None:
        listed, error = self._listed.pop(answered.message.id, None), answered.error
        if listed is None or error is None or error.refused is not None or error.code not in _SILENCE:
            return
        early = error.created - listed.body.time
        if early <= 0:
            return  # it was late by its member's own clock
        name = chain.manifest.called(listed.body.by)
        reason = quoted(answered.reason) if answered.reason else "no reason can be read"
        what = (
            f"the leader says that {name} did not answer ({reason}). But {name}'s ack {listed.ack} at height "
            f"{listed.height} lists its reply {listed.reply}, signed {early:.3g} s before by {name}'s clock. The "
            "leader had probably heard of it if it kept that ack, but announcements can be lost"
        )
        self._find(name, Finding(chain.height, listed.ack, UNHEARD_REPLY, what))

    def _is_its_authors(self, record: Record, chain: Chain) -> bool:
        if is_its_authors(record, chain):
            self.well_signed.append(record.cid)
            return True
        return False


def _overtaken(name: str, ack: Ack, chain: Chain) -> str:
    return (
        f"{name} has confirmed height {ack.height} in term {ack.term}, and the chain shown ends in term {chain.term}, "
        f"at height {chain.height}: another server has taken the run over. Ask a member for its newest head: what this "
        "chain has and that one does not was lost"
    )


def is_its_authors(record: Record, chain: Chain) -> bool:
    """Whether a record is signed with the key, in force at the head, of the member that it names as its author. Anybody
    can make up others."""
    member = chain.manifest.members.get(record.body.by)
    if member is None or record.signers != (member.signing,):
        return False
    try:
        record.check_signatures(chain.well_signed)
    except BadSignature:
        return False
    return True
