"""``peer model``: which content is a model of a round, and the file it becomes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from chains import ALICE, BOB, id_of
from command_line import Outcome, Peer
from damage import flipped, spoil
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from inspected_runs import WrittenRun
from safetensors import safe_open
from safetensors.numpy import load_file

from crypto.keys import VerifyKey
from peer.base.errors import ExitCode
from peer.engine.local.engine import LocalEngine
from peer.home.home import Home
from peer.home.journal import Journal, RunHead
from protocol.blocks.cid import CID
from protocol.records.bodies import Role


def weights(value: float, round_number: int | None = None) -> RecordDict:
    """Flower's arrays and, if the app numbers its rounds, its config."""
    records = RecordDict({"arrays": ArrayRecord({"weight": Array(np.full((2, 3), value, np.float32))})})
    if round_number is not None:
        records["config"] = ConfigRecord({"server-round": round_number})
    return records


class Training(WrittenRun):
    """A run as Flower's strategies lead it: train and evaluate in each round. The model of round N is full of N."""

    def round(self, number: int, *, numbered: bool = True, evaluated: bool = True, bob: bool = True) -> None:
        scribe, named = self.scribe, number if numbered else None
        sent = self.store(weights(number - 1, named))
        scribe.add(scribe.dispatch(scribe.group(ALICE, BOB, content=sent)))
        alice = scribe.taken(ALICE, content=self.store(weights(number + 0.25)))
        scribe.add(
            scribe.collect(alice, scribe.taken(BOB, content=self.store(weights(9))) if bob else scribe.error(BOB))
        )
        if evaluated:
            self.evaluate(number, numbered=numbered)

    def evaluate(self, number: int, *, numbered: bool = True) -> None:
        scribe = self.scribe
        content = self.store(weights(number, number if numbered else None))
        group = scribe.group(ALICE, content=content, type="evaluate")
        scribe.add(scribe.dispatch(group, kinds=[("evaluate", "1")]))
        answer = self.store(RecordDict({"metrics": MetricRecord({"loss": 0.5})}))
        scribe.add(scribe.collect(scribe.taken(ALICE, content=answer)))

    def ask(self) -> None:
        """An exchange before training that has neither a model nor a round."""
        scribe, content = self.scribe, self.answer(loss=0.0, examples=1)
        scribe.add(scribe.dispatch(scribe.group(ALICE, content=content, type="query"), kinds=[("query", "")]))
        scribe.add(scribe.collect(scribe.taken(ALICE, content=content)))

    def close(self, value: float) -> Training:
        self.scribe.add(self.scribe.close(model=self.store(weights(value))))
        return self


@pytest.fixture(scope="module")
def run() -> Training:
    """Two rounds; Bob does not answer in the second, after which nothing is evaluated."""
    written = Training()
    written.ask()
    written.round(1)
    written.round(2, evaluated=False, bob=False)
    return written.close(2)


@pytest.fixture
def model_of(peers: Callable[[str], Peer], tmp_path: Path) -> Callable[..., Outcome]:
    """Runs ``peer model`` on a run in an engine of its own, to the file ``model.safetensors``."""
    peer = peers("peer")

    def write(written: WrittenRun, *options: str, file: str = "model.safetensors") -> Outcome:
        engine = LocalEngine(tmp_path / "engine")
        engine.put(written.blocks)
        engine.close()
        return peer("model", str(written.head), "-o", tmp_path / file, "--ipfs", engine.address, *options)

    return write


def value_in(path: Path) -> float:
    (tensor,) = load_file(path).values()
    assert tensor.shape == (2, 3)
    return float(tensor[0, 0])


# -- which content -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "value"),
    [
        (["--round", "0"], 0),
        (["--round", "1"], 1),
        (["--round", "2"], 2),
        ([], 2),
        (["--round", "1", "--of", "alice"], 1.25),
        (["--round", "1", "--of", "bob"], 9),
        (["--of", "alice"], 2.25),
    ],
)
def test_a_round_has_a_global_model_and_the_updates_of_those_who_answered(
    run: Training, model_of: Callable[..., Outcome], tmp_path: Path, options: list[str], value: float
) -> None:
    assert model_of(run, *options).code == 0
    assert value_in(tmp_path / "model.safetensors") == value


def test_a_client_may_be_named_by_its_did(run: Training, model_of: Callable[..., Outcome], tmp_path: Path) -> None:
    assert model_of(run, "--round", "1", "--of", VerifyKey.parse(id_of(ALICE)).did).code == 0
    assert value_in(tmp_path / "model.safetensors") == 1.25


