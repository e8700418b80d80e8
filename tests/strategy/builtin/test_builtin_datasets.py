"""Reading and fetching datasets."""

from __future__ import annotations

import gzip
import hashlib
import struct
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from strategy.builtin.pollen_app.datasets import DataUnavailable, Split, load
from strategy.builtin.pollen_app.names import Dataset


def idx(array: np.ndarray) -> bytes:
    """The IDX format: two zeros, 8 for bytes, the number of dimensions, the sizes, the items."""
    return b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def mnist_files() -> dict[str, bytes]:
    """A small MNIST: 20 images to train on, 10 for testing."""
    files = {}
    for split, count in (("train", 20), ("t10k", 10)):
        files[f"{split}-images-idx3-ubyte"] = idx(np.arange(count * 784, dtype=np.uint8).reshape(count, 28, 28))
        files[f"{split}-labels-idx1-ubyte"] = idx(np.arange(count, dtype=np.uint8) % 10)
    return files


def write(folder: Path, *, packed: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in mnist_files().items():
        (folder / (name + ".gz" if packed else name)).write_bytes(gzip.compress(data) if packed else data)
    return folder


def test_digits_are_scikit_learns() -> None:
    from sklearn.datasets import load_digits

    table = load_digits()
    train, test = load(Dataset.DIGITS, Split.TRAIN), load(Dataset.DIGITS, Split.TEST)
    assert np.array_equal(test.pixels[:, 0], table.images[4::5])
    assert np.array_equal(test.labels, table.target[4::5])
    assert len(train.labels) + len(test.labels) == len(table.target)


@pytest.mark.parametrize("place", ["MNIST/raw", "."])
@pytest.mark.parametrize("packed", [False, True])
def test_mnist_is_read_where_torchvision_or_debian_put_it(tmp_path: Path, place: str, packed: bool) -> None:
    write(tmp_path / place, packed=packed)
    images = load(Dataset.MNIST, Split.TRAIN, str(tmp_path))
    assert images.pixels.shape == (20, 1, 28, 28)
    assert images.labels.tolist() == [n % 10 for n in range(20)]


def test_mnist_is_read_as_torchvision_reads_it(tmp_path: Path) -> None:
    from torchvision.datasets import MNIST

    write(tmp_path / "MNIST" / "raw")
    ours, theirs = load(Dataset.MNIST, Split.TEST, str(tmp_path)), MNIST(str(tmp_path), train=False)
    assert np.array_equal(ours.pixels[:, 0], theirs.data.numpy())
    assert np.array_equal(ours.labels, theirs.targets.numpy())


@pytest.mark.parametrize("cut", [0, 3, 12, 1000])
def test_file_cut_short_is_named(tmp_path: Path, cut: int) -> None:
    path = write(tmp_path) / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DataUnavailable, match=r"train-images-idx3-ubyte is damaged or cut short; delete it"):
        load(Dataset.MNIST, Split.TRAIN, str(tmp_path))


def test_packed_file_cut_short_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, packed=True) / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataUnavailable, match=r"cannot read .*train-images-idx3-ubyte.gz"):
        load(Dataset.MNIST, Split.TRAIN, str(tmp_path))


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves a folder and logs nothing."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that is served to torchvision in place of the internet's copy of MNIST."""
    from torchvision.datasets import MNIST

    folder = write(tmp_path / "mirror", packed=True)
    sums = [(path.name, hashlib.md5(path.read_bytes()).hexdigest()) for path in sorted(folder.iterdir())]
    monkeypatch.setattr(MNIST, "resources", sums)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=folder)) as server:
        monkeypatch.setattr(MNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        yield folder
        server.shutdown()


def test_absent_data_is_downloaded_once(tmp_path: Path, mirror: Path) -> None:
    data_dir = tmp_path / "data"
    assert len(load(Dataset.MNIST, Split.TRAIN, str(data_dir)).labels) == 20
    for path in mirror.iterdir():
        path.unlink()
    assert len(load(Dataset.MNIST, Split.TEST, str(data_dir)).labels) == 10


def test_failed_download_leaves_nothing_behind(tmp_path: Path, mirror: Path) -> None:
    (mirror / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(DataUnavailable, match="downloading it failed"):
        load(Dataset.MNIST, Split.TRAIN, str(tmp_path / "data"))
    assert list((tmp_path / "data").iterdir()) == []


def test_half_of_the_files_is_completed(tmp_path: Path, mirror: Path) -> None:
    raw = write(tmp_path / "data" / "MNIST" / "raw")
    (raw / "t10k-labels-idx1-ubyte").unlink()
    assert len(load(Dataset.MNIST, Split.TEST, str(tmp_path / "data")).labels) == 10


def test_absent_cifar10_says_where_it_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import CIFAR10

    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:9/cifar-10-python.tar.gz")
    with pytest.raises(DataUnavailable, match="cifar-10-batches-py"):
        load(Dataset.CIFAR10, Split.TRAIN, str(tmp_path))
