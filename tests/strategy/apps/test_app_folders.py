"""`strategy.apps.bundling` and `strategy.apps.config`: what of an app's folder is taken, and what its pyproject
says."""

from __future__ import annotations

import contextlib
import copy
import io
import os
import re
import socket
import subprocess
import sys
import unicodedata
import zipfile
from collections.abc import Iterator
from datetime import datetime
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from flwr.cli.build import build_fab_from_disk
from small_leader import APPS, MemoryStore

from protocol.blocks.bundle import BundledFile, BundleError, read_bundle, write_bundle
from protocol.blocks.content import ContentError
from strategy.apps.builtin_app import builtin_app_folder
from strategy.apps.bundling import bundle_folder, check_self_contained, read_folder, unpack_bundle
from strategy.apps.config import AppError, check_components, fuse_run_config, parse_node_config, read_app


def stored(folder: Path) -> tuple[list[BundledFile], MemoryStore]:
    """The files of its bundle, and where they are."""
    root, blocks = bundle_folder(folder)
    store = MemoryStore({block.cid: block.data for block in blocks})
    return read_bundle(root, store), store


PYPROJECT = """
# a comment
[project]
name = "trial"
version = "1.0.0"
[tool.flwr.app]
publisher = "me"
{app}
[tool.flwr.app.components]
serverapp = "a:app"
clientapp = "a:app"
[tool.flwr.federations]
default = "superlink"
[tool.flwr.federations.superlink]
address = "superlink.hospital-a.internal:9093"
"""


def write(folder: Path, *paths: str, app: str = "") -> Path:
    """An app with these files besides its pyproject.toml; a name alone is what is in each."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pyproject.toml").write_text(PYPROJECT.format(app=app))
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(f"# {path}\n")
    return folder


SITE = ["data/train.csv", "data/patients.json", "secrets.txt", "secrets.yaml", ".env", "key.pem", "uv.lock", "old.fab"]
SOURCES = ["a.py", "pkg/__init__.py", "pkg/settings.yaml", "README.md", "LICENSE"]
NEVER = ["model.pt", "lib/x.py", "test_a.py", "pkg/b_test.py", "build/z.py", ".venv/v.py", "pkg/__pycache__/x.py"]
IGNORED = "data/\nsecrets.yaml\n*.log.json\n!kept.log.json\n"


def taken(folder: Path) -> dict[str, bytes]:
    return dict(read_folder(folder).files)


def fab(folder: Path) -> dict[str, bytes]:
    """What is in the bundle that Flower makes of a folder."""
    with zipfile.ZipFile(io.BytesIO(build_fab_from_disk(folder))) as archive:
        return {name: archive.read(name) for name in archive.namelist() if name != ".info/CONTENT"}


@pytest.mark.parametrize(
    "app",
    ["", 'fab-include = ["a.py", "pkg/**/*.py"]', 'fab-exclude = ["pkg/settings.yaml", ".gitignore"]'],
)
def test_a_bundle_takes_what_flowers_own_takes(app: str, tmp_path: Path) -> None:
    folder = write(tmp_path, *SITE, *SOURCES, *NEVER, "x.log.json", "kept.log.json", "pkg/data/deep.json", app=app)
    (folder / ".gitignore").write_text(IGNORED)

    assert taken(folder) == fab(folder)


def test_neither_data_nor_secrets_nor_addresses_of_a_site_travel(tmp_path: Path) -> None:
    folder = write(tmp_path, *SITE, *SOURCES)
    (folder / ".gitignore").write_text(IGNORED)

    files = taken(folder)

    assert sorted(files) == sorted(["pyproject.toml", *SOURCES])
    assert b"hospital-a.internal" not in b"".join(files.values())


@pytest.mark.parametrize("folder", [builtin_app_folder(), APPS / "polling"], ids=lambda folder: folder.name)
def test_an_app_is_bundled_as_flower_bundles_it(folder: Path) -> None:
    assert taken(folder) == fab(folder)


def test_a_build_beside_it_a_comment_and_another_address_make_no_other_app(tmp_path: Path) -> None:
    """Flower's own `flwr build` writes its bundle into the folder that one works in."""
    one, other = (write(tmp_path / name, "a.py") for name in ("one", "other"))
    (other / "me.trial.1-0-0.abcdef.fab").write_bytes(b"zip")
    (other / "a.py").chmod(0o755)
    text = (other / "pyproject.toml").read_text()
    (other / "pyproject.toml").write_text(text.replace("# a comment", "# another").replace("hospital-a", "hospital-b"))

    assert bundle_folder(one)[0] == bundle_folder(other)[0]


