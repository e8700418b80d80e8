"""``peer audit PROOF``: two records that one signer signed at one place, checked without a chain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest
from chains import ADMIN, ALICE, BOB, CONTENT, MEMBERS, SERVER, STRANGER, TIME, Scribe, begun, id_of, rotated
from command_line import Peer
from inspected_runs import WrittenRun, finished_run

from crypto.keys import SigningKey
from peer.audit.equivocation_proof import check_proof
from peer.audit.key_history import KeyHistory
from peer.base.errors import ExitCode
from peer.engine.local.engine import LocalEngine
from peer.home.federations import StoredFederation
from peer.home.home import Home
from peer.home.journal import Journal
from protocol.blocks.car import write_car
from protocol.blocks.cid import Block, MemoryBlocks, cbor_block
from protocol.federation.manifest import Manifest
from protocol.federation.unsigned_versions import with_member, with_revoked
from protocol.records.bodies import Body
from protocol.records.equivocation import Equivocation, NoProof, equivocation
from protocol.records.signed_records import parse_record


def proven(scribe: Scribe, one: Body, other: Body, signer: SigningKey) -> Equivocation:
    found = equivocation(*(parse_record(scribe.sign(body, signer)) for body in (one, other)))
    assert found is not None
    return found


def of_server() -> Equivocation:
    scribe = begun()
    return proven(scribe, scribe.dispatch(), scribe.close(), SERVER)


def of_client(scribe: Scribe) -> Equivocation:
    return proven(scribe, scribe.reply_body(ALICE), scribe.reply_body(ALICE, content=CONTENT), ALICE)


def car_of(file: Path, *blocks: Block) -> Path:
    file.write_bytes(b"".join(write_car([blocks[0].cid], blocks)))
    return file


@pytest.fixture
def peer(peers: Callable[[str], Peer]) -> Peer:
    return peers("peer")


def engine_with(folder: Path, *blocks: Block) -> str:
    engine = LocalEngine(folder)
    engine.put(blocks)
    engine.close()
    return engine.address


def test_a_file_with_a_proof_says_who_where_and_how_the_records_differ(peer: Peer, tmp_path: Path) -> None:
    found = of_server()
    outcome = peer("audit", car_of(tmp_path / "proof.car", *found.blocks()))
    assert outcome.code == ExitCode.VERIFICATION_FAILED
    for said in (SERVER.verify_key.did, f"run {found.run}, term 1, height 2", str(found.second.cid), "differs in"):
        assert said in outcome.out


def test_a_proof_is_not_attested(peer: Peer, tmp_path: Path) -> None:
    car, file = car_of(tmp_path / "proof.car", *of_server().blocks()), tmp_path / "a.json"
    outcome = peer.named("carol")("audit", car, "--attest", file)
    assert (outcome.code, "for an audit of a run" in outcome.err) == (ExitCode.WRONG_USE, True)
    assert not file.exists()


def test_a_proof_in_an_engine_is_one_object_of_json(peer: Peer, tmp_path: Path) -> None:
    found = of_client(begun())
    proof = found.blocks()
    outcome = peer("audit", str(proof[0].cid), "--json", "--ipfs", engine_with(tmp_path / "engine", *proof))
    assert outcome.code == ExitCode.VERIFICATION_FAILED
    told = outcome.json
    assert (told["by"], told["signer"]) == (ALICE.verify_key.did, ALICE.verify_key.did)
    assert [record["type"] for record in told["records"]] == ["reply", "reply"]
    assert [difference["field"] for difference in told["differences"]] == ["content"]


def test_a_proof_that_this_home_keeps_needs_no_engine(peer: Peer) -> None:
    found = of_server()
    with Journal(Home(peer.home).create().journal) as journal:
        journal.keep_proof(found.run, found.blocks())
    assert peer("audit", str(found.blocks()[0].cid)).code == ExitCode.VERIFICATION_FAILED


def test_two_records_that_contradict_nothing_are_wrong_use(peer: Peer, tmp_path: Path) -> None:
    _, first, _ = of_server().blocks()
    nothing = cbor_block({"first": first.cid, "second": first.cid})
    outcome = peer("audit", car_of(tmp_path / "proof.car", nothing, first))
    assert outcome.code == ExitCode.WRONG_USE
    assert "no proof of equivocation" in outcome.err


def test_what_a_stranger_signed_in_the_servers_name_proves_nothing_about_the_server(peer: Peer, tmp_path: Path) -> None:
    scribe = begun()
    framed = proven(scribe, scribe.dispatch(), scribe.close(), STRANGER)
    outcome = peer("audit", car_of(tmp_path / "proof.car", *framed.blocks()), "--full")
    assert outcome.code == ExitCode.WRONG_USE
    assert f"the key {STRANGER.verify_key.did} signed both records" in outcome.err
    assert "proves nothing about that member" in outcome.err


def whose(scribe: Scribe, found: Equivocation, newest: Manifest) -> str:
    """What a home that knows the scribe's federation says against a proof; empty if it holds."""
    stored = StoredFederation(newest, MappingProxyType(scribe.source), None, ())
    proof, *records = found.blocks()
    try:
        check_proof(proof, MemoryBlocks({block.cid: block.data for block in records}), [stored])
    except NoProof as error:
        return str(error)
    return ""


