"""Acks in an audit: which members confirmed what, which saw another history, and which replies the leader denies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from chains import ALICE, BOB, SECOND, SERVER, TIME, id_of
from command_line import Outcome, Peer
from inspected_runs import WrittenRun

from crypto.keys import SigningKey
from peer.base.errors import ExitCode
from peer.engine.local.engine import LocalEngine
from peer.home import acks_grants_proofs as beside_module
from peer.home.home import Home
from peer.home.journal import Journal
from protocol.blocks.car import read_car, write_car
from protocol.blocks.cid import CID, Block, cbor_block
from protocol.blocks.listing import Listing
from protocol.records.bodies import Ack, Comparison, Recomputed, RecomputedAck, TakenReply
from protocol.records.signed_records import sign_record


class Acked(WrittenRun):
    """A run, with acks of its members."""

    def __init__(self, **run: Any) -> None:
        super().__init__(**run)
        self.acks: list[Block] = []

    def ack(self, member: SigningKey, *replies: CID, signer: SigningKey | None = None, head: CID | None = None) -> None:
        """``member`` confirms the head, or says that it is another."""
        body = Ack(
            by=id_of(member),
            time=TIME,
            run=self.run,
            term=1,
            height=self.height,
            head=head or self.head,
            replies=Listing(replies),
        )
        self.acks.append(sign_record(body, [signer or member]))

    def recompute(self, member: SigningKey, *, since: int = 1, equal: bool = True) -> None:
        """``member`` says that its own app did the same up to the head, or something else there."""
        told = Recomputed(
            since=since,
            comparison=Comparison.EQUAL if equal else Comparison.DIVERGED,
            message=None,
            content=None if equal else cbor_block("its own").cid,
        )
        body = RecomputedAck(
            by=id_of(member),
            time=TIME,
            run=self.run,
            term=1,
            height=self.height,
            head=self.head,
            replies=Listing(()),
            recomputed=told,
        )
        self.acks.append(sign_record(body, [member]))

    def silent_exchange(self, *, signed_late: float = 0.0) -> TakenReply:
        """Bob replies and acks that, and the leader says that he did not answer."""
        scribe = self.scribe
        scribe.add(scribe.dispatch(scribe.group(ALICE, BOB, content=self.model(9))))
        content = self.answer(loss=1.0, examples=10)
        reply = scribe.taken(BOB, content=content, time=TIME + signed_late)
        self.ack(BOB, reply.reply)
        scribe.add(scribe.collect(scribe.taken(ALICE, content=content), scribe.error(BOB)))
        return reply


@pytest.fixture
def run() -> Acked:
    run = Acked()
    run.exchange(1)
    return run


@pytest.fixture
def audited(peers: Callable[[str], Peer], tmp_path: Path) -> Callable[[Acked], tuple[Outcome, Path]]:
    """The audit of a run's export, made in a home that has its acks, and read in another."""

    def audit(run: Acked) -> tuple[Outcome, Path]:
        peer = peers("peer")
        engine = LocalEngine(tmp_path / "engine")
        engine.put(run.blocks)
        engine.close()
        with Journal(Home(peer.home).create().journal) as journal:
            journal.keep_beside(run.run, run.acks)
        file = tmp_path / "run.car"
        assert peer("export", str(run.head), file, "--ipfs", engine.address).code == ExitCode.DONE
        return peers("other")("audit", file, "--json"), file

    return audit


Audited = Callable[[Acked], tuple[Outcome, Path]]


def test_an_audit_says_who_confirmed_each_exchange(run: Acked, audited: Audited) -> None:
    run.ack(ALICE)
    run.ack(BOB)
    run.exchange(2)
    run.ack(ALICE)
    outcome, _ = audited(run)
    assert outcome.code == ExitCode.DONE
    assert outcome.json["confirmed"] == {"alice": 4, "bob": 2}
    assert [exchange["confirmed_by"] for exchange in outcome.json["exchanges"]] == [["alice", "bob"], ["alice"]]


