"""``peer audit PROOF``: two records that one signer signed at one place, checked without a chain."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest
from chains import ALICE, CONTENT, SERVER, Scribe, begun, id_of
from command_line import Peer
from inspected_runs import WrittenRun, finished_run

from crypto.keys import SigningKey
from peer.engine.local import LocalEngine
from peer.errors import ExitCode
from peer.home import Home
from peer.journal import Journal
from protocol.blocks import Block, cbor_block
from protocol.car import write_car
from protocol.equivocation import Equivocation, equivocation
from protocol.records import Body
from protocol.signed import parse_record


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
    with contextlib.closing(Journal(Home(peer.home).create().journal)) as journal:
        journal.keep_proof(found.run, found.blocks())
    assert peer("audit", str(found.blocks()[0].cid)).code == ExitCode.VERIFICATION_FAILED


def test_two_records_that_contradict_nothing_are_wrong_use(peer: Peer, tmp_path: Path) -> None:
    _, first, _ = of_server().blocks()
    nothing = cbor_block({"first": first.cid, "second": first.cid})
    outcome = peer("audit", car_of(tmp_path / "proof.car", nothing, first))
    assert outcome.code == ExitCode.WRONG_USE
    assert "no proof of equivocation" in outcome.err


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
    with contextlib.closing(Journal(Home(peer.home).create().journal)) as journal:
        journal.keep_proof(found.run, found.blocks())
    assert peer("audit", str(written.head), "--ipfs", engine).code == ExitCode.VERIFICATION_FAILED
    file = tmp_path / "run.car"
    assert peer("export", str(written.head), file, "--ipfs", engine).code == ExitCode.DONE
    outcome = peers("other")("audit", file, "--json")
    assert outcome.code == ExitCode.VERIFICATION_FAILED
    assert [finding["rule"] for finding in outcome.json["findings"]] == ["equivocation"]
    assert found.key == id_of(SERVER)
