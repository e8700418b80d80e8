"""Model files: what is written is read back to the bit, whole or not at all, and nothing in a file is run."""

from __future__ import annotations

import contextlib
import hashlib
import json
import pickle
import random
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from flwr.app import Array, ArrayRecord, RecordDict
from flwr.common import ndarrays_to_parameters

from protocol.blocks.cid import CID, MemoryBlocks
from strategy.contents.codec import encode
from strategy.flower_compat import recorddict_compat
from strategy.models import model_files
from strategy.models.model_difference import compare, tensor_differences
from strategy.models.model_files import (
    METADATA,
    ModelFormat,
    NoModel,
    Tensor,
    claimed_metadata,
    model_sha256,
    opened_model,
    save_model,
    try_place,
)

SUFFIXES = [".safetensors", ".npz", ".pt"]
MODEL: dict[str, Tensor] = {
    "weight": np.arange(12, dtype=np.float32).reshape(3, 4),
    "large": np.linspace(0, 1, 5000),
    "scalar": np.array(7, np.int64),
    "empty": np.zeros((0, 2), np.float16),
    "file": np.array([True, False]),  # the name of a parameter of np.savez
    "nan": np.array([np.nan, -0.0], np.float32),
}


def content_of(records: RecordDict) -> tuple[CID, MemoryBlocks, None]:
    encoded = encode(records, None)
    return encoded.root, MemoryBlocks({block.cid: block.data for block in encoded.blocks()}), None


def content(tensors: Mapping[str, Tensor]) -> tuple[CID, MemoryBlocks, None]:
    return content_of(RecordDict({"arrays": ArrayRecord({name: Array(each) for name, each in tensors.items()})}))


def read(path: Path) -> dict[str, Tensor]:
    with opened_model(path) as tensors:
        return {name: each().copy() for name, each in tensors.items()}


# -- writing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_written_model_is_read_back_to_the_bit(tmp_path: Path, suffix: str) -> None:
    save_model(*content(MODEL), tmp_path / f"m{suffix}", {})
    found = read(tmp_path / f"m{suffix}")
    assert {name: compare(name, MODEL[name], found[name]).equal for name in found} == dict.fromkeys(MODEL, True)


def test_an_older_apps_arrays_have_the_shapes_that_their_bytes_say(tmp_path: Path) -> None:
    parameters = ndarrays_to_parameters([np.ones((2, 3))])
    record = recorddict_compat.parameters_to_arrayrecord(parameters, keep_input=True)
    save_model(*content_of(RecordDict({"fitins.parameters": record})), tmp_path / "m.safetensors", {})
    assert [tensor.shape for tensor in read(tmp_path / "m.safetensors").values()] == [(2, 3)]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_number_of_bytes_is_the_size_of_the_file(tmp_path: Path, suffix: str) -> None:
    count = save_model(*content(MODEL), tmp_path / f"m{suffix}", {"round": "3"})
    assert count == (tmp_path / f"m{suffix}").stat().st_size


def test_an_npz_is_what_numpy_reads(tmp_path: Path) -> None:
    save_model(*content(MODEL), tmp_path / "m.npz", {})
    assert set(np.load(tmp_path / "m.npz")) == {*MODEL, METADATA}


def test_a_pt_is_what_torch_reads_without_pickles(tmp_path: Path) -> None:
    save_model(*content({"weight": MODEL["weight"]}), tmp_path / "m.pt", {})
    state = torch.load(tmp_path / "m.pt", weights_only=True)["state_dict"]
    assert torch.equal(state["weight"], torch.tensor(MODEL["weight"]))


@pytest.mark.parametrize(
    ("suffix", "sha256"),
    [
        (".safetensors", "d1cd92328faac36c1973db7b9efab183f23ef653cd22b6f8d3dbc6b6a5cc9dba"),
        (".npz", "26d89d77ef7087ff6aca2488e451470ff320a60160648b3f697ff5987830df19"),
    ],
)
def test_one_model_makes_one_file_in_every_process_and_on_every_machine(suffix: str, sha256: str) -> None:
    assert model_sha256(*content(MODEL), ModelFormat(suffix), {"run": "r", "round": "1", "of": "séver"}) == sha256


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_hash_is_that_of_the_file_whatever_its_name(tmp_path: Path, suffix: str) -> None:
    for name in ("a", "another"):
        save_model(*content(MODEL), tmp_path / f"{name}{suffix}", {"round": "1"})
        found = hashlib.sha256((tmp_path / f"{name}{suffix}").read_bytes()).hexdigest()
        assert found == model_sha256(*content(MODEL), ModelFormat(suffix), {"round": "1"})


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_a_file_says_of_itself_is_read_back_without_what_is_long(tmp_path: Path, suffix: str) -> None:
    save_model(*content(MODEL), tmp_path / f"m{suffix}", {"of": "séver", "long": "x" * 2_000})
    assert claimed_metadata(tmp_path / f"m{suffix}") == {"content": str(content(MODEL)[0]), "of": "séver"}