def test_what_an_app_might_miss_is_told_and_what_none_misses_is_not(tmp_path: Path) -> None:
    junk = ["uv.lock", "x.fab", ".env", "venv/lib/a.txt", "pkg/__pycache__/a.pyc", "pkg.egg-info/PKG-INFO"]
    folder = write(tmp_path, "a.py", "model.pt", "data/train.csv", "test_a.py", "lib/x.py", *junk)

    assert read_folder(folder).missed == ("data/train.csv", "lib/x.py", "model.pt", "test_a.py")


def test_hidden_files_stay_though_flower_would_take_some(tmp_path: Path) -> None:
    folder = write(tmp_path, "a.py", ".github/workflows/ci.yml", ".vscode/tasks.json", ".aws/credentials.json")

    assert sorted(taken(folder)) == ["a.py", "pyproject.toml"]


def test_a_link_out_of_the_folder_a_pipe_and_a_socket_stay(tmp_path: Path) -> None:
    (tmp_path / "secret.py").write_text("secret = 1")
    folder = write(tmp_path / "app", "a.py")
    (folder / "link.py").symlink_to(tmp_path / "secret.py")
    (folder / "linked").symlink_to(tmp_path, target_is_directory=True)
    os.mkfifo(folder / "pipe.py")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "socket.py"))
        assert sorted(taken(folder)) == ["a.py", "pyproject.toml"]


@pytest.mark.parametrize(
    ("ignored", "why"),
    [
        ("secrets.json # caf\u00e9".encode("latin-1"), "not UTF-8"),
        ("secrets.json".encode("utf-16"), "not UTF-8"),
        (b"\xef\xbb\xbfsecrets.json\n", "byte order mark"),
    ],
)
def test_a_gitignore_that_flower_would_pass_over_is_refused(ignored: bytes, why: str, tmp_path: Path) -> None:
    (write(tmp_path, "a.py", "secrets.json") / ".gitignore").write_bytes(ignored)

    with pytest.raises(BundleError, match=why):
        read_folder(tmp_path)


def test_a_gitignore_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ignore").write_text("secrets.json")
    (write(tmp_path / "app", "a.py", "secrets.json") / ".gitignore").symlink_to(tmp_path / "ignore")

    with pytest.raises(BundleError, match="symbolic link"):
        read_folder(tmp_path / "app")


@pytest.mark.parametrize(
    ("app", "why"),
    [
        ('fab-include = ["absent.py"]', "did not match any files"),
        ('fab-include = ["data.csv"]', "did not match any files"),
        ('fab-include = ["**/.editorconfig"]', "removed by non-overridable"),
        ("fab-exclude = []", "fab-exclude"),
    ],
)
def test_what_flower_makes_no_bundle_of_is_refused_with_its_reason(app: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=why):
        read_folder(write(tmp_path, "a.py", "data.csv", ".editorconfig", app=app))


ALIKE = [("mod\u00e9l.py", "mode\u0301l.py"), ("a.py", "A.py"), ("con.py",), ("Pkg/x.py", "pkg/y.py")]


@pytest.mark.parametrize("names", ALIKE)
def test_a_folder_whose_names_are_not_for_every_system_is_refused(names: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(BundleError):
        bundle_folder(write(tmp_path, *names))


def test_a_name_is_the_same_from_a_system_that_decomposes_it(tmp_path: Path) -> None:
    one, other = tmp_path / "linux", tmp_path / "mac"
    for folder, form in ((one, "NFC"), (other, "NFD")):
        (write(folder) / unicodedata.normalize(form, "mod\u00e9l.py")).write_text("x = 1\n")

    assert bundle_folder(one)[0] == bundle_folder(other)[0]


def test_a_name_that_is_not_unicode_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / os.fsdecode(b"\xff.py")).write_text("")

    with pytest.raises(BundleError, match="cannot be in a bundle"):
        bundle_folder(tmp_path)


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


WHOLE: dict[str, Any] = {
    "project": {"name": "trial", "version": "1", "dependencies": ["numpy"]},
    "tool": {
        "flwr": {
            "app": {
                "publisher": "me",
                "components": {"serverapp": "a:app", "clientapp": "a:app"},
                "config": {"rounds": 3, "deep": {"er": "x"}},
                "fab-include": ["*.py"],
                "fab-exclude": ["b.py"],
            },
            "federations": {"default": "one", "one": {"address": "here"}},
        }
    },
}


