"""``peer diff``: two models, wherever they are, compared tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from chains import ALICE, BOB
from command_line import Outcome, Peer
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from inspected_runs import WrittenRun
from safetensors.numpy import save_file

from peer.base.errors import ExitCode
from peer.engine.local.engine import LocalEngine
from protocol.blocks.cid import CID


def arrays(value: float) -> RecordDict:
    weight, bias = np.full((2, 2), value, np.float32), np.ones(3, np.float32)
    return RecordDict({"arrays": ArrayRecord({"weight": Array(weight), "bias": Array(bias)})})


class Trained(WrittenRun):
    """One round: 1.0 was sent, Alice gave 2.0 and Bob 4.0, and 3.0 is the final model."""

    def __init__(self) -> None:
        super().__init__()
        scribe = self.scribe
        sent = arrays(1.0)
        sent["config"] = ConfigRecord({"server-round": 1})
        self.initial = self.store(sent)
        scribe.add(scribe.dispatch(scribe.group(ALICE, BOB, content=self.initial)))
        alice = scribe.taken(ALICE, content=self.store(arrays(2.0)))
        scribe.add(scribe.collect(alice, scribe.taken(BOB, content=self.store(arrays(4.0)))))
        scribe.add(scribe.close(model=self.store(arrays(3.0))))


@pytest.fixture(scope="module")
def run() -> Trained:
    return Trained()


@pytest.fixture
def diff(peers: Callable[[str], Peer], tmp_path: Path, run: Trained) -> Callable[..., Outcome]:
    """Runs ``peer diff`` with an engine that has the run; HEAD stands for its head."""
    engine = LocalEngine(tmp_path / "engine")
    engine.put(run.blocks)
    engine.close()
    peer = peers("peer")

    def compare(a: str | Path, b: str | Path, *options: str) -> Outcome:
        named = [str(each).replace("HEAD", str(run.head)) for each in (a, b)]
        return peer("diff", *named, "--ipfs", engine.address, *options)

    return compare


def largest(done: Outcome) -> dict[str, float]:
    return {tensor["name"]: tensor["largest"] for tensor in done.json["tensors"]}


@pytest.mark.parametrize(
    ("a", "b", "apart"),
    [
        ("HEAD:0", "HEAD", 2.0),
        ("HEAD:0", "HEAD:1", 2.0),
        ("HEAD:1:alice", "HEAD::bob", 2.0),
        ("HEAD", "HEAD:1:alice", 1.0),
        ("HEAD", "HEAD:1:server", 0.0),
    ],
)
def test_rounds_and_updates_of_a_run_are_compared(diff: Callable[..., Outcome], a: str, b: str, apart: float) -> None:
    done = diff(a, b, "--json")
    assert done.code == 0
    assert largest(done) == {"weight": apart, "bias": 0.0}


def test_a_content_may_be_named_by_its_cid(diff: Callable[..., Outcome], run: Trained) -> None:
    assert largest(diff(str(run.initial), "HEAD", "--json")) == {"weight": 2.0, "bias": 0.0}


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pt"])
def test_a_model_is_equal_to_the_file_written_of_it(
    diff: Callable[..., Outcome], peers: Callable[[str], Peer], run: Trained, tmp_path: Path, suffix: str
) -> None:
    file = tmp_path / f"model{suffix}"
    peers("peer")("model", str(run.head), "-o", file, "--ipfs", f"local:{tmp_path / 'engine'}")
    done = diff(file, "HEAD")
    assert done.code == 0
    assert "2 tensors, equal bit for bit" in done.out


def test_a_tensor_of_another_shape_or_one_that_is_missing_is_said(diff: Callable[..., Outcome], tmp_path: Path) -> None:
    save_file({"weight": np.zeros((3, 2), np.float32), "more": np.zeros(1)}, tmp_path / "other.safetensors")
    verdicts = {line.split()[0]: line for line in diff("HEAD", tmp_path / "other.safetensors").out.splitlines()}
    assert verdicts["weight"].endswith("another shape")
    assert verdicts["bias"].endswith("only in A")
    assert verdicts["more"].endswith("only in B")


def test_a_car_file_may_stand_for_the_head(
    diff: Callable[..., Outcome], peers: Callable[[str], Peer], run: Trained, tmp_path: Path
) -> None:
    car = tmp_path / "run.car"
    assert peers("peer")("export", str(run.head), car, "--ipfs", f"local:{tmp_path / 'engine'}").code == 0
    assert largest(diff(f"{car}:0", f"{car}:1:bob", "--json")) == {"weight": 3.0, "bias": 0.0}


@pytest.mark.parametrize(
    ("a", "code", "words"),
    [
        ("nowhere.npz", ExitCode.WRONG_USE, "there is no file nowhere.npz"),
        ("HEAD:one", ExitCode.WRONG_USE, "'one' in"),
        ("HEAD:7", ExitCode.WRONG_USE, "no round 7"),
        ("nonsense", ExitCode.WRONG_USE, "this home has no run yet"),
    ],
)
def test_what_names_no_model_is_said(diff: Callable[..., Outcome], a: str, code: int, words: str) -> None:
    done = diff(a, "HEAD")
    assert done.code == code
    assert words in done.err


def test_a_content_without_arrays_is_no_model(diff: Callable[..., Outcome], tmp_path: Path) -> None:
    other = WrittenRun()
    metrics: CID = other.answer(loss=1.0, examples=1)
    engine = LocalEngine(tmp_path / "engine")
    engine.put(other.blocks)
    engine.close()
    done = diff(str(metrics), "HEAD")
    assert done.code == ExitCode.WRONG_USE
    assert "holds no arrays" in done.err
