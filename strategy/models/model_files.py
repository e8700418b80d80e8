"""Models as files that other tools read: ``.safetensors``, ``.npz`` and ``.pt``, written from a content, and read back.

A file says where it comes from: in the header of safetensors, in the entry ``__metadata__`` (JSON) of an npz, or under
``"metadata"`` beside ``"state_dict"`` in a pt, which ``torch.load(..., weights_only=True)`` reads.

A model with the same metadata always gives the same bytes, whatever the machine, so that a file can be told by its
hash. The bytes of a pt are torch's own, and those of one version of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np
from flwr.app import Array, RecordDict
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from protocol.blocks.cid import CID, BlockSource
from protocol.blocks.content import ContentKey
from strategy.contents.codec import decode
from strategy.contents.npy import opened

if TYPE_CHECKING:
    import torch

    StateDict = dict[str, torch.Tensor]
    """A model as torch has it."""

METADATA: Final = "__metadata__"
"""The entry of an npz that is no tensor."""

_SAME_BYTES: Final = (1980, 1, 1, 0, 0, 0)
"""The time of every entry of an npz, so that a model always gives the same file."""
_UNIX: Final = 3
"""The system that a zip file says it was made on, for the same reason."""

Tensor = np.ndarray[Any, Any]
Tensors = Mapping[str, Callable[[], Tensor]]
"""A model. Each tensor is read when it is called; call each at most once."""


class NoModel(Exception):
    """The content or file holds no arrays, or arrays that the file format does not take."""


class ModelFormat(StrEnum):
    """The formats, by the suffix of a file's name."""

    SAFETENSORS = ".safetensors"
    NPZ = ".npz"
    PT = ".pt"

    @classmethod
    def of(cls, path: Path) -> ModelFormat:
        """The format of a file, by its name.

        Raises:
            NoModel: if its suffix is not one of the three.
        """
        try:
            return cls(path.suffix)
        except ValueError:
            raise NoModel(f"{path.name} ends in none of {', '.join(cls)}") from None


# -- from a content ------------------------------------------------------------------------------------------------


def content_tensors(root: CID, source: BlockSource, key: ContentKey | None) -> Tensors:
    """The arrays of a content that is encrypted with ``key``.

    They are named by their keys, or by ``record/key`` if the content has several array records.

    Raises:
        NoModel: if there are no arrays; reading a tensor raises it if its bytes are no numpy array.
        protocol.blocks.content.ContentError: if the content is malformed, or not encrypted with ``key``; reading a
            tensor may raise it too.
    """
    arrays = _named_arrays(decode(root, source, key))
    if not arrays:
        raise NoModel(f"the content {root} holds no arrays")
    return {name: _reader(arrays, name) for name in list(arrays)}


def _named_arrays(records: RecordDict) -> dict[str, Array]:
    found = dict(records.array_records)
    return {
        key if len(found) == 1 else f"{name}/{key}": array
        for name, record in found.items()
        for key, array in record.items()
    }


def _reader(arrays: dict[str, Array], name: str) -> Callable[[], Tensor]:
    def read() -> Tensor:
        array = arrays.pop(name)  # an array keeps its bytes once they are read, so it is dropped
        try:
            tensor = opened(array)  # older apps leave dtype and shape out of their Arrays: the bytes have them
            return np.ascontiguousarray(tensor).reshape(tensor.shape)  # ascontiguousarray makes a number a row
        except ValueError as error:
            raise NoModel(f"the array {name!r} cannot be read as numpy's: {error}") from error

    return read


# -- writing -------------------------------------------------------------------------------------------------------


def save_model(root: CID, source: BlockSource, key: ContentKey | None, path: Path, metadata: Mapping[str, str]) -> int:
    """Write the arrays of a content to ``path``, completely or not at all, in the format of its suffix. Returns how
    many bytes the file has.

    The file's metadata is ``metadata`` and the content's CID as ``content``. Tensors are named as in
    `content_tensors`. An existing file is replaced.

    Raises:
        NoModel: if there is nothing to write, or the format does not take it.
        protocol.blocks.content.ContentError: if the content is malformed, or not encrypted with ``key``.
        OSError: if the file cannot be written.
    """
    kind, tensors = ModelFormat.of(path), content_tensors(root, source, key)
    descriptor, name = _beside(path)
    try:
        with open(descriptor, "wb") as file:
            _write(file, tensors, _about(root, metadata), kind)
            file.flush()
            os.fsync(file.fileno())
            size = file.tell()
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
    return size


