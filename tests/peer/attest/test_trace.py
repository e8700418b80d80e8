"""``peer trace``: which run a model file is from, told by its bytes and by its arrays."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chains import ADMIN, ALICE, BOB, SERVER, Scribe, id_of, member
from command_line import Outcome, Peer
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from inspected_runs import WrittenRun
from safetensors.numpy import load_file, save_file

from crypto.keys import VerifyKey
from peer.attest.model_trace import ModelFile, find_model
from peer.audit.audit import Audit
from peer.audit.run_models import RunModels
from peer.base.errors import ExitCode, PeerError
from peer.history.run_sources import CarSource
from peer.history.scratch import Scratch
from protocol.blocks.car import write_car
from protocol.blocks.cid import Block
from protocol.records.bodies import Close, Role
from protocol.records.signed_records import parse_record
from strategy.models.model_files import save_model

Peers = Callable[[str], Peer]


def weights(value: float, round_number: int) -> RecordDict:
    config = ConfigRecord({"server-round": round_number})
    arrays = ArrayRecord({"bias": Array(np.zeros(2)), "weight": Array(np.full((2, 3), value, np.float32))})
    return RecordDict({"arrays": arrays, "config": config})


@pytest.fixture(scope="module")
def run() -> WrittenRun:
    """Three rounds. The initial model is full of 0, that of round N of N, and Alice's update of N.25."""
    written = WrittenRun()
    scribe = written.scribe
    for number in (1, 2, 3):
        scribe.add(scribe.dispatch(scribe.group(ALICE, BOB, content=written.store(weights(number - 1, number)))))
        alice = scribe.taken(ALICE, content=written.store(weights(number + 0.25, number)))
        scribe.add(scribe.collect(alice, scribe.taken(BOB, content=written.store(weights(9, number)))))
    scribe.add(scribe.close(model=written.store(RecordDict({"arrays": weights(3, 0)["arrays"]}))))
    return written


@pytest.fixture
def car(run: WrittenRun, tmp_path: Path) -> Path:
    (tmp_path / "run.car").write_bytes(b"".join(write_car([run.head], run.blocks)))
    return tmp_path / "run.car"


@pytest.fixture
def peer(peers: Peers) -> Peer:
    return peers("anybody")


@pytest.fixture
def file(peer: Peer, car: Path) -> Callable[..., Path]:
    """What ``peer model`` writes."""

    def written(name: str, *options: str) -> Path:
        assert peer("model", car, "-o", car.with_name(name), *options).code == ExitCode.DONE
        return car.with_name(name)

    return written


def found(outcome: Outcome) -> tuple[bool, int | None, str]:
    assert outcome.code == ExitCode.DONE
    return outcome.json["exact"], outcome.json["round"], outcome.json["of"]


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pt"])
@pytest.mark.parametrize(
    ("options", "what"),
    [(["--round", "0"], (True, 0, "server")), (["--round", "2", "--of", "alice"], (True, 2, "alice"))],
)
def test_a_file_that_peer_model_wrote_is_told_byte_for_byte(
    peer: Peer, car: Path, file: Callable[..., Path], suffix: str, options: list[str], what: Any
) -> None:
    assert found(peer("trace", file(f"m{suffix}", *options), "--in", car, "--json")) == what


def test_it_says_of_which_run_and_federation(peer: Peer, run: WrittenRun, car: Path, file: Callable[..., Path]) -> None:
    told = peer("trace", file("m.npz", "--round", "1"), "--in", car, "--json").json
    assert (told["run"], told["head"], told["chain"]) == (str(run.run), str(run.head), "verified")
    assert told["federation"] == {"id": str(run.scribe.first.cid), "name": "trial", "root": "run"}


