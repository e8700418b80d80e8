"""`strategy.bundle` and `strategy.app_config`: what of an app's folder is taken, and what its pyproject says."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_leader import APPS, MemoryStore

from protocol.bundle import BundledFile, BundleError, read_bundle
from protocol.content import ContentError
from strategy.app_config import AppError, fuse_run_config, parse_node_config, read_app
from strategy.bundle import bundle_folder, unpack_bundle


def stored(folder: Path) -> tuple[list[BundledFile], MemoryStore]:
    """The files of its bundle, and where they are."""
    root, blocks = bundle_folder(folder)
    store = MemoryStore({block.cid: block.data for block in blocks})
    return read_bundle(root, store), store


def write(folder: Path, *paths: str) -> Path:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(f"# {path}\n")
    return folder


def test_a_bundle_takes_sources_and_data_and_leaves_out_what_no_app_is_made_of(tmp_path: Path) -> None:
    kept = ["LICENSE", "data/words.txt", "pkg/__init__.py", "pkg/build/x.py", "pkg/test_it.py", "pyproject.toml"]
    app = write(tmp_path, *kept, ".git/config", ".env", "pkg/__pycache__/x.pyc", "pkg/y.pyc", "build/z.py", "venv/v.py")

    files, _ = stored(app)

    assert [file.path for file in files] == kept


def test_an_unpacked_bundle_is_the_same_bundle(tmp_path: Path) -> None:
    unpack_bundle(*stored(APPS / "numpy_fedavg"), tmp_path / "app")

    assert bundle_folder(tmp_path / "app")[0] == bundle_folder(APPS / "numpy_fedavg")[0]
    assert [path.name for path in tmp_path.iterdir()] == ["app"]


def test_a_bundle_that_breaks_off_leaves_no_folder(tmp_path: Path) -> None:
    files, store = stored(write(tmp_path / "app", "a.py", "b.py"))
    store[files[1].chunks[0]] = b"of another length"

    with pytest.raises(ContentError):
        unpack_bundle(files, store, tmp_path / "unpacked")
    assert [path.name for path in tmp_path.iterdir()] == ["app"]


def test_a_folder_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    files, store = stored(write(tmp_path / "app", "a.py"))

    with pytest.raises(OSError, match=r"not empty|exist"):
        unpack_bundle(files, store, tmp_path / "app")


def test_a_symbolic_link_is_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path, "a.py")
    (tmp_path / "link.py").symlink_to("/etc/hosts")

    with pytest.raises(BundleError, match=r"link\.py is a symbolic link"):
        bundle_folder(tmp_path)


def test_an_app_is_read_with_its_settings_in_order() -> None:
    app = read_app(APPS / "numpy_fedavg")

    assert (app.name, app.version, app.server) == ("numpy_fedavg", "1.0.0", "numpy_fedavg.server_app:app")
    assert app.run_config == (("num-server-rounds", 2), ("strategy", "FedAvg"), ("fraction-evaluate", 1.0), ("size", 4))


def test_overrides_keep_the_type_they_are_written_in() -> None:
    app = read_app(APPS / "numpy_fedavg")

    fused = dict(fuse_run_config(app, 'fraction-evaluate=1 strategy="FedAdam" size=5.0'))

    assert repr(fused) == repr({"num-server-rounds": 2, "strategy": "FedAdam", "fraction-evaluate": 1, "size": 5.0})


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("lr=0.1", "no setting 'lr'; it has fraction-evaluate, num-server-rounds, size, strategy"),
        ("size=", "'size=' is not of the form key=value"),
        ("size", "'size' is not of the form key=value"),
        ("size=four", "invalid format"),
        ("size=nan", "size is nan: a run record holds finite numbers only"),
        (f"size={2**63}", "an integer of 64 bits"),
        ("absent.toml", "No such file"),
    ],
)
def test_overrides_that_do_not_fit_say_why(overrides: str, message: str) -> None:
    with pytest.raises(AppError, match=message):
        fuse_run_config(read_app(APPS / "numpy_fedavg"), overrides)


def test_a_node_config_is_read_as_flower_reads_it() -> None:
    assert parse_node_config("partition-id=0 num-partitions=3") == (("partition-id", 0), ("num-partitions", 3))
    assert parse_node_config("") == ()


@pytest.mark.parametrize(
    ("pyproject", "message"),
    [
        (None, "Cannot find pyproject.toml"),
        ("not toml", "is not a Flower app"),
        ('[project]\nname = "x"\nversion = "1"\n', r"Missing \[tool.flwr.app\] section"),
    ],
)
def test_a_folder_that_is_no_flower_app_says_why(pyproject: str | None, message: str, tmp_path: Path) -> None:
    if pyproject is not None:
        (tmp_path / "pyproject.toml").write_text(pyproject)

    with pytest.raises(AppError, match=message):
        read_app(tmp_path)