def with_rotated_alice() -> tuple[Scribe, Manifest]:
    """A federation in which Alice's key is now the stranger's."""
    scribe = begun()
    alice = rotated(MEMBERS["alice"], ALICE, STRANGER, place=scribe.first.cid)
    unsigned = with_member(scribe.first, alice, "alice", by=id_of(ADMIN), time=TIME)
    return scribe, scribe.read_manifest(scribe.next_manifest(unsigned).cid)


def test_a_proof_holds_by_any_key_that_the_member_has_had() -> None:
    scribe, newest = with_rotated_alice()
    one, other = scribe.reply_body(ALICE), scribe.reply_body(ALICE, content=CONTENT)
    assert [whose(scribe, proven(scribe, one, other, key), newest) for key in (ALICE, STRANGER)] == ["", ""]
    assert "not the member's" in whose(scribe, proven(scribe, one, other, BOB), newest)


def test_a_proof_by_a_revoked_key_is_against_nobody() -> None:
    scribe = begun()
    unsigned = with_revoked(scribe.first, MEMBERS["alice"], by=id_of(ADMIN), time=TIME)
    newest = scribe.read_manifest(scribe.next_manifest(unsigned).cid)
    found = proven(scribe, scribe.reply_body(ALICE), scribe.reply_body(ALICE, content=CONTENT), ALICE)
    assert "is revoked" in whose(scribe, found, newest)


def test_a_proof_without_one_of_its_records_cannot_be_checked(peer: Peer, tmp_path: Path) -> None:
    proof, first, _ = of_server().blocks()
    assert peer("audit", car_of(tmp_path / "proof.car", proof, first)).code == ExitCode.UNFINISHED


# -- with a run ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written() -> WrittenRun:
    return finished_run()


def proof_against_the_leader(written: WrittenRun) -> Equivocation:
    last = parse_record(Block(written.head, written.scribe.source[written.head])).body
    return proven(written.scribe, last, written.scribe.index(height=written.height), SERVER)


def test_an_export_carries_the_proofs_of_its_run_and_the_audit_shows_them(
    peer: Peer, peers: Callable[[str], Peer], written: WrittenRun, tmp_path: Path
) -> None:
    found = proof_against_the_leader(written)
    engine = engine_with(tmp_path / "engine", *written.blocks)
    with Journal(Home(peer.home).create().journal) as journal:
        journal.keep_proof(found.run, found.blocks())
    assert peer("audit", str(written.head), "--ipfs", engine).code == ExitCode.VERIFICATION_FAILED
    file = tmp_path / "run.car"
    assert peer("export", str(written.head), file, "--ipfs", engine).code == ExitCode.DONE
    outcome = peers("other")("audit", file, "--json")
    assert outcome.code == ExitCode.VERIFICATION_FAILED
    assert [finding["rule"] for finding in outcome.json["findings"]] == ["equivocation"]
    assert found.key == id_of(SERVER)


