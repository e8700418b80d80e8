"""`strategy.apps.plain_app`: what is told again of Flower is what Flower says."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from flwr.cli.build import get_filtered_fab_paths
from flwr.cli.utils import collect_files, filter_paths_for_publish
from flwr.common import constant
from flwr.common.config import flatten_dict, parse_config_args, validate_fields_in_config
from flwr.supercore import constant as publishing

from strategy.apps import plain_app
from strategy.apps.plain_app import flat, is_plain, parsed_pairs, plain_paths

ROOT = Path(__file__).parents[3]
APPS = sorted(
    path.parent for place in ("tests/apps", "strategy", "examples") for path in ROOT.glob(f"{place}/**/pyproject.toml")
)
PLAIN = """
project.name = "trial"
project.version = "1.0.0"
[tool.flwr.app]
publisher = "me"
components = {serverapp = "a:app", clientapp = "a:app"}
config = {lr = 0.1, model = {name = "x", deep = {"" = true}}}
"""
NAMES = [
    "a.py",
    "b_test.py",
    "test_b.py",
    "LICENSE",
    "LICENSE.md",
    "x.txt",
    "#a.py",
    "with space.md",
    "c.json",
    "d.yaml",
]
FOLDERS = [
    "",
    "pkg/",
    "pkg/data/",
    "lib/",
    "pkg/lib/",
    ".venv/",
    "env/",
    "build/",
    "pkg/build/",
    "__pycache__/",
    ".flwr/",
    "p.egg/",
]


def test_the_patterns_are_flowers() -> None:
    assert plain_app.PUBLISHED == publishing.APP_PUBLISH_INCLUDE_PATTERNS
    assert plain_app.UNPUBLISHED == publishing.APP_PUBLISH_EXCLUDE_PATTERNS
    assert plain_app.BUNDLED == constant.FAB_INCLUDE_PATTERNS
    assert plain_app.UNBUNDLED == constant.FAB_EXCLUDE_PATTERNS
    assert plain_app.MAX_DEPTH == publishing.MAX_DIR_DEPTH


@pytest.mark.parametrize(
    "ignored",
    [
        "",
        "a.py",
        "/a.py",
        "pkg/",
        "*.yaml\n!pkg/d.yaml",
        "**/data/c.json",
        "pkg/*\n!pkg/a.py",
        "# a.py\n\\#a.py",
        " c.json ",
    ],
)
def test_flower_takes_the_same_files(ignored: str, tmp_path: Path) -> None:
    for path in ["pyproject.toml", ".gitignore", *(folder + name for folder in FOLDERS for name in NAMES)]:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(ignored if path == ".gitignore" else "")
    files = collect_files(tmp_path)

    assert sorted(plain_paths(files) or ()) == sorted(get_filtered_fab_paths(filter_paths_for_publish(files), {}))


@pytest.mark.parametrize(
    "path", ["/".join("abcdefghijkl") + "/x.py", ".gitignore"], ids=["too deep", "pyproject ignored"]
)
def test_of_a_folder_that_is_no_bundle_flower_says_why(path: str, tmp_path: Path) -> None:
    for name in ("pyproject.toml", path):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("pyproject.toml")

    assert plain_paths(collect_files(tmp_path)) is None


@pytest.mark.parametrize("folder", APPS, ids=lambda folder: folder.name)
def test_every_app_of_ours_is_plain(folder: Path) -> None:
    assert is_plain(tomllib.loads((folder / "pyproject.toml").read_text("utf-8")))


def test_what_is_plain_flower_takes() -> None:
    config = tomllib.loads(PLAIN)
    assert is_plain(config)
    assert validate_fields_in_config(config)[0]


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("project", "name"), None),
        (("project", "version"), None),
        (("tool",), None),
        (("tool", "flwr"), None),
        (("tool", "flwr", "app"), None),
        (("tool", "flwr", "app", "publisher"), None),
        (("tool", "flwr", "app", "components"), None),
        (("tool", "flwr", "app", "components", "serverapp"), None),
        (("tool", "flwr", "app", "components", "clientapp"), None),
        (("tool", "flwr", "app", "components", "clientapp"), 1),
        (("tool", "flwr", "app", "config", "lr"), [1]),
        (("tool", "flwr", "app", "fab-include"), ["*.py"]),
        (("tool", "flwr", "app", "fab-exclude"), []),
    ],
)
def test_what_lacks_something_or_has_patterns_is_left_to_flower(place: tuple[str, ...], value: object) -> None:
    config = tomllib.loads(PLAIN)
    *above, name = place
    section: dict[str, Any] = config
    for each in above:
        section = section[each]
    if value is None:
        del section[name]
    else:
        section[name] = value

    assert not is_plain(config)


@pytest.mark.parametrize(
    "texts",
    [
        [],
        [""],
        ["a=1 b=2.5", "b=3"],
        ["a.b=1", "a.c=true"],
        ["a.b=1 a.c='x y'"],
        ['a="x=1"', "c=1e3"],
        ["a={b=1,c=2}"],
    ],
)
def test_pairs_are_read_as_flower_reads_them(texts: list[str]) -> None:
    assert parsed_pairs(texts) == parse_config_args(texts)


@pytest.mark.parametrize("text", ["a=b", "a=1 a=2", "a=1979-05-27", "a=[1]"])
def test_what_flower_cannot_read_is_refused(text: str) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011  # of several kinds
        parse_config_args([text])
    with pytest.raises(ValueError, match=r"."):
        parsed_pairs([text])


@pytest.mark.parametrize("config", [{}, {"a": {"b": {"c": 1}}}, {"": {"a": 1}, "b": {"": {"": "x"}}}])
def test_settings_lose_their_nesting_as_flowers_do(config: dict[str, Any]) -> None:
    assert flat(config) == flatten_dict(config)


def test_a_peer_on_a_local_engine_imports_neither_flower_nor_a_client_of_kubos() -> None:
    """Each takes half a second and more of every start."""
    code = (
        "import sys; from pathlib import Path; import peer.cli.runs.start, peer.roles.training, peer.roles.leading\n"
        "from strategy.apps.bundling import read_folder; from strategy.apps.config import read_app, parse_node_config\n"
        f"folder = Path({str(ROOT / 'tests/apps/numpy_fedavg')!r})\n"
        "read_folder(folder); read_app(folder); parse_node_config('a=1')\n"
        "print({'flwr', 'numpy', 'torch', 'fastapi', 'httpx', 'requests'} & set(sys.modules) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "None\n"