def places(section: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Where something stands in a file."""
    for name, value in section.items():
        yield (*above, name)
        if isinstance(value, dict):
            yield from places(value, (*above, name))


SHAPES = [3, "text", True, 0.5, datetime(1970, 1, 1), [], [1], [["a"]], [{"a": 1}], {}, {"a": {"b": []}}]


@pytest.mark.parametrize("place", list(places(WHOLE)), ids=".".join)
def test_a_pyproject_of_any_shape_is_read_or_refused(place: tuple[str, ...], tmp_path: Path) -> None:
    write(tmp_path, "a.py", "b.py")
    for shape in SHAPES:
        config = copy.deepcopy(WHOLE)
        reduce(getitem, place[:-1], config)[place[-1]] = shape
        (tmp_path / "pyproject.toml").write_text(tomli_w.dumps(config))

        with contextlib.suppress(BundleError):
            read_folder(tmp_path)
        with contextlib.suppress(AppError):
            read_app(tmp_path)


@pytest.mark.parametrize("section", ["project", "tool", "tool.flwr", "tool.flwr.app", "tool.flwr.app.components"])
def test_what_is_no_section_is_named(section: str, tmp_path: Path) -> None:
    *above, name = section.split(".")
    (tmp_path / "pyproject.toml").write_text((f"[{'.'.join(above)}]\n" if above else "") + f"{name} = 3\n")

    why = f"{re.escape(section)} in pyproject.toml is 3, and has to be a section"
    with pytest.raises(BundleError, match=why):
        read_folder(tmp_path)
    with pytest.raises(AppError, match=why):
        read_app(tmp_path)


@pytest.mark.parametrize("text", [f"a = {'[' * 20_000}", f"{'.'.join('a' * 5_000)} = 1", "\ufeff", "a = \\xff"])
def test_a_pyproject_that_is_nested_without_end_or_no_toml_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[tool.flwr.app.config]\n{text}\n")

    with pytest.raises(BundleError):
        read_folder(tmp_path)
    with pytest.raises(AppError):
        read_app(tmp_path)
    with contextlib.suppress(AppError):
        check_components((tmp_path / "pyproject.toml").read_bytes(), [])


def test_a_fab_is_refused_with_the_command_that_makes_a_folder_of_it(tmp_path: Path) -> None:
    folder = write(tmp_path / "app", "a.py")
    fab = tmp_path / "me.trial.1-0-0.abcdef.fab"
    fab.write_bytes(build_fab_from_disk(folder))

    with pytest.raises(BundleError, match=r"python -m zipfile -e (\S+) (\S+)\)") as caught:
        read_folder(fab)

    command = re.findall(r"-m zipfile -e \S+ [^\s)]+", str(caught.value))[0].split()
    subprocess.run([sys.executable, *command], check=True)
    assert bundle_folder(Path(command[-1]))[0] == bundle_folder(folder)[0]


@pytest.mark.parametrize(("place", "why"), [("absent", "there is no folder"), ("a.py", "is a file")])
def test_what_is_no_folder_is_refused(place: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=why):
        read_folder(write(tmp_path, "a.py") / place)


def component(client: str, *paths: str) -> tuple[list[BundledFile], MemoryStore]:
    """A bundle as a hostile server makes it: its ClientApp is said to be there, its files are these."""
    pyproject = f'[tool.flwr.app.components]\nclientapp = "{client}"\n'.encode()
    root, blocks = write_bundle([("pyproject.toml", pyproject), *((path, b"") for path in paths)])
    store = MemoryStore({block.cid: block.data for block in blocks})
    return read_bundle(root, store), store


@pytest.mark.parametrize("client", ["antigravity:app", "..up:app", "/tmp/x:app", "pkg.other:app", ":app", ""])
def test_an_app_of_the_network_that_names_a_module_outside_is_not_unpacked(client: str) -> None:
    with pytest.raises(BundleError, match="its clientapp is in the module"):
        check_self_contained(*component(client, "pkg/__init__.py", "pkg/client_app.py"))


@pytest.mark.parametrize("client", ["pkg:app", "pkg.client_app:app", "pkg.client_app:make.app"])
def test_an_app_of_the_network_runs_its_own_files(client: str) -> None:
    check_self_contained(*component(client, "pkg/__init__.py", "pkg/client_app.py"))


def test_pairs_given_several_times_are_merged_and_the_last_of_a_key_wins() -> None:
    assert parse_node_config("a=1 b=2", "b=3", 'c="x y"') == (("a", 1), ("b", 3), ("c", "x y"))
    app = read_app(APPS / "numpy_fedavg")
    assert dict(fuse_run_config(app, "num-server-rounds=7", "size=3"))["num-server-rounds"] == 7


def test_a_toml_file_stands_alone(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("a = 1")
    assert parse_node_config(str(tmp_path / "c.toml")) == (("a", 1),)
    with pytest.raises(AppError, match="TOML files cannot be passed alongside"):
        parse_node_config("b=2", str(tmp_path / "c.toml"))
