"""Names that others gave, where they become part of a path or a key."""

from __future__ import annotations

import pytest

from peer.metrics.points import Point
from peer.metrics.sinks import participant_label, tag_of


@pytest.mark.parametrize("name", ["../../etc", "/etc/passwd", "..", "a/b", "\x00", "x" * 999, "ü"])
def test_a_name_leads_nowhere(name: str) -> None:
    point = Point(1, 1, 0.0, name, name, 7, name, 0.5)
    for part in (participant_label(point), *tag_of(point).split("/")):
        assert "/" not in part
        assert not part.startswith(".")
        assert len(part) <= 80
    assert tag_of(point).count("/") == 1


def test_names_that_look_alike_are_told_apart_by_their_nodes() -> None:
    first, second = (Point(1, 1, 0.0, "train", "a/b", node, "loss", 0.5) for node in (1, 2))
    assert participant_label(first) != participant_label(second)
