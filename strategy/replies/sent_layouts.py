"""The layouts of what was dispatched, which replies are compared with.

The process that examines replies runs the app that has sent the messages. So it has the arrays in memory as they are
sent, and need not read them back: that would read, hash and decrypt the beginning of each.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from flwr.app import RecordDict

from protocol.blocks.cid import CID
from strategy.replies.examination import Sent, layout_of

KEPT: Final = 16
"""How many layouts are kept: of the newest dispatched contents, and of those that replies came to."""


class SentLayouts:
    """The layouts of the newest contents. Safe to use from several threads."""

    def __init__(self) -> None:
        self._layouts: dict[CID, Sent] = {}
        self._using = threading.Lock()

    def sends(self, root: CID, content: RecordDict) -> None:
        """``content`` is going to be dispatched as ``root``."""
        with self._using:
            self._keep(layout_of(root, content))

    def of(self, root: CID, read: Callable[[], Sent]) -> Sent:
        """The layout of what was dispatched as ``root``. If it is not here, ``read`` gives it, and may raise. That
        is done once, because the replies to one dispatch arrive together."""
        with self._using:
            sent = self._layouts.get(root) or read()
            self._keep(sent)
            return sent

    def _keep(self, sent: Sent) -> None:
        self._layouts.pop(sent.root, None)
        self._layouts[sent.root] = sent  # the last used comes last
        if len(self._layouts) > KEPT:
            del self._layouts[next(iter(self._layouts))]
