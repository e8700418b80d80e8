"""`scripts/make_venv.py`: which group of requirements an existing `.venv` is brought to."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "make_venv.py"


@pytest.fixture
def setup(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_venv", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "VENV", tmp_path)
    return module


@pytest.mark.parametrize(
    ("stamp", "asked", "made"),
    [
        ("", "run", "run"),
        ("/checkout\nunfinished\n", "dev", "dev"),
        ("/checkout\nrun 0123\n", "dev", "dev"),
        ("/checkout\ndev 0123\n", "run", "dev"),
    ],
)
def test_what_is_outdated_is_made_anew_with_no_less_in_it(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch, stamp: str, asked: str, made: str
) -> None:
    setup.write_stamp(stamp)
    groups: list[str] = []
    monkeypatch.setattr(setup, "make", groups.append)
    assert setup.main([asked]) == 0
    assert groups == [made]