def test_rounds_are_exchanges_if_the_app_does_not_number_them(model_of: Callable[..., Outcome], tmp_path: Path) -> None:
    written = Training()
    written.round(1, numbered=False)
    written.round(2, numbered=False, evaluated=False)
    assert model_of(written.close(2), "--round", "3").code == 0  # exchange 2 is an evaluate
    assert value_in(tmp_path / "model.safetensors") == 2


def test_an_older_app_says_the_round_in_the_group_of_its_messages(
    model_of: Callable[..., Outcome], tmp_path: Path
) -> None:
    written = Training()
    scribe = written.scribe
    written.ask()
    for number in (1, 2):
        sent = written.store(RecordDict({"fitins.parameters": weights(number - 1)["arrays"]}))
        scribe.add(scribe.dispatch(scribe.group(ALICE, content=sent), kinds=[("train", str(number))]))
        scribe.add(scribe.collect(scribe.taken(ALICE, content=written.store(weights(9)))))
    assert model_of(written.close(2), "--round", "1").code == 0
    assert value_in(tmp_path / "model.safetensors") == 1


@pytest.mark.parametrize(("options", "value"), [([], 2), (["--of", "alice"], 2.25)])
def test_the_last_round_is_one_in_which_something_was_trained(
    model_of: Callable[..., Outcome], tmp_path: Path, options: list[str], value: float
) -> None:
    written = Training()
    written.round(1, numbered=False)
    written.round(2, numbered=False)
    assert model_of(written, *options).code == 0
    assert value_in(tmp_path / "model.safetensors") == value


def test_training_in_steps_gives_one_model_after_the_last(model_of: Callable[..., Outcome], tmp_path: Path) -> None:
    written = Training()
    written.round(1, evaluated=False)
    written.round(1, evaluated=False)
    written.evaluate(5)
    assert model_of(written, "--round", "1").code == 0
    assert value_in(tmp_path / "model.safetensors") == 5


def test_a_run_in_a_car_file_needs_no_engine(run: Training, peers: Callable[[str], Peer], tmp_path: Path) -> None:
    peer = peers("peer")
    engine = LocalEngine(tmp_path / "engine")
    engine.put(run.blocks)
    engine.close()
    assert peer("export", str(run.head), tmp_path / "run.car", "--ipfs", engine.address).code == 0
    assert peer("model", tmp_path / "run.car", "--round", "1", "-o", tmp_path / "of-car.safetensors").code == 0
    assert value_in(tmp_path / "of-car.safetensors") == 1


# -- the file ------------------------------------------------------------------------------------------------------


def about_safetensors(path: Path) -> Any:
    with safe_open(path, framework="numpy") as file:
        return file.metadata()


def about_npz(path: Path) -> Any:
    return json.loads(str(np.load(path)["__metadata__"]))


def about_pt(path: Path) -> Any:
    return torch.load(path, weights_only=True)["metadata"]


@pytest.mark.parametrize(
    ("suffix", "read"), [(".safetensors", about_safetensors), (".npz", about_npz), (".pt", about_pt)]
)
def test_a_file_says_where_it_is_from(
    run: Training, model_of: Callable[..., Outcome], tmp_path: Path, suffix: str, read: Callable[[Path], Any]
) -> None:
    told = model_of(run, "--round", "1", "--json", file=f"model{suffix}").json
    assert read(tmp_path / f"model{suffix}") == {
        "run": str(run.run),
        "round": "1",
        "of": "server",
        "content": told["content"],
    }


def test_the_content_is_the_one_that_was_signed(run: Training, model_of: Callable[..., Outcome]) -> None:
    told = model_of(run, "--round", "1", "--json").json
    assert CID.parse(told["content"]) == run.store(weights(1, 1))


# -- what cannot be written ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--round", "3"], ExitCode.WRONG_USE, "no round 3: its rounds are 0, the initial model, to 2"),
        (["--round", "-1"], ExitCode.WRONG_USE, "no round -1"),
        (["--of", "zoe"], ExitCode.WRONG_USE, "or one of those it asked: alice, bob"),
        (["--round", "2", "--of", "bob"], ExitCode.UNFINISHED, "round 2: no answer in time (Flower error 3)"),
        (["--round", "0", "--of", "bob"], ExitCode.WRONG_USE, "round 0: it was not asked for anything"),
    ],
)
def test_what_the_run_does_not_have_is_said(
    run: Training, model_of: Callable[..., Outcome], tmp_path: Path, options: list[str], code: int, words: str
) -> None:
    done = model_of(run, *options)
    assert done.code == code
    assert words in done.err
    assert not (tmp_path / "model.safetensors").exists()


