"""A run that a revoked or removed server's key signed, seen by a home that knows the revocation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from chains import ADMIN, ALICE, BOB, SERVER, STRANGER, TIME, id_of
from command_line import Outcome, Peer
from inspected_runs import WrittenRun

from crypto.keys import SigningKey
from peer.base.errors import ExitCode
from peer.engine.local.engine import LocalEngine
from peer.home.federations import FederationStore, StoredFederation
from peer.home.home import Home
from peer.home.journal import Journal
from protocol.blocks.cid import CID, Block, cbor_block
from protocol.blocks.listing import Listing
from protocol.federation.manifest import manifest_at
from protocol.federation.unsigned_versions import UnsignedVersion, with_member, with_revoked, without_member
from protocol.records.bodies import Ack, Role
from protocol.records.signed_records import sign_record


class LaterRun(WrittenRun):
    """A run, its members' acks, and what became of the federation afterwards, which the run does not know."""

    def __init__(self) -> None:
        super().__init__()
        self.acks: list[Block] = []
        self.newest = self.scribe.manifest

    def close(self) -> None:
        self.scribe.add(self.scribe.close(model=self.model(2)))

    def only_errors(self) -> None:
        """What somebody with only the server's key can write: no client answers."""
        self.scribe.add(self.scribe.dispatch(self.scribe.group(ALICE, BOB, content=self.model(1))))
        self.scribe.add(self.scribe.collect(self.scribe.error(ALICE), self.scribe.error(BOB)))
        self.close()

    def ack(self, member: SigningKey, signer: SigningKey | None = None, *, head: CID | None = None) -> None:
        body = Ack(
            by=id_of(member),
            time=TIME,
            run=self.run,
            term=1,
            height=self.height,
            head=head or self.head,
            replies=Listing(()),
        )
        self.acks.append(sign_record(body, [signer or member]))

    def revoke(self, member: SigningKey) -> None:
        self._next(with_revoked(self.newest, self.newest.members[id_of(member)], by=id_of(ADMIN), time=TIME))

    def remove(self, member: SigningKey) -> None:
        self._next(without_member(self.newest, id_of(member), by=id_of(ADMIN), time=TIME))

    def make_client(self, member: SigningKey) -> None:
        listed = replace(self.newest.members[id_of(member)], roles=(Role.CLIENT,))
        self._next(with_member(self.newest, listed, None, by=id_of(ADMIN), time=TIME))

    def _next(self, unsigned: UnsignedVersion) -> None:
        block = self.scribe.next_manifest(unsigned)
        self.newest = manifest_at(block.cid, self.scribe.first.cid, self.scribe.source)


@pytest.fixture
def run() -> LaterRun:
    return LaterRun()


@pytest.fixture
def home(peers: Callable[[str], Peer], tmp_path: Path) -> Callable[[LaterRun], tuple[Peer, str]]:
    """A home that has the newest manifest, and its engine, which has the run."""

    def make(run: LaterRun) -> tuple[Peer, str]:
        peer = peers("auditor")
        engine = LocalEngine(tmp_path / "engine")
        engine.put(run.blocks)
        engine.close()
        place = Home(peer.home).create()
        FederationStore(place).save(StoredFederation(run.newest, dict(run.scribe.source), b"k" * 32, ()))
        with Journal(place.journal) as journal:
            journal.keep_beside(run.run, run.acks)
        return peer, engine.address

    return make


@pytest.fixture
def audit(home: Callable[[LaterRun], tuple[Peer, str]]) -> Callable[[LaterRun], Outcome]:
    def audited(run: LaterRun) -> Outcome:
        peer, engine = home(run)
        return peer("audit", str(run.head), "--ipfs", engine, "--json")

    return audited


Audited = Callable[[LaterRun], Outcome]


def rules(outcome: Outcome) -> list[str]:
    return [finding["rule"] for finding in outcome.json["findings"]]


def test_a_run_that_a_thief_wrote_after_the_revocation_is_not_verified(run: LaterRun, audit: Audited) -> None:
    run.only_errors()
    run.revoke(SERVER)
    outcome = audit(run)
    assert outcome.code == ExitCode.UNFINISHED
    assert rules(outcome) == ["revoked"]
    assert "version 2, which this run does not know, revokes the key" in outcome.json["findings"][0]["message"]


def test_nor_is_one_of_a_server_that_was_removed(run: LaterRun, audit: Audited) -> None:
    run.only_errors()
    run.remove(SERVER)
    assert rules(audit(run)) == ["revoked"]


def test_nor_one_of_a_member_that_is_no_server_any_more(run: LaterRun, audit: Audited) -> None:
    run.only_errors()
    run.make_client(SERVER)
    assert rules(audit(run)) == ["revoked"]


def test_a_member_that_is_no_server_any_more_may_say_so_itself(run: LaterRun, audit: Audited) -> None:
    run.exchange(1)
    run.make_client(SERVER)
    run.scribe.add(run.scribe.roster(run.newest.cid))
    assert audit(run).code == ExitCode.DONE


def test_a_removed_member_may_not(run: LaterRun, audit: Audited) -> None:
    run.exchange(1)
    run.remove(SERVER)
    run.scribe.add(run.scribe.roster(run.newest.cid))
    assert rules(audit(run)) == ["revoked"]


