"""`peer new`: a folder that is an app at once."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from flwr.cli.config_utils import load_and_validate
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from in_memory_federation import run_federation

from strategy.apps.bundling import read_folder
from strategy.apps.dependencies import lacking
from strategy.apps.new_app import Framework, module_name, write_new_app
from strategy.flower_compat import load_app


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "My-App.2"
    sys.path[:] = [entry for entry in sys.path if not entry.startswith(str(tmp_path))]
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_app_2"]:
        del sys.modules[name]


@pytest.mark.parametrize("framework", list(Framework))
def test_a_new_app_trains_at_once(framework: Framework, folder: Path) -> None:
    assert write_new_app(folder, framework) == "my_app_2"
    _, warnings = load_and_validate(folder / "pyproject.toml")
    server, client = (load_app(f"my_app_2.{half}_app:app", ValueError, folder) for half in ("server", "client"))
    assert isinstance(server, ServerApp)
    assert isinstance(client, ClientApp)

    outcome = run_federation(server, client, folder=folder)

    assert (warnings, lacking(folder), outcome.errors) == ([], (), [])
    assert len(outcome.evaluations) == 3
    assert outcome.accuracy > 0.8
    assert outcome.evaluations[-1][0]["loss"] < outcome.evaluations[0][0]["loss"]


@pytest.mark.parametrize("framework", list(Framework))
def test_nothing_in_it_has_the_templates_name(framework: Framework, folder: Path) -> None:
    write_new_app(folder, framework)
    files = dict(read_folder(folder).files)
    assert {"pyproject.toml", "my_app_2/data.py", "my_app_2/model.py", "my_app_2/server_app.py"} <= files.keys()
    assert not [path for path, data in files.items() if "newapp" in path or b"newapp" in data]


@pytest.mark.parametrize("name", ["class", "1st", "numpy", "json", "a/..", "\u00e9t\u00e9", ""])
def test_a_name_that_python_cannot_import_or_has_already_is_none(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be called"):
        module_name(name)


def test_what_is_there_stays(folder: Path) -> None:
    folder.mkdir()
    with pytest.raises(FileExistsError):
        write_new_app(folder, Framework.NUMPY)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