def test_an_audit_says_which_servers_recomputed_each_exchange(run: Acked, audited: Audited) -> None:
    run.recompute(SECOND)
    run.exchange(2)
    run.exchange(3)
    run.recompute(SECOND, since=5)
    outcome, _ = audited(run)
    assert outcome.code == ExitCode.DONE
    assert outcome.json["recomputed"] == {"second server": [[1, 2], [5, 6]]}
    assert [exchange["recomputed_by"] for exchange in outcome.json["exchanges"]] == [
        ["second server"],
        [],
        ["second server"],
    ]


def test_updates_that_no_known_witness_stood_behind_are_a_remark_and_no_verdict(audited: Audited) -> None:
    run = Acked(witnesses=1)
    run.exchange(1)
    run.recompute(SECOND)
    run.exchange(2)
    outcome, _ = audited(run)
    assert (outcome.code, outcome.json["witnesses"], outcome.json["unwitnessed"]) == (ExitCode.DONE, 1, 1)
    (remark,) = outcome.json["remarks"]
    assert (remark["rule"], remark["height"], remark["count"]) == ("unwitnessed", 3, 2)


def test_one_servers_word_against_the_leaders_is_a_remark_and_no_verdict(run: Acked, audited: Audited) -> None:
    run.exchange(2)
    run.recompute(SECOND, equal=False)
    outcome, _ = audited(run)
    assert (outcome.code, outcome.json["findings"]) == (ExitCode.DONE, [])
    (remark,) = outcome.json["remarks"]
    assert (remark["rule"], remark["height"]) == ("contradicted", 4)
    assert "has run the app on the recorded replies too" in remark["message"]
    assert outcome.json["contradicted"] == {"second server": 4}
    assert outcome.json["recomputed"] == {"second server": [[1, 3]]}


@pytest.mark.parametrize("member", [SERVER, ALICE], ids=["the leader", "a client"])
def test_the_word_of_the_leader_and_of_a_client_is_none_of_a_second_server(
    member: SigningKey, run: Acked, audited: Audited
) -> None:
    run.recompute(member)
    outcome, _ = audited(run)
    assert (outcome.json["recomputed"], list(outcome.json["confirmed"].values())) == ({}, [2])


def test_an_ack_before_the_collect_does_not_confirm_it(run: Acked, audited: Audited) -> None:
    run.silent_exchange()
    outcome, _ = audited(run)
    assert [exchange["confirmed_by"] for exchange in outcome.json["exchanges"]] == [["bob"], []]


def test_the_audit_prints_who_confirmed_what(run: Acked, audited: Audited, peers: Callable[[str], Peer]) -> None:
    run.ack(ALICE)
    _, file = audited(run)
    said = peers("other")("audit", file).out
    assert "confirmed by" in said
    assert "height 2" in said


def test_a_file_that_leaves_an_ack_out_is_audited_with_the_one_that_this_home_has(
    run: Acked, peers: Callable[[str], Peer], tmp_path: Path
) -> None:
    run.ack(ALICE, head=cbor_block("another record").cid)
    file = tmp_path / "without.car"
    file.write_bytes(b"".join(write_car([run.head], run.blocks)))
    alice = peers("alice")
    with Journal(Home(alice.home).create().journal) as journal:
        journal.keep_beside(run.run, run.acks)
    assert peers("other")("audit", file).code == ExitCode.DONE
    outcome = alice("audit", file, "--json")
    assert outcome.code == ExitCode.VERIFICATION_FAILED
    assert [finding["rule"] for finding in outcome.json["findings"]] == ["another-history"]
    imported = alice("import", file, "--ipfs", f"local:{tmp_path / 'engine'}")
    assert imported.code == ExitCode.VERIFICATION_FAILED


def test_a_member_that_confirmed_another_history_is_a_finding(run: Acked, audited: Audited) -> None:
    run.ack(ALICE, head=cbor_block("another record").cid)
    outcome, _ = audited(run)
    assert outcome.code == ExitCode.VERIFICATION_FAILED
    (finding,) = outcome.json["findings"]
    assert (finding["rule"], finding["height"]) == ("another-history", 2)
    assert "alice confirmed another history" in finding["message"]


