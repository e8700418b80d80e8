"""A home has a node for each federation, because a Kubo node is in one private network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from peer.engine.chosen_engine import known_reach
from peer.engine.kubo.config import swarm_key_text
from peer.engine.node_places import node_folder
from peer.home.home import Home


@dataclass(frozen=True)
class Network:
    swarm_key: bytes


FIRST, SECOND, THIRD = (Network(bytes([each]) * 32) for each in (1, 2, 3))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home whose node has run in the first network."""
    home = Home(tmp_path / "home").create()
    (home.path / "ipfs").mkdir()
    (home.path / "ipfs" / "swarm.key").write_bytes(swarm_key_text(FIRST.swarm_key))
    return home


def test_the_node_of_the_first_federation_is_in_the_home_itself(home: Home, tmp_path: Path) -> None:
    assert node_folder(home, FIRST) == node_folder(home, None) == home.path
    assert node_folder(Home(tmp_path / "new"), SECOND) == tmp_path / "new"


def test_each_other_federation_has_a_folder_of_its_own_always_the_same(home: Home) -> None:
    second, third = node_folder(home, SECOND), node_folder(home, THIRD)
    assert len({home.path, second, third}) == 3
    assert node_folder(home, SECOND) == second


def test_each_node_is_reached_where_its_own_folder_says(home: Home) -> None:
    folder = node_folder(home, SECOND)
    folder.mkdir(parents=True)
    (folder / "reach.json").write_text('{"listen":["127.0.0.1:4002"],"announce":[],"internal":false}')
    assert [each.port for each in known_reach(home, SECOND).listen] == [4002]
    assert [each.port for each in known_reach(home, FIRST).listen] == [None]