def test_an_ack_at_the_end_shows_that_all_of_it_was_before(run: LaterRun, audit: Audited) -> None:
    run.exchange(1)
    run.close()
    run.ack(ALICE)
    run.revoke(SERVER)
    assert audit(run).code == ExitCode.DONE


def test_an_ack_shows_nothing_of_what_is_above_it(run: LaterRun, audit: Audited) -> None:
    run.exchange(1)
    run.ack(ALICE)
    run.close()
    run.revoke(SERVER)
    outcome = audit(run)
    assert rules(outcome) == ["revoked"]
    assert "Nothing above height 2 shows" in outcome.json["findings"][0]["message"]


def test_replies_show_the_dispatch_that_they_answer_and_no_more(run: LaterRun, audit: Audited) -> None:
    run.exchange(1)
    run.close()
    run.revoke(SERVER)
    assert "Nothing above height 1 shows" in audit(run).json["findings"][0]["message"]


@pytest.mark.parametrize("signer", [SERVER, STRANGER], ids=["the thief's own", "a stranger's"])
def test_an_ack_of_somebody_that_does_not_count_shows_nothing(
    run: LaterRun, audit: Audited, signer: SigningKey
) -> None:
    run.only_errors()
    run.ack(SERVER if signer is SERVER else ALICE, signer)
    run.revoke(SERVER)
    assert rules(audit(run)) == ["revoked"]


def test_an_ack_of_another_revoked_member_shows_nothing(run: LaterRun, audit: Audited) -> None:
    run.only_errors()
    run.ack(ALICE)
    run.revoke(SERVER)
    run.revoke(ALICE)
    assert rules(audit(run)) == ["revoked"]


def test_a_reply_with_a_revoked_key_needs_somebody_elses_word(run: LaterRun, audit: Audited) -> None:
    run.exchange(1)
    run.close()
    run.revoke(BOB)
    outcome = audit(run)
    assert outcome.code == ExitCode.UNFINISHED
    assert "bob signed a reply" in outcome.json["findings"][0]["message"]


def test_an_ack_of_another_client_is_such_a_word(run: LaterRun, audit: Audited) -> None:
    run.exchange(1)
    run.ack(ALICE)
    run.close()
    run.revoke(BOB)
    assert audit(run).code == ExitCode.DONE


def test_a_roster_of_the_leaders_that_brings_the_revocation_is_another(run: LaterRun, audit: Audited) -> None:
    run.exchange(1)
    run.revoke(BOB)
    run.scribe.add(run.scribe.roster(run.newest.cid))
    run.close()
    run.remove(ALICE)
    assert audit(run).code == ExitCode.DONE


def test_a_client_that_only_left_takes_nothing_back(run: LaterRun, audit: Audited) -> None:
    run.exchange(1)
    run.close()
    run.remove(BOB)
    assert audit(run).code == ExitCode.DONE


def test_no_model_is_taken_out_of_such_a_run(
    run: LaterRun, home: Callable[[LaterRun], tuple[Peer, str]], tmp_path: Path
) -> None:
    run.only_errors()
    run.revoke(SERVER)
    peer, engine = home(run)
    outcome = peer("model", str(run.head), "-o", tmp_path / "m.safetensors", "--ipfs", engine)
    assert outcome.code == ExitCode.UNFINISHED
    assert "(revoked)" in outcome.err
    assert not (tmp_path / "m.safetensors").exists()


# -- what a revoked key says of a run ----------------------------------------------------------------------------------


def test_an_ack_of_another_history_by_a_key_that_is_revoked_is_a_remark(run: LaterRun, audit: Audited) -> None:
    run.exchange(1)
    run.ack(ALICE, head=cbor_block("another").cid)
    run.ack(BOB)
    run.close()
    run.revoke(ALICE)
    outcome = audit(run)
    assert (outcome.code, rules(outcome)) == (ExitCode.DONE, [])
    assert [remark["rule"] for remark in outcome.json["remarks"]] == [
        "another-history-by-revoked-key",
        "unsettled-close",
    ]
    assert "a thief may have used" in outcome.json["remarks"][0]["message"]


def test_and_a_finding_by_a_key_that_counts(run: LaterRun, audit: Audited) -> None:
    run.exchange(1)
    run.ack(ALICE, head=cbor_block("another").cid)
    run.close()
    assert rules(audit(run)) == ["another-history"]


@pytest.mark.parametrize(("acked", "why"), [(False, "(revoked)"), (True, "model")], ids=["", "acked"])
def test_nor_does_a_run_in_another_federation_begin_with_it(
    run: LaterRun, home: Callable[[LaterRun], tuple[Peer, str]], acked: bool, why: str
) -> None:
    """The acks of a run count here too: with them only the model is unfit."""
    run.only_errors()
    if acked:
        run.ack(ALICE)
    run.revoke(SERVER)
    peer, engine = home(run)
    peer.named("me")
    assert peer("federation", "init", "another").code == ExitCode.DONE
    options = ("--role", "server", "--federation", "another", "--initial-model", str(run.head))
    outcome = peer("start", *options, "--dataset", "digits", "--model", "mlp", "--ipfs", engine)
    assert outcome.code != ExitCode.DONE
    assert why in outcome.err
    assert ("revoked" in outcome.err) is not acked