def test_an_ack_that_its_author_did_not_sign_confirms_nothing_and_accuses_nobody(run: Acked, audited: Audited) -> None:
    run.ack(ALICE, signer=BOB, head=cbor_block("another record").cid)
    run.ack(ALICE, signer=BOB)
    outcome, _ = audited(run)
    assert (outcome.code, outcome.json["confirmed"]) == (ExitCode.DONE, {})


def test_a_reply_that_the_leader_says_it_did_not_get_is_shown_and_no_verdict(run: Acked, audited: Audited) -> None:
    reply = run.silent_exchange()
    outcome, _ = audited(run)
    assert (outcome.code, outcome.json["findings"]) == (ExitCode.DONE, [])
    (remark,) = outcome.json["remarks"]
    assert remark["rule"] == "unheard-reply"
    assert "bob did not answer" in remark["message"]
    assert str(reply.reply) in remark["message"]


def test_a_reply_that_was_late_by_its_own_clock_is_not(run: Acked, audited: Audited) -> None:
    run.silent_exchange(signed_late=100.0)
    outcome, _ = audited(run)
    assert outcome.json["remarks"] == []


def test_a_chain_that_is_cut_back_is_told_by_a_member_that_has_seen_more(run: Acked, audited: Audited) -> None:
    run.scribe.add(run.scribe.dispatch(run.scribe.group(ALICE, content=run.sent[0])))
    run.ack(BOB)
    shorter = Acked()
    shorter.exchange(1)
    assert shorter.run == run.run
    shorter.acks = run.acks
    outcome, _ = audited(shorter)
    assert [remark["rule"] for remark in outcome.json["remarks"]] == ["confirmed-beyond"]


def test_what_many_members_and_acks_say_alike_is_one_remark(run: Acked, audited: Audited) -> None:
    for _ in range(4):
        content = run.sent[0]
        run.scribe.add(run.scribe.dispatch(run.scribe.group(ALICE, content=content)))
        run.ack(ALICE)
        run.ack(BOB)
        run.scribe.add(run.scribe.collect(run.scribe.taken(ALICE, content=content)))
    shorter = Acked()
    shorter.exchange(1)
    shorter.acks = run.acks
    outcome, _ = audited(shorter)
    (remark,) = outcome.json["remarks"]
    assert remark["count"] == 8
    assert "height 9" in remark["message"]
    assert "8 of this kind, by alice, bob" in remark["message"]


def test_one_members_other_histories_are_one_finding(run: Acked, audited: Audited) -> None:
    run.ack(ALICE, head=cbor_block("another record").cid)
    run.exchange(2)
    run.ack(ALICE, head=cbor_block("another record").cid)
    outcome, _ = audited(run)
    (finding,) = [each for each in outcome.json["findings"] if each["rule"] == "another-history"]
    assert (finding["height"], finding["count"]) == (2, 2)


def test_two_acks_at_one_height_are_equivocation(run: Acked, audited: Audited) -> None:
    run.ack(ALICE)
    run.ack(ALICE, cbor_block("a reply").cid)
    outcome, _ = audited(run)
    assert outcome.code == ExitCode.VERIFICATION_FAILED
    assert "equivocation" in {finding["rule"] for finding in outcome.json["findings"]}


def test_an_ack_beside_a_record_at_its_height_is_no_equivocation(run: Acked, audited: Audited) -> None:
    run.ack(SERVER)
    assert audited(run)[0].code == ExitCode.DONE


def test_many_acks_are_one_root(run: Acked, audited: Audited, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside_module, "MANY", 1)
    run.ack(ALICE)
    run.ack(BOB)
    outcome, file = audited(run)
    with file.open("rb") as stream:
        assert len(read_car(stream)[0]) == 2
    assert outcome.json["confirmed"] == {"alice": 2, "bob": 2}


def imported_acks(peer: Peer, run: CID) -> Sequence[Block]:
    with Journal(Home(peer.home).journal) as journal:
        return journal.beside(run)


def test_an_import_keeps_the_acks(run: Acked, audited: Audited, peers: Callable[[str], Peer], tmp_path: Path) -> None:
    run.ack(ALICE)
    _, file = audited(run)
    importer = peers("importer")
    assert importer("import", file, "--ipfs", f"local:{tmp_path / 'fresh'}").code == ExitCode.DONE
    assert imported_acks(importer, run.run) == run.acks