def test_what_save_path_writes_is_the_final_model(peer: Peer, run: WrittenRun, car: Path, tmp_path: Path) -> None:
    model = run.store(RecordDict({"arrays": weights(3, 0)["arrays"]}))
    save_model(model, run.scribe.source, None, tmp_path / "m.safetensors", {"run": str(run.run)})
    assert found(peer("trace", tmp_path / "m.safetensors", "--in", car, "--json")) == (True, None, "server")


def test_a_hash_alone_is_enough(peer: Peer, car: Path, file: Callable[..., Path]) -> None:
    sha256 = hashlib.sha256(file("m.npz", "--round", "1").read_bytes()).hexdigest()
    assert found(peer("trace", sha256, "--in", car, "--json")) == (True, 1, "server")
    assert peer("trace", "0" * 64, "--in", car).code == ExitCode.UNFINISHED


def test_the_same_arrays_in_another_file_are_told_as_such(peer: Peer, car: Path, file: Callable[..., Path]) -> None:
    path = file("m.safetensors", "--round", "1")
    save_file(load_file(path), path)  # its metadata is gone
    assert found(peer("trace", path, "--in", car, "--json")) == (False, 1, "server")
    assert "another file with the same arrays as the global model of round 1" in peer("trace", path, "--in", car).out


def test_a_file_that_was_changed_since_it_was_hashed_is_not_vouched_for(
    run: WrittenRun, car: Path, file: Callable[..., Path]
) -> None:
    """A replay takes minutes, and the file is hashed before it."""
    path = file("m.npz", "--round", "1")
    with contextlib.closing(CarSource(car)) as source, Scratch() as scratch:
        audit = Audit(run.head, source, scratch, with_contents=False)
        models = RunModels(audit, scratch)
        with pytest.raises(PeerError, match="was changed while"):
            find_model(ModelFile("0" * 64, path), models, audit)


@pytest.mark.parametrize("claimed", [{"round": "3"}, {"round": "99"}, {"of": "zoe"}, {"round": "x"}, {"run": "x"}])
def test_what_a_file_says_of_itself_counts_for_nothing(
    peer: Peer, run: WrittenRun, car: Path, file: Callable[..., Path], claimed: dict[str, str]
) -> None:
    path = file("m.safetensors", "--round", "1")
    metadata = {"run": str(run.run), "round": "1", "of": "server"} | claimed
    save_file(load_file(path), path, metadata)
    assert found(peer("trace", path, "--in", car, "--json")) == (False, 1, "server")


def test_one_changed_number_is_no_model_of_the_run_that_the_file_names(
    peer: Peer, run: WrittenRun, car: Path, file: Callable[..., Path]
) -> None:
    path = file("m.safetensors", "--round", "1")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    outcome = peer("trace", path, "--in", car)
    assert (outcome.code, "that run has no such model" in outcome.err) == (ExitCode.VERIFICATION_FAILED, True)


def test_a_run_that_is_not_here_to_its_end_denies_nothing(
    peer: Peer, run: WrittenRun, car: Path, file: Callable[..., Path]
) -> None:
    path, before = file("m.safetensors", "--round", "3"), car.with_name("before.car")
    close = parse_record(Block(run.head, run.scribe.source[run.head])).body
    assert isinstance(close, Close)
    before.write_bytes(b"".join(write_car([close.prev], run.blocks)))
    outcome = peer("trace", path, "--in", before)
    assert (outcome.code, "none of the 1 runs" in outcome.err) == (ExitCode.UNFINISHED, True)


def test_it_is_not_found_in_another_run(peer: Peer, car: Path, tmp_path: Path) -> None:
    save_file({"weight": np.full((2, 3), 7, np.float32)}, tmp_path / "m.safetensors")
    outcome = peer("trace", tmp_path / "m.safetensors", "--in", car)
    assert (outcome.code, "none of the 1 runs" in outcome.err) == (ExitCode.UNFINISHED, True)


