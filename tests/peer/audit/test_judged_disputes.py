"""Who is wrong in a dispute, by what a third run of the app came to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from chains import ALICE, BOB, MEMBERS, SECOND, TIME, Scribe, id_of
from disputed_runs import WITNESSES, against, three_servers
from disputed_runs import word as disputed_word

from peer.audit.dispute import (
    JudgedDispute,
    Wrong,
    acks_up_to,
    dispute_of_file,
    disputed,
    judge,
    words_in_takeovers,
)
from peer.audit.report import Report
from peer.base.errors import ExitCode, PeerError
from peer.history.verdict import Verdict
from peer.home.acks_grants_proofs import AcksGrantsProofs
from peer.replay.replay import ComparedExchange, Replay
from protocol.blocks.car import write_car
from protocol.blocks.cid import Block, cbor_block
from protocol.blocks.listing import Listing
from protocol.records.bodies import Comparison, Recomputed, RecomputedAck
from protocol.records.signed_records import sign_record
from protocol.replay.differences import Outcome
from protocol.witnesses.dispute import Dispute, dispute_in

MADE = cbor_block("what the second server's app made").cid


def word(scribe: Scribe, comparison: Comparison = Comparison.DIVERGED, term: int = 1) -> Block:
    """What the second server signs of the head."""
    content = MADE if comparison is Comparison.DIVERGED else None
    told = Recomputed(since=1, comparison=comparison, message=None, content=content)
    chain = scribe.chain
    given = {
        "by": id_of(SECOND),
        "time": TIME,
        "run": chain.run,
        "term": term,
        "height": chain.height,
        "head": chain.head,
    }
    return sign_record(RecomputedAck(**given, replies=Listing(()), recomputed=told), [SECOND])


def judged(replay: Replay | None, verdict: Verdict = Verdict.VERIFIED, **changes: Any) -> JudgedDispute:
    """A dispute about the first dispatch of a run, of which a replay came to this."""
    scribe = Scribe(MEMBERS)
    scribe.add(scribe.run())
    scribe.add(scribe.dispatch(scribe.group(ALICE, BOB)))
    against = changes.pop("word", None) or word(scribe)
    scribe.source.add(against)
    assert scribe.chain.head is not None
    report = Report(scribe.chain.head, verdict, scribe.chain.run, height=1, leader="server", replay=replay)
    report.contradicted = {"second": 1}
    for name, value in changes.items():
        setattr(report, name, value)
    return judge(Dispute(scribe.chain.head, against.cid), report, scribe.source)


def differs(outcome: Outcome, **changes: Any) -> ComparedExchange:
    return ComparedExchange(1, 1, 1, 2, outcome, "at height 1, it differs", **changes)


BEYOND = differs(Outcome.BEYOND, made=MADE)
UNDECIDED = differs(Outcome.UNDECIDED)


@pytest.mark.parametrize(
    ("replay", "wrong", "why"),
    [
        (Replay(exchanges=1), Wrong.WITNESS, "bit for bit"),
        (Replay(first=BEYOND, beyond=BEYOND, repeats=True), Wrong.LEADER, "what the other server signs"),
        (Replay(first=BEYOND, beyond=BEYOND, repeats=False), Wrong.UNTOLD, "does not do the same thing twice"),
        (Replay(first=UNDECIDED, last=UNDECIDED, undecided=1, repeats=True), Wrong.UNTOLD, "this machine"),
        (Replay(unfinished="the app process was lost"), Wrong.UNTOLD, "was lost"),
        (Replay(not_kept=1), Wrong.UNTOLD, "is not here"),
    ],
)
def test_a_third_run_says_who_is_wrong_or_that_it_cannot_tell(replay: Replay, wrong: Wrong, why: str) -> None:
    found = judged(replay)
    assert (found.wrong, why in found.in_words()) == (wrong, True)
    assert found.exit_code is (ExitCode.UNFINISHED if wrong is Wrong.UNTOLD else ExitCode.VERIFICATION_FAILED)


def test_what_is_not_sound_is_not_replayed_and_accuses_neither() -> None:
    assert judged(None, Verdict.FAILED).wrong is Wrong.UNTOLD


@pytest.mark.parametrize("contradicted", [{}, {"second": 3}])
def test_a_word_that_no_server_has_signed_is_no_dispute(contradicted: dict[str, int]) -> None:
    with pytest.raises(PeerError, match="no dispute"):
        judged(Replay(exchanges=1), contradicted=contradicted)


def test_a_dispute_about_a_tail_that_was_left_behind_is_found_by_the_words_in_the_takeover() -> None:
    scribe = three_servers()
    words = [disputed_word(scribe, each) for each in WITNESSES]
    takeover = against(scribe)
    scribe.leader = SECOND
    scribe.add(takeover)
    later = word(scribe, Comparison.EQUAL, term=2)
    assert scribe.chain.head is not None
    assert words_in_takeovers(scribe.chain.head, scribe.source) == tuple(words)
    beside = AcksGrantsProofs(acks=(*words, later))
    found = disputed(beside, scribe.chain.run)
    assert found is not None
    dispute, ack = found
    assert (dispute.record, acks_up_to(beside, ack).acks) == (takeover.against, tuple(words))


def test_a_dispute_is_found_by_its_word_and_its_file_by_the_first_block(tmp_path: Path) -> None:
    scribe = Scribe(MEMBERS)
    scribe.add(scribe.run())
    scribe.add(scribe.dispatch(scribe.group(ALICE, BOB)))
    equal, against = word(scribe, Comparison.EQUAL), word(scribe)
    assert disputed(AcksGrantsProofs(acks=(equal,)), scribe.chain.run) is None
    found = disputed(AcksGrantsProofs(acks=(equal, against)), scribe.chain.run)
    assert found is not None
    assert found[0] == Dispute(scribe.chain.head, against.cid)

    block, file = found[0].block(), tmp_path / "dispute.car"
    assert dispute_in(block) == found[0]
    file.write_bytes(b"".join(write_car([block.cid, against.cid], [block, against])))
    assert dispute_of_file(file) == found[0]
    file.write_bytes(b"".join(write_car([against.cid], [against])))
    assert dispute_of_file(file) is None