def model_sha256(
    root: CID, source: BlockSource, key: ContentKey | None, kind: ModelFormat, metadata: Mapping[str, str]
) -> str:
    """The SHA-256, in hex, of the file that `save_model` writes. Raises as that does."""
    with tempfile.TemporaryFile() as file:
        _write(file, content_tensors(root, source, key), _about(root, metadata), kind)
        file.seek(0)
        return hashlib.file_digest(file, "sha256").hexdigest()


def _about(root: CID, metadata: Mapping[str, str]) -> dict[str, str]:
    return dict(sorted({"content": str(root), **metadata}.items()))


def try_place(path: Path) -> None:
    """Try what `save_model` does first: make a new file beside ``path``. It is removed again.

    Raises:
        OSError: if it cannot be made.
    """
    descriptor, name = _beside(path)
    os.close(descriptor)
    os.unlink(name)


def _beside(path: Path) -> tuple[int, str]:
    return tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)


def _write(file: IO[bytes], tensors: Tensors, about: dict[str, str], kind: ModelFormat) -> None:
    match kind:
        case ModelFormat.SAFETENSORS:
            _write_safetensors(file, tensors, about)
        case ModelFormat.NPZ:
            _write_npz(file, tensors, about)
        case ModelFormat.PT:
            _write_pt(file, tensors, about)


def _write_safetensors(file: IO[bytes], tensors: Tensors, about: dict[str, str]) -> None:
    if _SAFETENSORS_METADATA in tensors:
        raise NoModel(f"it has a tensor called {_SAFETENSORS_METADATA}, which safetensors needs for its metadata")
    try:
        data = memoryview(save({name: read() for name, read in tensors.items()}))
    except (SafetensorError, KeyError) as error:  # KeyError: a dtype that it has no name for
        raise NoModel(f"safetensors does not take it: {error}") from error
    size = int.from_bytes(data[:_LENGTH], "little")
    header, numbers = bytes(data[_LENGTH : _LENGTH + size]), data[_LENGTH + size :]
    told = json.dumps(about, separators=(",", ":")).encode()  # the library itself would write it in any order
    header = b'{"%b":%b,%b' % (_SAFETENSORS_METADATA.encode(), told, header.rstrip(b" ").removeprefix(b"{"))
    header += b" " * (-len(header) % _LENGTH)
    file.write(len(header).to_bytes(_LENGTH, "little"))
    file.write(header)
    file.write(numbers)


_SAFETENSORS_METADATA: Final = "__metadata__"
"""https://github.com/huggingface/safetensors#format. Its writer would write the name twice; its reader refuses that."""

_LENGTH: Final = 8
"""Bytes of the header's length, which a safetensors file begins with. The header is padded to a multiple of it."""


def _write_npz(file: IO[bytes], tensors: Tensors, about: dict[str, str]) -> None:
    if METADATA in tensors:
        raise NoModel(f"it has a tensor called {METADATA}, which npz needs for its metadata; write .safetensors or .pt")
    with zipfile.ZipFile(file, "w") as archive:
        for name, read in tensors.items():
            _check_entry(name)
            _write_entry(archive, name, read())
        _write_entry(archive, METADATA, np.array(json.dumps(about)))


def _check_entry(name: str) -> None:
    """Refuse a name that is an unsafe path: an npz is a zip file, and unpacking it makes paths of names."""
    if name.startswith("/") or ".." in name.split("/") or any(each in name for each in "\\\0:"):
        raise NoModel(f"the name {name!r} would be a path out of a zip file, as npz is one; write .safetensors or .pt")


def _write_entry(archive: zipfile.ZipFile, name: str, tensor: Tensor) -> None:
    info = zipfile.ZipInfo(f"{name}.npy", _SAME_BYTES)
    info.create_system = _UNIX
    with archive.open(info, "w", force_zip64=True) as entry:
        np.lib.format.write_array(entry, tensor, allow_pickle=False)


def state_dict(tensors: Tensors) -> StateDict:
    """A model as torch has it. Nothing before this imports torch.

    Raises:
        NoModel: if torch does not take an array.
    """
    import torch

    state = {}
    for name, read in tensors.items():
        try:
            state[name] = torch.tensor(read())
        except (TypeError, ValueError) as error:  # ValueError: numbers in another machine's byte order
            raise NoModel(f"torch does not take the array {name!r}: {error}") from error
    return state


def _write_pt(file: IO[bytes], tensors: Tensors, about: dict[str, str]) -> None:
    state = state_dict(tensors)
    import torch

    torch.save({"state_dict": state, "metadata": about}, file)