def test_an_answer_without_arrays_is_no_update(model_of: Callable[..., Outcome]) -> None:
    written = Training()
    written.exchange(1)
    done = model_of(written, "--of", "alice")
    assert done.code == ExitCode.UNFINISHED
    assert "what it answered has no arrays" in done.err


def test_the_model_of_a_round_that_goes_on_is_not_there_yet(model_of: Callable[..., Outcome]) -> None:
    written = Training()
    written.round(1, evaluated=False)
    done = model_of(written)
    assert done.code == ExitCode.UNFINISHED
    assert "--round 0" in done.err


def test_a_name_with_another_suffix_is_refused_with_the_three(run: Training, model_of: Callable[..., Outcome]) -> None:
    done = model_of(run, file="model.h5")
    assert done.code == ExitCode.WRONG_USE
    assert "FILE.safetensors, FILE.npz or FILE.pt" in done.err


def test_a_folder_that_is_not_there_is_named(run: Training, model_of: Callable[..., Outcome]) -> None:
    done = model_of(run, file="nowhere/model.npz")
    assert done.code == ExitCode.WRONG_USE
    assert "mkdir -p" in done.err


def test_a_chain_that_breaks_a_rule_gives_no_model(model_of: Callable[..., Outcome], tmp_path: Path) -> None:
    written = Training()
    written.round(1)
    forged = written.scribe.sign(written.scribe.close(height=written.height + 2))
    written.scribe.chain.head = forged.cid
    done = model_of(written, "--round", "1")
    assert done.code == ExitCode.VERIFICATION_FAILED
    assert not (tmp_path / "model.safetensors").exists()


def test_an_altered_block_of_the_model_gives_no_file(
    run: Training, peers: Callable[[str], Peer], tmp_path: Path
) -> None:
    content = run.store(weights(1, 1))
    engine = LocalEngine(tmp_path / "engine")
    engine.put(run.blocks)
    engine.close()
    spoil(tmp_path / "engine", [content], flipped)
    done = peers("peer")("model", str(run.head), "--round", "1", "-o", tmp_path / "m.pt", "--ipfs", engine.address)
    assert done.code == ExitCode.VERIFICATION_FAILED
    assert not (tmp_path / "m.pt").exists()


# -- peer pull -----------------------------------------------------------------------------------------------------


@pytest.fixture
def led(peers: Callable[[str], Peer], tmp_path: Path, run: Training) -> tuple[Peer, str]:
    """A home that has led the run, and the engine that has its blocks."""
    peer = peers("peer")
    engine = LocalEngine(tmp_path / "engine")
    engine.put(run.blocks)
    engine.close()
    with Journal(Home(peer.home).create().journal) as journal:
        federation = run.scribe.first.cid
        journal.keep_head(RunHead(run.run, federation, run.head, 9, 1, True, Role.SERVER, engine.address, 1.0))
        journal.name_run(run.run, "digits", 1.0)
    left = Path(peer.home) / "scratch" / str(run.run)
    left.mkdir(parents=True)
    (left / "loss.csv").write_text("1,0.5\n")
    return peer, engine.address


def test_a_run_is_pulled_by_its_name_with_its_model_and_the_files_that_its_app_left(
    led: tuple[Peer, str], tmp_path: Path
) -> None:
    peer, engine = led
    pulled = peer("pull", "digits-1", "-o", tmp_path / "out", "--ipfs", engine, "--json").json
    assert (pulled["files"], pulled["model"]["of"]) == (1, "server")
    assert value_in(tmp_path / "out" / "model.safetensors") == 2
    assert (tmp_path / "out" / "files" / "loss.csv").read_text() == "1,0.5\n"


def test_nothing_is_pulled_over_what_is_there(led: tuple[Peer, str], tmp_path: Path) -> None:
    peer, engine = led
    (tmp_path / "out").mkdir()
    refused = peer("pull", "latest", "-o", tmp_path / "out", "--ipfs", engine)
    assert refused.code == ExitCode.WRONG_USE
    assert list((tmp_path / "out").iterdir()) == []
