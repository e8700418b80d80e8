"""``peer export``, ``peer import``, ``peer ls``, ``peer history`` and ``peer show``: runs in files and on screens."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from chains import ALICE, id_of
from command_line import Outcome, Peer
from inspected_runs import WrittenRun, finished_run

from peer.base.errors import ExitCode
from peer.engine.linked_blocks import walk
from peer.engine.local.engine import LocalEngine
from peer.home.home import Home
from peer.home.journal import Journal
from protocol.blocks.car import read_car, write_car
from protocol.blocks.cid import CID, Block, cbor_block, raw_block
from protocol.records.bodies import Chained
from protocol.records.signed_records import parse_record


@pytest.fixture(scope="module")
def written() -> WrittenRun:
    return finished_run()


@pytest.fixture
def engine(tmp_path: Path, written: WrittenRun) -> str:
    """An engine with the run and a stray block in it."""
    engine = LocalEngine(tmp_path / "engine")
    engine.put([*written.blocks, STRAY])
    engine.close()
    return engine.address


STRAY = cbor_block({"stray": [1, None, "text"]})


@pytest.fixture
def peer(peers: Callable[[str], Peer]) -> Peer:
    return peers("peer")


@pytest.fixture
def exported(peer: Peer, written: WrittenRun, engine: str, tmp_path: Path) -> Path:
    file = tmp_path / "run.car"
    assert peer("export", str(written.head), file, "--ipfs", engine).code == 0
    return file


# -- export --------------------------------------------------------------------------------------------------------


def test_an_export_holds_the_run_and_nothing_else(exported: Path, written: WrittenRun) -> None:
    with exported.open("rb") as stream:
        roots, blocks = read_car(stream)
        found = [block.cid for block in blocks]
    assert roots == (written.head,)
    assert len(found) == len(set(found))
    assert set(found) == needed(written)


def needed(written: WrittenRun) -> set[CID]:
    """What the head reaches."""
    return {block.cid for block in walk(written.head, lambda cid: Block(cid, written.scribe.source[cid]))}


def test_an_export_comes_newest_first(exported: Path, written: WrittenRun) -> None:
    with exported.open("rb") as stream:
        found = [block.cid for block in read_car(stream)[1]]
    assert found[0] == written.head
    assert found.index(written.run) > found.index(written.sent[0])


def test_an_export_is_verified_without_an_engine(exported: Path, peers: Callable[[str], Peer]) -> None:
    assert peers("other")("audit", exported).code == ExitCode.DONE


def test_an_export_of_a_run_that_is_not_whole_leaves_no_file(peer: Peer, written: WrittenRun, tmp_path: Path) -> None:
    part = LocalEngine(tmp_path / "part")
    part.put(block for block in written.blocks if block.cid != written.sent[0])
    part.close()
    outcome = peer("export", str(written.head), tmp_path / "run.car", "--ipfs", part.address)
    assert outcome.code == ExitCode.UNFINISHED
    assert "--ipfs" in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["part"]


def test_an_export_of_what_is_no_head_is_wrong_use(peer: Peer, engine: str, tmp_path: Path) -> None:
    assert peer("export", str(STRAY.cid), tmp_path / "run.car", "--ipfs", engine).code == ExitCode.WRONG_USE


# -- import --------------------------------------------------------------------------------------------------------


def test_an_imported_run_is_listed_and_whole(peer: Peer, exported: Path, written: WrittenRun, tmp_path: Path) -> None:
    fresh = f"local:{tmp_path / 'fresh'}"
    assert peer("import", exported, "--ipfs", fresh).code == ExitCode.DONE
    (listed,) = peer("ls", "--json").json["runs"]
    assert (listed["run"], listed["head"], listed["closed"]) == (str(written.run), str(written.head), True)
    assert peer("audit", str(written.head), "--ipfs", fresh).code == ExitCode.DONE


def test_the_height_of_a_damaged_head_is_known_if_its_run_is(
    peer: Peer, exported: Path, written: WrittenRun, engine: str, tmp_path: Path
) -> None:
    peer("import", exported, "--ipfs", engine)
    (file,) = (tmp_path / "engine").rglob(str(written.head))
    file.write_bytes(b"nothing of it is left")
    (finding,) = peer("audit", str(written.head), "--ipfs", engine, "--json").json["findings"]
    assert (finding["height"], finding["rule"]) == (written.height, "block-hash")


def test_what_fails_is_not_taken_in(peer: Peer, exported: Path, written: WrittenRun, tmp_path: Path) -> None:
    data = bytearray(exported.read_bytes())
    data[len(data) // 2] ^= 1
    exported.write_bytes(data)
    outcome = peer("import", exported, "--ipfs", f"local:{tmp_path / 'fresh'}")
    assert outcome.code == ExitCode.VERIFICATION_FAILED
    assert "peer audit" in outcome.err
    assert peer("ls", "--json").json["runs"] == []
    assert not (tmp_path / "fresh").exists()


def test_what_is_cut_short_is_not_taken_in(peer: Peer, exported: Path, tmp_path: Path) -> None:
    exported.write_bytes(exported.read_bytes()[:-100])
    outcome = peer("import", exported, "--ipfs", f"local:{tmp_path / 'fresh'}")
    assert outcome.code == ExitCode.UNFINISHED
    assert "incomplete" in outcome.err


@pytest.mark.parametrize("data", [b"", b"no car at all", b"\x00"], ids=["empty", "text", "zero"])
def test_what_is_no_car_is_refused(data: bytes, peer: Peer, tmp_path: Path) -> None:
    (tmp_path / "no.car").write_bytes(data)
    outcome = peer("import", tmp_path / "no.car")
    assert outcome.code in (ExitCode.WRONG_USE, ExitCode.UNFINISHED)
    assert "peer export HEAD FILE.car" in outcome.err


def test_a_car_whose_second_root_is_no_record_beside_a_run_is_refused(peer: Peer, tmp_path: Path) -> None:
    (tmp_path / "two.car").write_bytes(b"".join(write_car([STRAY.cid, STRAY.cid], [STRAY])))
    assert "2 roots" in peer("import", tmp_path / "two.car").err


def test_an_import_does_not_turn_back_a_run_that_is_known_further(
    peer: Peer, engine: str, exported: Path, written: WrittenRun, tmp_path: Path
) -> None:
    peer("import", exported, "--ipfs", engine)
    older = tmp_path / "older.car"
    peer("export", str(previous_of(written)), older, "--ipfs", engine)
    assert peer("import", older, "--ipfs", engine).code == ExitCode.DONE
    assert peer("ls", "--json").json["runs"][0]["head"] == str(written.head)


def previous_of(written: WrittenRun) -> CID:
    body = parse_record(Block(written.head, written.scribe.source[written.head])).body
    assert isinstance(body, Chained)
    assert body.prev is not None
    return body.prev


# -- log -----------------------------------------------------------------------------------------------------------


def test_a_home_without_runs_says_how_to_start_one(peer: Peer) -> None:
    assert "peer start" in peer("ls").out
    assert peer("ls", "--json").json == {"runs": [], "waiting": [], "given_up": []}


def test_the_log_of_a_run_says_that_it_has_not_looked_at_contents(
    peer: Peer, engine: str, exported: Path, written: WrittenRun
) -> None:
    peer("import", exported, "--ipfs", engine)
    shown = peer("history", str(written.head), "--ipfs", engine).out
    assert "its contents were not checked" in shown
    assert "received" not in shown.splitlines()[0]


def test_a_runs_rounds_are_shown_by_its_run_or_its_head(
    peer: Peer, engine: str, exported: Path, written: WrittenRun
) -> None:
    peer("import", exported, "--ipfs", engine)
    for name in (written.run, written.head):
        shown = peer("history", str(name), "--ipfs", engine, "--json").json
        assert [exchange["round"] for exchange in shown["exchanges"]] == [1, 2]


def test_the_rounds_are_shown_without_the_models(peer: Peer, written: WrittenRun, tmp_path: Path) -> None:
    part = LocalEngine(tmp_path / "part")
    part.put(block for block in written.blocks if not block.cid.is_raw)
    part.close()
    outcome = peer("history", str(written.head), "--ipfs", part.address, "--json")
    assert outcome.code == ExitCode.DONE
    assert outcome.json["exchanges"][0]["metrics"] == {"loss": 0.625}
    assert outcome.json["exchanges"][0]["bytes_sent"] is None


# -- show ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def show(peer: Peer, engine: str) -> Callable[[CID], Outcome]:
    return lambda cid: peer("show", str(cid), "--ipfs", engine, "--json")


def test_a_record_is_shown_with_its_private_part(show: Callable[[CID], Outcome], written: WrittenRun) -> None:
    shown = show(written.run).json
    assert (shown["kind"], shown["type"], shown["body"]["height"]) == ("record", "run", 0)
    assert shown["private"]["config"] == [["num-rounds", 3]]
    assert shown["signatures"][0]["valid"] is True


def test_a_manifest_is_shown_with_its_members(show: Callable[[CID], Outcome], written: WrittenRun) -> None:
    shown = show(written.scribe.first.cid).json
    assert id_of(ALICE).hex() in [member["id"] for member in shown["body"]["members"]]


def test_a_model_is_shown_by_its_shapes(show: Callable[[CID], Outcome], written: WrittenRun) -> None:
    shown = show(written.model(2)).json
    assert shown["arrays"] == [{"record": "arrays", "key": "weight", "dtype": "float32", "shape": [300000]}]


def test_metrics_are_shown(show: Callable[[CID], Outcome], written: WrittenRun) -> None:
    assert show(written.answer(loss=0.5, examples=30)).json["metrics"] == {"loss": 0.5, "num-examples": 30}


def test_an_app_is_shown_by_its_files(show: Callable[[CID], Outcome], written: WrittenRun) -> None:
    app = show(written.run).json["body"]["bundle"]
    assert show(CID.parse(app)).json["files"] == [{"path": "pyproject.toml", "size": 10}]


def test_raw_bytes_are_shown_as_hex(show: Callable[[CID], Outcome]) -> None:
    assert show(raw_block(b"s" * 32).cid).json["bytes"] == "73" * 32


def test_any_other_block_is_shown_as_it_is(show: Callable[[CID], Outcome]) -> None:
    shown = show(STRAY.cid).json
    assert (shown["kind"], shown["value"]) == ("dag-cbor", {"stray": [1, None, "text"]})


def test_people_see_indented_lines(peer: Peer, engine: str, written: WrittenRun) -> None:
    lines = peer("show", str(written.head), "--ipfs", engine).out.splitlines()
    assert lines[2:4] == ["kind: record", "type: close"]
    assert "  height: 5" in lines


def test_a_block_that_nobody_has_is_said_to_be_missing(show: Callable[[CID], Outcome]) -> None:
    outcome = show(raw_block(b"absent").cid)
    assert outcome.code == ExitCode.UNFINISHED
    assert "not here" in outcome.err


def test_what_is_no_cid_is_wrong_use(peer: Peer) -> None:
    assert peer("show", "nonsense").code == ExitCode.WRONG_USE


# -- the engine a command talks to ---------------------------------------------------------------------------------


def test_the_engine_that_was_used_last_is_used_again(peer: Peer, engine: str, written: WrittenRun) -> None:
    journal = Journal(Home(peer.home).create().journal)
    journal.remember_engine(engine)
    journal.close()
    assert peer("show", str(written.head)).code == ExitCode.DONE


def test_a_home_that_is_made_on_the_way_is_its_owners_alone(peer: Peer) -> None:
    peer.named("a")
    assert stat.S_IMODE(peer.home.stat().st_mode) == 0o700
