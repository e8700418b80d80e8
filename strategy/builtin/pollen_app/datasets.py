"""The datasets: where their files are, fetching them, reading them into arrays.

Reading needs only numpy. torchvision is imported to download, and for CIFAR-10. scikit-learn is never imported, because
that takes 2 s in every process: its digits are read from its folder.
"""

from __future__ import annotations

import gzip
import importlib.util
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .names import Dataset


@dataclass(frozen=True, slots=True)
class Shape:
    """The shape of one image, and the number of classes."""

    channels: int
    height: int
    width: int
    classes: int


SHAPES = {
    Dataset.DIGITS: Shape(1, 8, 8, 10),
    Dataset.MNIST: Shape(1, 28, 28, 10),
    Dataset.FASHION_MNIST: Shape(1, 28, 28, 10),
    Dataset.CIFAR10: Shape(3, 32, 32, 10),
}

_DOWNLOAD_TIMEOUT = 30.0
"""Seconds without a byte after which a download is given up."""


class Split(Enum):
    """A dataset's two parts. Clients share out the first; the server may evaluate on the second."""

    TRAIN = "train"
    TEST = "t10k"


class DataUnavailable(RuntimeError):
    """The files are not here and cannot be fetched, or are damaged. The message says where we looked, and the fix."""


@dataclass(frozen=True, slots=True)
class Images:
    """A part of a dataset, as it is stored."""

    pixels: NDArray[np.uint8]
    """(n, channels, height, width), from 0 to ``brightest``."""
    labels: NDArray[np.int64]
    brightest: int


def load(dataset: Dataset, split: Split, data_dir: str = "") -> Images:
    """Read one part of a dataset. It is downloaded first if it is not here (digits never is).

    Raises:
        DataUnavailable: if the files are not there and the download failed, or they are damaged.
    """
    if dataset is Dataset.DIGITS:
        return _load_digits(split)
    folder = prepare(dataset, data_dir)
    if dataset is Dataset.CIFAR10:
        return _load_cifar10(split, folder)
    pixels, labels = (_read_idx(path) for path in _idx_paths(dataset, split, folder))
    shape = SHAPES[dataset]
    if pixels.shape[1:] != (shape.height, shape.width) or labels.shape != pixels.shape[:1]:
        raise DataUnavailable(f"the files in {folder} are not {dataset}: {pixels.shape} images, {labels.shape} labels")
    return Images(pixels[:, np.newaxis], labels.astype(np.int64), 255)


def prepare(dataset: Dataset, data_dir: str = "") -> Path:
    """Make sure that the dataset's files are here. Returns their folder. Several processes may do it at once.

    Raises:
        DataUnavailable: if they are not, and the download failed.
    """
    folder = Path(data_dir).expanduser() if data_dir else default_data_dir()
    if not _is_present(dataset, folder):
        _download(dataset, folder)
    return folder


def default_data_dir() -> Path:
    """The default folder of datasets, in the user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "pollen" / "datasets"


def _load_digits(split: Split) -> Images:
    """scikit-learn's copy of the UCI digits: 1797 images; every fifth is for testing."""
    spec = importlib.util.find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise DataUnavailable("the digits come with scikit-learn, which is missing; pip install scikit-learn")
    table = np.loadtxt(Path(spec.origin).parent / "datasets" / "data" / "digits.csv.gz", delimiter=",", dtype=np.uint8)
    is_test = np.arange(len(table)) % 5 == 4
    rows = table[is_test if split is Split.TEST else ~is_test]
    return Images(rows[:, :64].reshape(-1, 1, 8, 8), rows[:, 64].astype(np.int64), 16)


# -- MNIST and Fashion-MNIST: four files in the IDX format (described in http://yann.lecun.com/exdb/mnist/) ----------


def _idx_paths(dataset: Dataset, split: Split, folder: Path) -> tuple[Path, Path]:
    """The images' file and the labels' file. Raises DataUnavailable if one is missing."""
    found = [_first_present(dataset, folder, f"{split.value}-{kind}-ubyte") for kind in ("images-idx3", "labels-idx1")]
    if found[0] is None or found[1] is None:
        raise _absent(dataset, folder, "the download brought something else")
    return found[0], found[1]


