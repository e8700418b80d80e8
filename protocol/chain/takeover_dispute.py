"""The chain rule of a takeover against a record (`protocol.chain.rules` 48): what it leaves behind, and on whose words.

A takeover leaves out no settled record, with this one exception: a dispatch that more than half of the servers
contradict, and all after it. So the chain has to show both.
"""

from __future__ import annotations

from protocol.blocks.cid import CID, BlockSource
from protocol.blocks.listing import EMPTY
from protocol.chain import rules
from protocol.chain.exchange import InForce
from protocol.federation.manifest import Manifest
from protocol.records.bodies import Body, Dispatch, RecomputedAck, Takeover, TakeoverCause
from protocol.records.signed_records import Record, checked_record, typed_items
from protocol.witnesses.agreement import is_about, why_no_agreement


def dispute_of(body: Takeover, leader: bytes, term: int, in_force: InForce, source: BlockSource) -> tuple[Record, ...]:
    """The record that ``body`` is against, and the words that contradict it; nothing if there is no dispute.
    ``leader`` led the run at ``body.prev``, in ``term``.

    Raises:
        protocol.chain.rules.BrokenRule: if it is not shown that most servers contradict a record there.
    """
    if body.against is None:
        if body.cause is TakeoverCause.DISPUTE or body.words != EMPTY:
            raise rules.TakeoverDispute("it does not say which record it is against")
        return ()
    if body.cause is not TakeoverCause.DISPUTE:
        raise rules.TakeoverDispute(f"its cause is {body.cause}, and it is against a record")
    against = checked_record(body.against, source)
    _check_against(against, body, leader, term, in_force)
    words: list[Record] = []
    said: list[RecomputedAck] = []
    for link in typed_items(body.words, CID, source):
        words.append(word := checked_record(link, source))
        said.append(_checked_word(word, against, said[-1].by if said else b"", in_force))
    if why := why_no_agreement(said, in_force.manifest, leader):
        raise rules.TakeoverDispute(why)
    if body.by not in {each.by for each in said}:
        raise rules.TakeoverDispute(f"{in_force.manifest.called(body.by)} is none of those that contradict it")
    for word in words:
        rules.check_signed(word, in_force.well_signed)
    return (against, *words)


def _check_against(against: Record, body: Takeover, leader: bytes, term: int, in_force: InForce) -> None:
    """It is the leader's own next dispatch. What it sends is not judged: that is what the dispute is about."""
    said = against.body
    if not isinstance(said, Dispatch):
        raise rules.TakeoverDispute(f"{against.cid} is a {said.TYPE}, and it takes a dispatch")
    if (said.run, said.prev, said.height) != (in_force.run, body.prev, body.height):
        raise rules.TakeoverDispute(f"{against.cid} does not follow {body.prev}")
    if (said.by, said.term) != (leader, term) or not _is_signed(against, said, in_force.manifest):
        raise rules.TakeoverDispute(f"{against.cid} is not signed by who led the run there")
    rules.check_signed(against, in_force.well_signed)


def _checked_word(word: Record, against: Record, last: bytes, in_force: InForce) -> RecomputedAck:
    """A word, after one of the member ``last``. Its signature is checked when enough say the same."""
    said, record = word.body, against.body
    assert isinstance(record, Dispatch)
    if not isinstance(said, RecomputedAck):
        raise rules.TakeoverDispute(f"{word.cid} is a {said.TYPE}, and no word of a server's about what it computed")
    if said.epoch is not None or said.private:
        raise rules.PrivatePart("an ack has nothing private")
    if not is_about(said, record, against.cid):
        raise rules.TakeoverDispute(f"{word.cid} is about another record")
    if said.by <= last:
        raise rules.TakeoverDispute("the words are not in rising order of server, each once")
    if not _is_signed(word, said, in_force.manifest):
        raise rules.TakeoverDispute(f"{word.cid} is not signed with its author's key")
    return said


def _is_signed(record: Record, body: Body, manifest: Manifest) -> bool:
    """Whether it names the key in force of its author; the signature is not verified yet."""
    member = manifest.members.get(body.by)
    return member is not None and record.signers == (member.signing,)