def test_the_runs_of_a_home_are_looked_through(peer: Peer, car: Path, file: Callable[..., Path]) -> None:
    path, engine = file("m.safetensors", "--round", "1"), f"local:{car.with_name('engine')}"
    assert "none could be looked through" in peer("trace", path).err
    assert peer("import", car, "--ipfs", engine).code == ExitCode.DONE
    assert found(peer("trace", path, "--ipfs", engine, "--json")) == (True, 1, "server")


def test_the_update_of_a_client_that_is_called_server_is_no_global_model(peer: Peer, tmp_path: Path) -> None:
    names = {"lead": member(SERVER, Role.SERVER, place=ADMIN), "server": member(ALICE, Role.CLIENT, place=ADMIN)}
    written = WrittenRun(Scribe(members=names))
    scribe, car, path = written.scribe, tmp_path / "run.car", tmp_path / "m.npz"
    scribe.add(scribe.dispatch(scribe.group(ALICE, content=written.store(weights(0, 1)))))
    scribe.add(scribe.collect(scribe.taken(ALICE, content=written.store(weights(5, 1)))))
    car.write_bytes(b"".join(write_car([written.head], written.blocks)))
    alice = VerifyKey.parse(id_of(ALICE)).did
    assert peer("model", car, "-o", path, "--round", "1", "--of", alice).code == ExitCode.DONE
    assert found(peer("trace", path, "--in", car, "--json")) == (True, 1, alice)
    with np.load(path) as entries:
        np.savez(tmp_path / "n.npz", bias=entries["bias"], weight=entries["weight"])
    assert found(peer("trace", tmp_path / "n.npz", "--in", car, "--json")) == (False, 1, alice)


def test_a_run_that_is_not_verified_vouches_for_nothing(
    peer: Peer, run: WrittenRun, car: Path, file: Callable[..., Path]
) -> None:
    path = file("m.safetensors", "--round", "1")
    outcome = peer("trace", path, "--in", car, "--federation", str(run.run))
    assert (outcome.code, "was not looked through" in outcome.err) == (ExitCode.UNFINISHED, True)


@pytest.mark.parametrize("name", ["m.h5", "m.safetensors"])
def test_what_is_no_model_file_is_wrong_use(peer: Peer, car: Path, name: str) -> None:
    car.with_name(name).write_bytes(b"nonsense")
    assert peer("trace", car.with_name(name), "--in", car).code == ExitCode.WRONG_USE
    assert peer("trace", car.with_name("nowhere.npz"), "--in", car).code == ExitCode.WRONG_USE


# -- vouched for ---------------------------------------------------------------------------------------------------


def test_an_attestation_is_about_the_model_file_too(peers: Peers, car: Path, file: Callable[..., Path]) -> None:
    auditor, path, signed = peers("auditor").named("carol"), file("m.npz", "--round", "1"), car.with_name("a.json")
    assert auditor("audit", car, "--attest", signed, "--attest-model", path).code == ExitCode.DONE
    stranger = peers("stranger")
    checked = stranger("attest", "verify", signed, "--by", auditor.key, "--about", path)
    assert (checked.code, "byte for byte the global model of round 1" in checked.out) == (ExitCode.DONE, True)
    other = file("m.npz", "--round", "2")
    refused = stranger("attest", "verify", signed, "--by", auditor.key, "--about", other)
    assert (refused.code, "is not about" in refused.err) == (ExitCode.VERIFICATION_FAILED, True)


def test_no_model_of_the_run_is_not_vouched_for(peers: Peers, car: Path, tmp_path: Path) -> None:
    save_file({"weight": np.full((2, 3), 7, np.float32)}, tmp_path / "m.safetensors")
    options = ("--attest", tmp_path / "a.json", "--attest-model", tmp_path / "m.safetensors")
    outcome = peers("auditor").named("carol")("audit", car, *options)
    assert (outcome.code, "nothing was signed" in outcome.err) == (ExitCode.VERIFICATION_FAILED, True)
    assert not (tmp_path / "a.json").exists()