def _first_present(dataset: Dataset, folder: Path, name: str) -> Path | None:
    """torchvision's own place first; the bare folder is what Debian's dataset-fashion-mnist has."""
    places = (folder / _torchvision_name(dataset) / "raw", folder)
    candidates = (place / (name + ending) for place in places for ending in ("", ".gz"))
    return next((path for path in candidates if path.is_file()), None)


def _read_idx(path: Path) -> NDArray[np.uint8]:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            data = file.read()
    except (OSError, EOFError) as error:
        raise DataUnavailable(f"cannot read {path}: {error}; delete it, and it is downloaded again") from error
    dimensions = data[3] if data[:3] == b"\0\0\x08" and len(data) > 3 else 0  # 8: the items are unsigned bytes
    header = 4 + 4 * dimensions
    sizes = tuple(int(n) for n in np.frombuffer(data[4:header], dtype=">u4")) if len(data) >= header else ()
    if not sizes or len(data) != header + int(np.prod(sizes)):
        raise DataUnavailable(f"{path} is damaged or cut short; delete it, and it is downloaded again")
    return np.frombuffer(data, dtype=np.uint8, offset=header).reshape(sizes)


# -- CIFAR-10, and downloads: through torchvision --------------------------------------------------------------------


def _load_cifar10(split: Split, folder: Path) -> Images:
    stored = _torchvision_class(Dataset.CIFAR10)(str(folder), train=split is Split.TRAIN)  # checks MD5 sums
    pixels = np.ascontiguousarray(np.asarray(stored.data, dtype=np.uint8).transpose(0, 3, 1, 2))
    return Images(pixels, np.asarray(stored.targets, dtype=np.int64), 255)


def _is_present(dataset: Dataset, folder: Path) -> bool:
    match dataset:
        case Dataset.DIGITS:
            return True
        case Dataset.CIFAR10:
            return (folder / "cifar-10-batches-py" / "batches.meta").is_file()
        case Dataset.MNIST | Dataset.FASHION_MNIST:
            names = (f"{split.value}-{kind}-ubyte" for split in Split for kind in ("images-idx3", "labels-idx1"))
            return all(_first_present(dataset, folder, name) for name in names)


def _download(dataset: Dataset, folder: Path) -> None:
    """Download into a folder of this process's own, then move file by file: another may be doing the same."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as scratch, _impatient_sockets():
            _torchvision_class(dataset)(scratch, download=True)
            for path in sorted(Path(scratch).rglob("*")):
                target = folder / path.relative_to(scratch)
                if path.is_dir():
                    target.mkdir(exist_ok=True)
                elif path.suffix not in (".gz", ".tgz"):
                    path.replace(target)
    except (OSError, RuntimeError) as error:  # URLError is an OSError; torchvision raises RuntimeError
        raise _absent(dataset, folder, " ".join(str(error).split())) from error


@contextmanager
def _impatient_sockets() -> Iterator[None]:
    """torchvision sets no timeout of its own, so that a silent network would hang it for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_DOWNLOAD_TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _torchvision_name(dataset: Dataset) -> str:
    return {Dataset.MNIST: "MNIST", Dataset.FASHION_MNIST: "FashionMNIST", Dataset.CIFAR10: "CIFAR10"}[dataset]


def _torchvision_class(dataset: Dataset) -> Any:  # torchvision has no types
    import torchvision.datasets  # heavy, and often not needed

    return getattr(torchvision.datasets, _torchvision_name(dataset))


def _absent(dataset: Dataset, folder: Path, why: str) -> DataUnavailable:
    if dataset is Dataset.CIFAR10:
        wanted = f"{folder / 'cifar-10-batches-py'}"
    else:
        wanted = (
            f"{folder / _torchvision_name(dataset) / 'raw'} and {folder} for {Split.TRAIN.value}-images-idx3-ubyte, "
            f"{Split.TRAIN.value}-labels-idx1-ubyte, and the same with {Split.TEST.value} (each may end in .gz)"
        )
    return DataUnavailable(
        f"the {dataset} data is absent, and downloading it failed ({why}). Looked in {wanted}. "
        "Name the folder that has it with --data-dir, or start once with a network; --dataset digits needs neither"
    )