def test_a_file_that_says_nothing_of_itself_claims_nothing(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", weight=np.ones(2))
    np.savez(tmp_path / "b.npz", weight=np.ones(2), __metadata__=np.array('["run"]'))
    np.savez(tmp_path / "c.npz", weight=np.ones(2), __metadata__=np.array(json.dumps({"run": 3})))
    torch.save({"state_dict": {}, "metadata": {3: "x"}}, tmp_path / "d.pt")
    assert [claimed_metadata(path) for path in sorted(tmp_path.iterdir())] == [{}] * 4


def test_a_place_is_tried_without_a_trace(tmp_path: Path) -> None:
    try_place(tmp_path / "m.npz")
    assert not list(tmp_path.iterdir())
    with pytest.raises(OSError, match="long"):
        try_place(tmp_path / ("m" * 250 + ".npz"))


def test_tensors_of_several_records_have_both_names(tmp_path: Path) -> None:
    one, two = (ArrayRecord({"w": Array(np.full(2, value))}) for value in (1.0, 2.0))
    save_model(*content_of(RecordDict({"one": one, "two": two})), tmp_path / "m.npz", {})
    assert {name: each[0] for name, each in read(tmp_path / "m.npz").items()} == {"one/w": 1.0, "two/w": 2.0}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_a_format_does_not_take_leaves_the_old_file_and_no_other(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"m{suffix}"
    path.write_bytes(b"old")
    array = Array("no-dtype", (2,), "numpy.ndarray", b"12")
    with pytest.raises(NoModel):
        save_model(*content_of(RecordDict({"arrays": ArrayRecord({"odd": array})})), path, {})
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [(path.name, b"old")]


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_text_is_no_tensor_if_the_format_has_none(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(NoModel, match="does not take"):
        save_model(*content({"words": np.array(["a", "b"])}), tmp_path / f"m{suffix}", {})


@pytest.mark.parametrize("file", [("m.npz", METADATA), ("m.safetensors", "__metadata__")], ids=lambda file: file[0])
def test_a_tensor_called_as_the_metadata_of_a_file_is_refused(tmp_path: Path, file: tuple[str, str]) -> None:
    with pytest.raises(NoModel, match="metadata"):
        save_model(*content({file[1]: np.zeros(1)}), tmp_path / file[0], {})


ANY_BYTES = [b"", b"\x93NUMPY", b"\x93NUMPY\x01\x00\x04\x00(((\n", b"PK\x03\x04", Array(np.ones(9)).data[:-1]]


@pytest.mark.parametrize("data", ANY_BYTES, ids=lambda data: repr(data[:14]))
def test_bytes_that_are_no_array_are_refused_as_such(tmp_path: Path, data: bytes) -> None:
    """Numpy's own reader raises errors of many kinds for them, an EOFError among them."""
    root = content_of(RecordDict({"arrays": ArrayRecord({"w": Array("float32", (9,), "numpy.ndarray", data)})}))
    with pytest.raises(NoModel, match="'w' cannot be read as numpy's"):
        save_model(*root, tmp_path / "m.npz", {})


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_the_byte_order_of_another_machine_is_kept(tmp_path: Path, suffix: str) -> None:
    save_model(*content({"w": np.asfortranarray(np.arange(6, dtype=">f4").reshape(2, 3))}), tmp_path / f"m{suffix}", {})
    assert read(tmp_path / f"m{suffix}")["w"].tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.mark.parametrize("name", ["../../x", "/etc/x", "a/../../x", "..", "a\\..\\x", "C:x", "x\0y"])
def test_a_name_that_would_be_a_path_out_of_a_zip_file_is_in_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(NoModel, match=r"write \.safetensors"):
        save_model(*content({name: np.ones(1)}), tmp_path / "m.npz", {})
    assert list(tmp_path.iterdir()) == []
    save_model(*content({name: np.ones(1)}), tmp_path / "m.safetensors", {})
    assert list(read(tmp_path / "m.safetensors")) == [name]
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]


# -- reading -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("data", [b"", b"nonsense" * 9, b"PK\x03\x04" + b"\0" * 40])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, suffix: str, data: bytes) -> None:
    (tmp_path / f"m{suffix}").write_bytes(data)
    with pytest.raises(NoModel):
        read(tmp_path / f"m{suffix}")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_cut_short_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"m{suffix}"
    save_model(*content(MODEL), path, {})
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(NoModel):
        read(path)


def changed_inside(path: Path, chance: random.Random) -> None:
    """Change a few bytes of one entry of a zip file, whose checksum is right again."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: bytearray(archive.read(name)) for name in archive.namelist()}
    changed = entries[chance.choice([name for name in entries if name.endswith((".npy", "data.pkl"))])]
    for _ in range(3):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
        del changed[chance.randrange(len(changed))]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, bytes(data))


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("suffix", [".npz", ".pt"])
def test_whatever_a_file_leads_the_libraries_to_is_no_model(tmp_path: Path, suffix: str, seed: int) -> None:
    path = tmp_path / f"m{suffix}"
    save_model(*content({"a": np.arange(3.0), "b": np.zeros((2, 2))}), path, {})
    changed_inside(path, random.Random(seed))
    with contextlib.suppress(NoModel):  # the change may be in a number, too
        claimed_metadata(path)
    with contextlib.suppress(NoModel):
        read(path)


def test_an_entry_that_is_no_array_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.npz", "w") as archive:
        archive.writestr("weight.npy", b"no array")
    with pytest.raises(NoModel, match="no tensor"):
        read(tmp_path / "m.npz")


def test_an_npz_that_unpacks_to_far_more_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez_compressed(tmp_path / "m.npz", weight=np.zeros(100_000))
    assert read(tmp_path / "m.npz")["weight"].shape == (100_000,)  # little, however much it shrank
    monkeypatch.setattr(model_files, "MAX_SMALL", 1_000)
    with pytest.raises(NoModel, match="would unpack to"), opened_model(tmp_path / "m.npz"):
        pass


class Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return (print, ("sprung",))


def test_no_code_in_a_pt_is_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"state_dict": Trap()}, tmp_path / "m.pt")
    with pytest.raises(NoModel):
        read(tmp_path / "m.pt")
    assert "sprung" not in capsys.readouterr().out


def test_no_code_in_an_npz_is_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.npz").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(NoModel):
        read(tmp_path / "m.npz")
    assert "sprung" not in capsys.readouterr().out


def test_a_plain_state_dict_of_torchs_is_a_model(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 1).state_dict(), tmp_path / "m.pt")
    assert set(read(tmp_path / "m.pt")) == {"weight", "bias"}


# -- differences ---------------------------------------------------------------------------------------------------


def test_differences_are_measured() -> None:
    found = compare("t", np.array([3.0, 4.0], np.float32), np.array([3.0, 6.0], np.float32))
    assert (found.equal, found.largest, found.mean, found.relative) == (False, 2.0, 1.0, 0.4)


def test_integers_are_subtracted_without_wrapping_round() -> None:
    assert compare("t", np.array([0], np.uint8), np.array([255], np.uint8)).largest == 255.0


def test_minus_zero_has_other_bits_and_no_distance() -> None:
    found = compare("t", np.array([0.0]), np.array([-0.0]))
    assert (found.equal, found.largest, found.relative) == (False, 0.0, 0.0)


def test_the_same_nan_is_equal() -> None:
    assert compare("t", np.array([np.nan]), np.array([np.nan])).equal


def test_what_is_not_finite_is_counted_and_left_out() -> None:
    found = compare("t", np.array([np.nan, 1.0, np.inf]), np.array([0.0, 1.5, np.inf]))
    assert (found.largest, found.not_finite) == (0.5, 2)


def test_another_dtype_is_not_equal_and_yet_measured() -> None:
    found = compare("t", np.ones(2, np.float32), np.ones(2, np.float64))
    assert (found.equal, found.largest, str(found.a), str(found.b)) == (False, 0.0, "float32[2]", "float64[2]")


def test_nothing_is_divided_by_a_zero_norm() -> None:
    assert compare("t", np.zeros(2), np.ones(2)).relative is None


def test_one_pair_of_tensors_is_read_at_a_time() -> None:
    order: list[str] = []

    def reader(name: str) -> Tensor:
        order.append(name)
        return np.zeros(1)

    a = {name: lambda name=name: reader(f"a.{name}") for name in ("x", "y")}
    b = {name: lambda name=name: reader(f"b.{name}") for name in ("y", "x")}
    next(tensor_differences(a, b))
    assert order == ["a.x", "b.x"]
