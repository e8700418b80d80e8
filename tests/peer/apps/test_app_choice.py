"""`peer.apps.app_choice`: which apps a client can run with what its owner chose, and what is installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from peer.apps.app_choice import AppChoice, clients_to_begin_with
from peer.apps.app_python import OUR_PYTHON
from peer.base import installed_versions
from peer.base.errors import PeerError

PARTITION = "partition-id=0 num-partitions=2"


@pytest.fixture
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed_versions, "find_spec", lambda name: None)


def chosen(folder: Path | None = None, data_dir: str = "") -> AppChoice:
    local = {"data-dir": data_dir} if data_dir else {}
    return AppChoice(folder, {}, local, (), (PARTITION,))


@pytest.mark.usefixtures("without_torch")
def test_without_torch_a_client_stands_for_the_apps_that_its_owner_approves() -> None:
    config = chosen().client_config(OUR_PYTHON)
    assert dict(config) == {"partition-id": 0, "num-partitions": 2}
    assert chosen().unfit(config, OUR_PYTHON) == "torch is not installed (pip install 'pollen-fl[torch]')"


@pytest.mark.usefixtures("without_torch")
def test_without_torch_an_own_app_is_fit() -> None:
    app = chosen(Path("my-app"))
    assert app.unfit(app.client_config(OUR_PYTHON), OUR_PYTHON) == ""


@pytest.mark.usefixtures("without_torch")
def test_without_torch_a_setting_of_the_built_in_app_is_refused() -> None:
    with pytest.raises(PeerError, match="needs torch"):
        chosen(data_dir="/data").client_config(OUR_PYTHON)


@pytest.mark.usefixtures("without_torch")
def test_what_another_python_has_installed_is_not_guessed() -> None:
    assert chosen().unfit(chosen().client_config(("qemu-x86_64", "python")), ("qemu-x86_64", "python")) == ""


def app_with(folder: Path, settings: str) -> Path:
    components = '[tool.flwr.app.components]\nserverapp = "a:app"\nclientapp = "a:app"\n'
    head = '[project]\nname = "app"\nversion = "1.0.0"\nlicense = "MIT"\n[tool.flwr.app]\npublisher = "me"\n'
    folder.joinpath("pyproject.toml").write_text(f"{head}{components}[tool.flwr.app.config]\n{settings}\n")
    folder.joinpath("a.py").write_text("app = None\n")
    return folder


def test_a_run_begins_with_as_many_clients_as_was_said_last(tmp_path: Path) -> None:
    app = app_with(tmp_path, "min-clients = 5")
    assert clients_to_begin_with(None, app, []) == 5
    assert clients_to_begin_with(None, app, ["min-clients=1"]) == 1
    assert clients_to_begin_with(3, app, ["min-clients=1"]) == 3


def test_a_run_of_an_app_without_such_a_setting_begins_with_two_clients(tmp_path: Path) -> None:
    assert clients_to_begin_with(None, app_with(tmp_path, ""), []) == 2
    (other := tmp_path / "other").mkdir()
    assert clients_to_begin_with(None, app_with(other, 'min-clients = "all"'), []) == 2
