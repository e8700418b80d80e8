"""The layouts of what was dispatched: which are kept, and how often one is read."""

from __future__ import annotations

from flwr.app import RecordDict

from protocol.blocks.cid import CID, raw_cid
from strategy.replies.examination import Sent, layout_of
from strategy.replies.sent_layouts import KEPT, SentLayouts


class Reading:
    """Reads layouts, and counts how often."""

    def __init__(self, layouts: SentLayouts) -> None:
        self.read: list[CID] = []
        self._layouts = layouts

    def of(self, root: CID) -> None:
        def read() -> Sent:
            self.read.append(root)
            return layout_of(root, RecordDict())

        assert self._layouts.of(root, read).root == root


ROOTS = [raw_cid(bytes([number])) for number in range(KEPT + 1)]


def test_one_that_was_not_sent_here_is_read_once() -> None:
    reading = Reading(SentLayouts())
    reading.of(ROOTS[0])
    reading.of(ROOTS[0])
    assert reading.read == [ROOTS[0]]


def test_the_one_that_was_used_longest_ago_is_forgotten() -> None:
    layouts = SentLayouts()
    reading = Reading(layouts)
    layouts.sends(ROOTS[0], RecordDict())
    layouts.sends(ROOTS[1], RecordDict())
    reading.of(ROOTS[0])
    for root in ROOTS[2:]:
        layouts.sends(root, RecordDict())
    reading.of(ROOTS[0])
    reading.of(ROOTS[1])
    assert reading.read == [ROOTS[1]]
