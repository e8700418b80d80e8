"""What a node's start deletes: nothing if contents were on their way, but not for ever."""

from __future__ import annotations

from pathlib import Path

import pytest

from peer.engine.kubo.contents.unfinished_contents import SPARED, UnfinishedContents
from protocol.blocks.cid import raw_block

ROOT = raw_block(b"root").cid


@pytest.fixture
def contents(tmp_path: Path) -> UnfinishedContents:
    contents = UnfinishedContents(tmp_path)
    contents.prepare()
    return contents


def test_nothing_is_spared_if_nothing_was_on_its_way(contents: UnfinishedContents) -> None:
    assert not contents.spare()


def test_what_was_on_its_way_is_spared_once(contents: UnfinishedContents) -> None:
    contents.begin(ROOT)
    assert contents.spare()
    assert not contents.spare()


def test_what_is_whole_is_not_spared(contents: UnfinishedContents) -> None:
    contents.begin(ROOT)
    contents.end(ROOT)
    assert not contents.spare()


def test_a_content_that_never_is_whole_is_spared_at_few_starts(contents: UnfinishedContents) -> None:
    spared = []
    for _ in range(SPARED + 2):
        contents.begin(ROOT)
        spared.append(contents.spare())
    assert spared == [True] * SPARED + [False, True]


def test_where_nothing_can_be_noted_nothing_is_spared(contents: UnfinishedContents, tmp_path: Path) -> None:
    contents.begin(ROOT)
    (tmp_path / "unfinished-spared").mkdir()
    assert not contents.spare()


def test_in_a_repository_that_is_not_ours_nothing_is_written(tmp_path: Path) -> None:
    contents = UnfinishedContents(tmp_path)
    contents.begin(ROOT)
    contents.end(ROOT)
    assert not list(tmp_path.iterdir())
