"""``peer audit``: what it says of a run that is right, and of runs that are not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chains import ADMIN, ALICE, BOB, CAROL, STRANGER, Scribe, id_of
from command_line import Outcome, Peer
from inspected_runs import WrittenRun, finished_run

from peer.base.errors import ExitCode
from peer.engine.local.engine import LocalEngine
from peer.home.federations import FederationStore, StoredFederation
from peer.home.home import Home
from protocol.blocks.car import write_car
from protocol.blocks.cid import CID, Block, MemoryBlocks, cbor_block, decode_cbor
from protocol.chain.rules import BlockHash, Term
from protocol.federation.manifest import manifest_at
from protocol.records.bodies import Chained, Federation, Reply
from protocol.records.signed_records import parse_record, sign_record


@pytest.fixture(scope="module")
def written() -> WrittenRun:
    """One run for all tests that do not change it."""
    return finished_run()


class Store:
    """A directory engine with blocks in it, and the audits of it."""

    def __init__(self, folder: Path, peer: Peer) -> None:
        self.folder = folder
        self.peer = peer

    def put(self, blocks: Iterable[Block]) -> Store:
        engine = LocalEngine(self.folder)
        engine.put(blocks)
        engine.close()
        return self

    def file(self, cid: CID) -> Path:
        (path,) = self.folder.rglob(str(cid))
        return path

    def audit(self, head: CID | str) -> Outcome:
        return self.peer("audit", str(head), "--ipfs", f"local:{self.folder}", "--json")


@pytest.fixture
def store(tmp_path: Path, peers: Callable[[str], Peer]) -> Store:
    return Store(tmp_path / "engine", peers("auditor"))


@pytest.fixture
def car(tmp_path: Path) -> Callable[[CID, Iterable[Block]], Path]:
    def write(head: CID, blocks: Iterable[Block]) -> Path:
        path = tmp_path / "run.car"
        path.write_bytes(b"".join(write_car([head], blocks)))
        return path

    return write


def only_finding(outcome: Outcome) -> tuple[int | None, str]:
    """The height and rule of the one finding."""
    (finding,) = outcome.json["findings"]
    assert set(finding) == {"height", "cid", "rule", "message", "count"}
    return finding["height"], finding["rule"]


def without(written: WrittenRun, *cids: CID) -> list[Block]:
    return [block for block in written.blocks if block.cid not in cids]


# -- a run that is right -------------------------------------------------------------------------------------------


def test_a_whole_run_is_verified(store: Store, written: WrittenRun) -> None:
    outcome = store.put(written.blocks).audit(written.head)
    assert outcome.code == ExitCode.DONE
    expected = {
        "verdict": "verified",
        "run": str(written.run),
        "head": str(written.head),
        "rounds": 2,
        "records": 6,
        "members": 5,
        "findings": [],
        "closed": True,
        "outcome": "returned",
    }
    assert outcome.json.items() >= expected.items()


def test_a_car_needs_no_engine(written: WrittenRun, car: Any, peers: Callable[[str], Peer]) -> None:
    outcome = peers("nobody")("audit", car(written.head, written.blocks), "--json")
    assert outcome.code == ExitCode.DONE
    assert outcome.json["verdict"] == "verified"
    assert not peers("nobody").home.exists()


def test_the_order_in_a_car_does_not_matter(written: WrittenRun, car: Any, store: Store) -> None:
    for blocks in (written.blocks, written.blocks[::-1]):
        assert store.peer("audit", car(written.head, blocks), "--json").code == ExitCode.DONE


def test_the_rounds_say_who_gave_what(store: Store, written: WrittenRun) -> None:
    first, second = store.put(written.blocks).audit(written.head).json["exchanges"]
    assert (first["round"], first["participants"], first["types"]) == (1, ["alice", "bob"], ["train"])
    assert [answer["metrics"]["loss"] for answer in first["answers"]] == [0.5, 1.0]
    assert (second["answers"][1]["name"], second["answers"][1]["reason"]) == ("bob", "no answer in time")


def test_metrics_are_averaged_by_examples(store: Store, written: WrittenRun) -> None:
    first, second = store.put(written.blocks).audit(written.head).json["exchanges"]
    assert (first["metrics"], second["metrics"]) == ({"loss": 0.625}, {"loss": 0.5})


def test_sizes_are_those_of_the_contents(store: Store, written: WrittenRun) -> None:
    first, _ = store.put(written.blocks).audit(written.head).json["exchanges"]
    assert first["bytes_sent"] > 1_200_000 > first["bytes_received"] > 0


def test_people_see_a_table_and_the_verdict(store: Store, written: WrittenRun) -> None:
    store.put(written.blocks)
    lines = store.peer("audit", str(written.head), "--ipfs", f"local:{store.folder}").out.splitlines()
    assert lines[2].split() == ["1", "1", "train", "alice,", "bob", "1.2", "MB", "163", "B", "loss", "0.625"]
    assert lines[3].endswith('bob: "no answer in time" (code 3)')
    assert lines[-1].startswith("verified")


def test_an_open_run_is_verified_as_far_as_it_goes(store: Store) -> None:
    begun = WrittenRun()
    outcome = store.put(begun.blocks).audit(begun.head)
    assert (outcome.json["verdict"], outcome.json["closed"]) == ("verified", False)


def test_a_long_chain_is_verified_over_its_indexes(store: Store) -> None:
    long = WrittenRun()
    long.lengthen(520)
    outcome = store.put(long.blocks).audit(long.head)
    assert (outcome.json["verdict"], outcome.json["records"]) == ("verified", 521)


# -- what is missing -----------------------------------------------------------------------------------------------


def test_a_content_that_is_missing_makes_it_incomplete(store: Store, written: WrittenRun) -> None:
    model = written.model(2)
    outcome = store.put(without(written, model)).audit(written.head)
    assert outcome.code == ExitCode.UNFINISHED
    assert outcome.json["verdict"] == "incomplete"
    assert only_finding(outcome) == (5, "missing-block")


def test_a_record_that_is_missing_makes_it_incomplete(store: Store, written: WrittenRun) -> None:
    collect = record_at(written, 2).cid
    outcome = store.put(without(written, collect)).audit(written.head)
    assert outcome.code == ExitCode.UNFINISHED
    assert only_finding(outcome) == (2, "missing-block")
    assert outcome.json["findings"][0]["cid"] == str(collect)


def test_a_reply_that_is_missing_makes_it_incomplete(store: Store, written: WrittenRun) -> None:
    reply = next(record for record in records(written) if isinstance(record.body, Reply))
    assert only_finding(store.put(without(written, reply.cid)).audit(written.head)) == (2, "missing-block")


def test_a_head_that_nobody_has_is_incomplete(store: Store, written: WrittenRun) -> None:
    outcome = store.put([]).audit(written.head)
    assert outcome.code == ExitCode.UNFINISHED
    assert only_finding(outcome) == (None, "missing-block")


def test_what_is_missing_is_told_with_what_brings_it(store: Store, written: WrittenRun) -> None:
    for there, verdict in (
        ([], "nothing of it is here"),
        (without(written, written.model(2)), "everything checked is right"),
    ):
        told = store.put(there).peer("audit", written.head, "--ipfs", f"local:{store.folder}").out
        assert f"incomplete: {verdict}" in told
        assert "fix: name the engine" in told


def test_a_car_cut_short_is_incomplete_wherever_it_is_cut(written: WrittenRun, car: Any, store: Store) -> None:
    path = car(written.head, reversed(written.blocks))
    data = path.read_bytes()
    for length in range(100, len(data), len(data) // 9):
        path.write_bytes(data[:length])
        outcome = store.peer("audit", path, "--json")
        assert (outcome.code, outcome.json["verdict"]) == (ExitCode.UNFINISHED, "incomplete")
        assert "car-cut-short" in {finding["rule"] for finding in outcome.json["findings"]}


# -- what is wrong -------------------------------------------------------------------------------------------------


def test_a_broken_rule_is_named_with_its_height(store: Store) -> None:
    written = WrittenRun()
    head = written.scribe.sign(written.scribe.close(term=2))
    outcome = store.put(written.blocks).audit(head.cid)
    assert (outcome.code, outcome.json["verdict"]) == (ExitCode.VERIFICATION_FAILED, "failed")
    assert only_finding(outcome) == (1, Term.name)


def test_a_forged_record_is_a_fault_even_if_others_are_missing(store: Store, written: WrittenRun) -> None:
    head = parse_record(Block(written.head, written.scribe.source[written.head]))
    wrong = flip_signature(sign_record(head.body, [STRANGER]))
    outcome = store.put([wrong, *without(written, record_at(written, 2).cid)]).audit(wrong.cid)
    assert outcome.code == ExitCode.VERIFICATION_FAILED
    assert {finding["rule"] for finding in outcome.json["findings"]} == {"missing-block", "signature"}


def flip_signature(block: Block) -> Block:
    value = decode_cbor(block.data)
    signature = value["sigs"][0]["sig"]
    value["sigs"][0]["sig"] = bytes([signature[0] ^ 1]) + signature[1:]
    return cbor_block(value)


def test_two_replies_to_one_message_are_shown_as_contradiction(written: WrittenRun, car: Any, store: Store) -> None:
    reply = next(record for record in records(written) if isinstance(record.body, Reply))
    signer = {id_of(ALICE): ALICE, id_of(BOB): BOB}[reply.body.by]
    second = sign_record(replace(reply.body, created=0.5), [signer])
    outcome = store.peer("audit", car(written.head, [*written.blocks, second]), "--json")
    assert outcome.code == ExitCode.VERIFICATION_FAILED
    (finding,) = outcome.json["findings"]
    assert finding["rule"] == "equivocation"
    assert finding["message"].startswith("alice signed two")


def test_a_forged_second_reply_proves_nothing(written: WrittenRun, car: Any, store: Store) -> None:
    reply = next(record for record in records(written) if isinstance(record.body, Reply))
    forged = sign_record(replace(reply.body, created=0.5), [CAROL])
    assert store.peer("audit", car(written.head, [*written.blocks, forged]), "--json").json["verdict"] == "verified"


def test_what_is_no_head_is_wrong_use(store: Store, written: WrittenRun) -> None:
    reply = next(record for record in records(written) if isinstance(record.body, Reply))
    outcome = store.put(written.blocks).audit(reply.cid)
    assert outcome.code == ExitCode.WRONG_USE
    assert "is a reply record" in outcome.err


@pytest.mark.parametrize("text", ["nonsense", "absent.car"])
def test_what_is_neither_cid_nor_file_is_wrong_use(text: str, store: Store) -> None:
    assert store.audit(text).code == ExitCode.WRONG_USE


# -- one bit -------------------------------------------------------------------------------------------------------


def records(written: WrittenRun) -> Iterator[Any]:
    """Every record: of the chain, replies, manifests."""
    for block in written.blocks:
        if not block.cid.is_raw and b"sigs" in block.data:
            yield parse_record(block)


def record_at(written: WrittenRun, height: int) -> Any:
    return next(each for each in records(written) if isinstance(each.body, Chained) and each.body.height == height)


def expected_height(written: WrittenRun, record: Any) -> int:
    """Where an audit meets a record: at its own height, or at that of the record which needs it."""
    match record.body:
        case Chained(height=height):
            return int(height)
        case Federation():
            return 0
        case Reply(dispatch=dispatch):
            return int(parse_record(Block(dispatch, written.scribe.source[dispatch])).body.height) + 1
    raise AssertionError(record)


def flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


def test_a_bit_in_any_stored_record_fails_at_its_height(store: Store, written: WrittenRun) -> None:
    store.put(written.blocks)
    for record in records(written):
        file = store.file(record.cid)
        data = file.read_bytes()
        for position in (0, len(data) // 2, len(data) - 1):
            file.write_bytes(flipped(data, position))
            outcome = store.audit(written.head)
            assert outcome.code == ExitCode.VERIFICATION_FAILED
            assert only_finding(outcome) == (expected_height(written, record), BlockHash.name)
            assert outcome.json["findings"][0]["cid"] == str(record.cid)
        file.write_bytes(data)


def test_a_bit_in_any_record_of_a_car_fails_at_its_height(written: WrittenRun, car: Any, store: Store) -> None:
    path = car(written.head, written.blocks)
    whole = path.read_bytes()
    for record in records(written):
        start = whole.index(bytes(record.cid) + written.scribe.source[record.cid])
        size = 36 + len(written.scribe.source[record.cid])
        for position in (0, 10, 36, size // 2, size - 1):  # in the CID too
            path.write_bytes(flipped(whole, start + position))
            outcome = store.peer("audit", path, "--json")
            assert outcome.code == ExitCode.VERIFICATION_FAILED
            first = outcome.json["findings"][0]
            assert (first["height"], first["rule"]) == (expected_height(written, record), BlockHash.name)


def test_a_bit_in_any_content_fails_at_the_record_that_links_it(store: Store, written: WrittenRun) -> None:
    store.put(written.blocks)
    known = {record.cid for record in records(written)}
    for block in written.blocks:
        if block.cid in known:
            continue
        file = store.file(block.cid)
        file.write_bytes(flipped(block.data, len(block.data) // 2))
        outcome = store.audit(written.head)
        assert outcome.code == ExitCode.VERIFICATION_FAILED, block
        assert outcome.json["findings"][0]["height"] is not None
        file.write_bytes(block.data)


def test_a_bit_in_an_update_is_told_with_whose_it_is(store: Store, written: WrittenRun) -> None:
    store.put(written.blocks)
    update = store.file(written.answer(loss=0.5, examples=30))  # Alice's, in both rounds
    update.write_bytes(flipped(update.read_bytes(), 9))
    (finding,) = store.audit(written.head).json["findings"]
    assert (finding["height"], finding["rule"]) == (2, "block-hash")
    assert finding["message"].startswith("in what alice answered: block ")


def test_a_car_is_never_verified_with_a_byte_changed(written: WrittenRun, car: Any, store: Store) -> None:
    path = car(written.head, written.blocks)
    whole = path.read_bytes()
    for position in range(3, len(whole), len(whole) // 40):
        path.write_bytes(flipped(whole, position))
        assert store.peer("audit", path, "--json").code != ExitCode.DONE


# -- whose keys ----------------------------------------------------------------------------------------------------


def test_a_home_in_the_federation_knows_whose_keys_these_are(store: Store, written: WrittenRun) -> None:
    join(store.peer, written, [])
    assert store.put(written.blocks).audit(written.head).json["federation"]["root"] == "joined"


def test_a_run_on_another_branch_of_the_federation_fails(store: Store, written: WrittenRun) -> None:
    scribe = written.scribe
    other = Scribe()  # version 2 as the run has it, and another version 2
    other.add(other.run())
    dave = other.with_dave()
    other.add(other.roster(dave.cid))
    body = parse_record(dave).body
    branch = sign_record(replace(body, time=0.5), [ADMIN])
    join(store.peer, written, [branch])
    blocks = [Block(cid, data) for cid, data in other.source.items()]
    assert other.chain.head is not None
    outcome = store.put(blocks).audit(other.chain.head)
    assert outcome.code == ExitCode.VERIFICATION_FAILED
    assert "federation-branch" in {finding["rule"] for finding in outcome.json["findings"]}
    assert scribe.first.cid == other.first.cid


def join(peer: Peer, written: WrittenRun, versions: list[Block]) -> None:
    """Put the tests' federation, up to ``versions``, into a home."""
    first = written.scribe.first.cid
    blocks = {first: written.scribe.source[first], **{block.cid: block.data for block in versions}}
    manifest = manifest_at(versions[-1].cid if versions else first, first, MemoryBlocks(blocks))
    FederationStore(Home(peer.home).create()).save(StoredFederation(manifest, blocks, b"k" * 32, ()))