# -- reading -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def opened_model(path: Path) -> Iterator[Tensors]:
    """The tensors of a model file, as long as it is open. Nothing in it is run: torch reads weights only.

    Raises:
        NoModel: if it is no model file; reading a tensor raises it if numpy has no such type.
        OSError: if it cannot be read.
    """
    kind = ModelFormat.of(path)
    path.open("rb").close()  # raises OSError if it cannot be read; the libraries raise that for damaged files too
    with contextlib.ExitStack() as stack:
        with _hostile(f"{path} is no sound {kind} file"):
            tensors = _tensors_in(path, kind, stack)
        yield tensors


def claimed_metadata(path: Path) -> Mapping[str, str]:
    """What a model file says of where it comes from: whatever its writer wrote. Empty if it says nothing that is short.

    Raises:
        NoModel: if it is not a model file.
        OSError: if it cannot be read.
    """
    kind = ModelFormat.of(path)
    path.open("rb").close()
    with _hostile(f"{path} is no sound {kind} file"):
        found = _metadata_in(path, kind)
    if not isinstance(found, dict):
        return {}
    return {
        name: value
        for name, value in found.items()
        if isinstance(name, str) and isinstance(value, str) and len(name) + len(value) <= MAX_CLAIM
    }


def _metadata_in(path: Path, kind: ModelFormat) -> object:
    match kind:
        case ModelFormat.SAFETENSORS:
            with safe_open(path, framework="numpy") as handle:
                return handle.metadata()
        case ModelFormat.NPZ:
            with zipfile.ZipFile(path) as archive:
                entry = f"{METADATA}.npy"
                if entry not in archive.namelist() or archive.getinfo(entry).file_size > MAX_CLAIM * 64:
                    return None
                with archive.open(entry) as file:
                    text = np.lib.format.read_array(file, allow_pickle=False)
                return json.loads(str(text))
        case ModelFormat.PT:
            value = _torch_value(path)
            return value.get("metadata") if isinstance(value, dict) else None


MAX_CLAIM: Final = 1_024
"""Characters of an entry of metadata, with its name."""

MAX_SMALL: Final = 1 << 30
MAX_SHRUNK: Final = 100
"""An npz may be compressed. It unpacks to `MAX_SMALL` bytes, or to this many times its size: zeros shrink a
thousandfold, and a trained model does not."""


@contextlib.contextmanager
def _hostile(what: str) -> Iterator[None]:
    """Turn whatever happens in the block into a `NoModel`, which says ``what`` and why. Each library raises what a
    damaged file leads it to, such as an IndexError, a TokenError or a MemoryError."""
    try:
        yield
    except (NoModel, ModuleNotFoundError):  # torch may not be installed
        raise
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        raise NoModel(f"{what}: {first or type(error).__name__}") from error


def _tensors_in(path: Path, kind: ModelFormat, stack: contextlib.ExitStack) -> Tensors:
    match kind:
        case ModelFormat.SAFETENSORS:
            handle = stack.enter_context(safe_open(path, framework="numpy"))
            names = handle.keys()
            return {name: _guarded(path, name, handle.get_tensor) for name in names}
        case ModelFormat.NPZ:
            entries = stack.enter_context(np.load(path, allow_pickle=False))
            unpacked = sum(entry.file_size for entry in entries.zip.infolist())
            if unpacked > max(MAX_SMALL, MAX_SHRUNK * path.stat().st_size):
                raise NoModel(f"{path} would unpack to {unpacked} bytes, far more than a model that was compressed")
            names = [name for name in entries.files if name != METADATA]
            return {name: _guarded(path, name, entries.__getitem__) for name in names}
        case ModelFormat.PT:
            state = _torch_state(path)
            return {name: _guarded(path, name, lambda each: state[each].detach().numpy()) for name in state}


def _guarded(path: Path, name: str, read: Callable[[str], Tensor]) -> Callable[[], Tensor]:
    def tensor() -> Tensor:
        with _hostile(f"the tensor {name!r} of {path} cannot be read"):
            found = read(name)
            if not isinstance(found, np.ndarray):  # an entry of an npz may be anything
                raise NoModel(f"{name!r} in {path} is no tensor")
            return found

    return tensor


def _torch_state(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a pt, written here or as a plain ``state_dict``."""
    import torch

    value = _torch_value(path)
    state = value.get("state_dict", value) if isinstance(value, dict) else None
    if not isinstance(state, dict):
        raise NoModel(f"{path} holds a {type(value).__name__}, not tensors by name")
    return {str(name): tensor for name, tensor in state.items() if isinstance(tensor, torch.Tensor)}


def _torch_value(path: Path) -> object:
    """What is in a pt, if it is weights only."""
    import torch

    with _hostile(f"{path} is no torch file with only weights"):
        return torch.load(path, weights_only=True, map_location="cpu", mmap=True)
