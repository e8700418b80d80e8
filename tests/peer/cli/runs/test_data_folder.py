"""`peer.cli.runs.app_folders`: where the data of a confined app is."""

from __future__ import annotations

from pathlib import Path

import pytest

from peer.cli.runs import app_folders
from peer.cli.runs.app_folders import data_folder


def test_a_confined_built_in_app_is_given_the_folder_where_it_would_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_folders, "default_data_folder", lambda: tmp_path / "cache" / "datasets")
    assert data_folder(None, None, confined=False) is None
    assert data_folder(None, tmp_path, confined=True) is None
    assert data_folder(tmp_path, None, confined=True) == tmp_path
    folder = data_folder(None, None, confined=True)
    assert folder == tmp_path / "cache" / "datasets"
    assert folder.is_dir()
