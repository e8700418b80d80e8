"""`peer.apps.app_choice`: which apps a client can run with what its owner chose, and what is installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from peer.apps.app_choice import AppChoice
from peer.apps.app_python import OUR_PYTHON
from peer.base import installed_versions
from peer.base.errors import PeerError

PARTITION = "partition-id=0 num-partitions=2"


@pytest.fixture
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed_versions, "find_spec", lambda name: None)


def chosen(*, folder: Path | None = None, **local: str) -> AppChoice:
    return AppChoice(folder, {}, local, (), (PARTITION,))


@pytest.mark.usefixtures("without_torch")
def test_without_torch_a_client_stands_for_the_apps_that_its_owner_approves() -> None:
    config = chosen().client_config(OUR_PYTHON)
    assert dict(config) == {"partition-id": 0, "num-partitions": 2}
    assert chosen().unfit(config, OUR_PYTHON) == "torch is not installed (pip install 'pollen-fl[torch]')"


@pytest.mark.usefixtures("without_torch")
def test_without_torch_an_own_app_is_fit() -> None:
    app = chosen(folder=Path("my-app"))
    assert app.unfit(app.client_config(OUR_PYTHON), OUR_PYTHON) == ""


@pytest.mark.usefixtures("without_torch")
def test_without_torch_a_setting_of_the_built_in_app_is_refused() -> None:
    with pytest.raises(PeerError, match="needs torch"):
        chosen(**{"data-dir": "/data"}).client_config(OUR_PYTHON)


@pytest.mark.usefixtures("without_torch")
def test_what_another_python_has_installed_is_not_guessed() -> None:
    assert chosen().unfit(chosen().client_config(("qemu-x86_64", "python")), ("qemu-x86_64", "python")) == ""
