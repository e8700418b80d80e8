"""`strategy.hosting.host`: what both kinds of host rely on."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

import strategy
from protocol.blocks.cid import CID, MissingBlock, raw_block
from protocol.blocks.content import ContentError
from strategy.grid_answers import RunStopped
from strategy.hosting.host import (
    MAX_REASON,
    OUR_PACKAGES,
    GuardedStore,
    describe,
    out_of_sight,
    uses_torch,
    working_in,
)


def test_our_packages_are_out_of_sight_inside_and_back_afterwards() -> None:
    before, path = dict(sys.modules), list(sys.path)
    root = str(Path(strategy.__file__).parent.parent)

    with out_of_sight():
        assert not [name for name in sys.modules if name.partition(".")[0] in OUR_PACKAGES]
        assert root not in sys.path

    assert {name: sys.modules[name] for name in before} == before
    assert sys.path == path


def test_a_module_of_the_apps_does_not_stay_in_our_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = importlib.import_module("crypto")
    (tmp_path / "crypto.py").write_text("OWN = True\n")
    monkeypatch.syspath_prepend(tmp_path)

    with out_of_sight():
        assert importlib.import_module("crypto").OWN

    assert importlib.import_module("crypto") is ours


@pytest.mark.parametrize(
    ("source", "uses"),
    [
        ("import torch", True),
        ("import torch.nn as nn", True),
        ("    from torch import nn", True),
        ("from torchvision import datasets", True),
        ("import torchmetrics", False),
        ("# import torch", False),
        ("import numpy", False),
    ],
)
def test_torch_is_found_in_the_sources(source: str, uses: bool, tmp_path: Path) -> None:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "task.py").write_text(source + "\n")

    assert uses_torch(tmp_path) is uses


def test_the_working_folder_is_made_and_left_again(tmp_path: Path) -> None:
    before = Path.cwd()

    with working_in(tmp_path / "new"):
        assert Path.cwd() == tmp_path / "new"

    assert Path.cwd() == before


class Broken:
    """A store whose every call raises ``error``."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def put_content(self, root: CID, blocks: object) -> None:
        raise self.error

    def open(self, root: CID) -> Broken:
        return self

    def get(self, cid: CID) -> bytes:
        raise self.error


SOME = raw_block(b"x").cid


@pytest.mark.parametrize("error", [OSError("disk full"), MissingBlock(SOME)])
def test_a_store_that_fails_stops_the_run_even_when_the_app_swallows_it(error: Exception) -> None:
    store = GuardedStore(Broken(error))
    store.check()

    with pytest.raises(RunStopped):
        store.open(SOME).get(SOME)
    with pytest.raises(RunStopped, match="the engine failed"):
        store.check()


def test_a_malformed_content_is_no_failure_of_the_store() -> None:
    store = GuardedStore(Broken(ContentError("malformed")))

    with pytest.raises(ContentError):
        store.put_content(SOME, [])
    store.check()


def test_a_reason_fits_into_a_record() -> None:
    assert describe(ZeroDivisionError("division by zero")) == "<class 'ZeroDivisionError'>:<'division by zero'>"
    assert len(describe(ValueError("x" * 10_000), "; fix it")) == MAX_REASON
    assert describe(ValueError("x" * 10_000), "; fix it").endswith("x'>; fix it")
    assert describe(ValueError("\ud800")).encode()