def two_at_the_head(written: WrittenRun, signer: SigningKey) -> Equivocation:
    """Two other records at the head's place, by ``signer``."""
    last = parse_record(Block(written.head, written.scribe.source[written.head])).body
    return proven(written.scribe, replace(last, time=1.0), replace(last, time=2.0), signer)


def framed_in_a_file(written: WrittenRun, tmp_path: Path, signer: SigningKey) -> Path:
    """The run in a file, with a proof beside it, by ``signer``."""
    proof = two_at_the_head(written, signer).blocks()
    file = tmp_path / "run.car"
    file.write_bytes(b"".join(write_car([written.head, proof[0].cid], [*written.blocks, *proof])))
    return file


def test_an_audit_names_nobody_for_what_a_stranger_signed(peer: Peer, tmp_path: Path) -> None:
    outcome = peer("audit", framed_in_a_file(finished_run(), tmp_path, STRANGER), "--json")
    assert (outcome.code, outcome.json["findings"]) == (ExitCode.DONE, [])


def test_a_strangers_proof_does_not_hide_the_one_that_this_home_keeps(peer: Peer, tmp_path: Path) -> None:
    written = finished_run()
    file = framed_in_a_file(written, tmp_path, STRANGER)
    kept = two_at_the_head(written, SERVER)
    with Journal(Home(peer.home).create().journal) as journal:
        journal.keep_proof(kept.run, kept.blocks())
    outcome = peer("audit", file, "--json")
    assert outcome.code == ExitCode.VERIFICATION_FAILED
    assert [finding["rule"] for finding in outcome.json["findings"]] == ["equivocation"]


def test_a_strangers_records_do_not_hide_a_members_own(peer: Peer, tmp_path: Path) -> None:
    written = finished_run()
    last = parse_record(Block(written.head, written.scribe.source[written.head])).body
    decoy = written.scribe.sign(replace(last, time=0.0), STRANGER)
    two = [written.scribe.sign(replace(last, time=float(at)), SERVER) for at in (1, 2)]
    file = tmp_path / "run.car"
    file.write_bytes(b"".join(write_car([written.head], [decoy, *written.blocks, *two])))
    outcome = peer("audit", file, "--json")
    assert outcome.code == ExitCode.VERIFICATION_FAILED
    assert {finding["rule"] for finding in outcome.json["findings"]} == {"equivocation"}


# -- keys by position ----------------------------------------------------------------------------------------------


def test_a_key_proves_something_where_it_was_the_members_and_nowhere_else() -> None:
    scribe, newest = with_rotated_alice()
    had = KeyHistory()
    had.take(0, scribe.first)
    had.take(5, newest)
    body = replace(scribe.close(), by=id_of(ALICE))

    def proves(height: int, key: SigningKey) -> bool:
        at = replace(body, height=height)
        return had.proves(proven(scribe, at, replace(at, time=0.0), key), scribe.source)

    assert [proves(height, ALICE) for height in (1, 5, 6)] == [True, True, False]
    assert [proves(height, STRANGER) for height in (1, 5, 6)] == [False, False, True]
    replies = scribe.reply_body(ALICE), scribe.reply_body(ALICE, content=CONTENT)  # to a dispatch at height 1
    for key in (ALICE, STRANGER):
        assert had.proves(proven(scribe, *replies, key), scribe.source)
    assert not had.proves(proven(scribe, *replies, BOB), scribe.source)


def test_a_federations_file_says_whose_key_it_was(peers: Callable[[str], Peer], tmp_path: Path) -> None:
    scribe, newest = with_rotated_alice()
    found = proven(scribe, scribe.reply_body(ALICE), scribe.reply_body(ALICE, content=CONTENT), STRANGER)
    car, file = car_of(tmp_path / "proof.car", *found.blocks()), tmp_path / "trial.federation"
    file.write_bytes(StoredFederation(newest, dict(scribe.source), b"k" * 32, ()).to_bytes())
    auditor = peers("auditor")
    assert auditor("audit", car).code == ExitCode.WRONG_USE
    assert auditor("audit", car, "--federation", file).code == ExitCode.VERIFICATION_FAILED
