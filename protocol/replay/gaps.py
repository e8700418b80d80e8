"""A replay of a run of which not every reply is kept: where it can compare, and where it cannot.

A push hangs on the replies before it. If one of them is not kept, the push is *loose*: it is not compared, and what is
recorded takes its place, as after a difference that another machine may have caused. If the recorded model is not kept
either, the next push is loose too. From a push whose model is here, the app goes on as it was recorded, so each later
push is judged by itself again. But what else the app had kept of those replies, as the moments of an optimizer, nobody
knows: a difference then accuses nobody, unless the strategy is known to keep nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from protocol.app.calls import CollectEntry, DispatchEntry, ScriptEntry
from protocol.blocks.cid import CID


class Gaps:
    """Takes the entries of a script in order."""

    def __init__(self, is_lacking: Callable[[CID], bool]) -> None:
        """``is_lacking`` says of a content whether it is not whole here."""
        self._is_lacking = is_lacking
        self.is_loose = False
        """Whether the next push is."""
        self.had_any = False
        """Whether a reply was not kept so far."""

    def marked(self, entry: ScriptEntry, *, may_differ: bool = False) -> ScriptEntry:
        """The entry, with what is not kept marked. If this environment ``may_differ`` from the recorded one in what the
        app makes of numbers, a push can be compared only with a model that is here."""
        match entry:
            case CollectEntry(replies=replies):
                marked = tuple(
                    replace(each, not_kept=each.content is not None and self._is_lacking(each.content))
                    for each in replies
                )
                if any(each.not_kept for each in marked):
                    self.is_loose = self.had_any = True
                    return replace(entry, replies=marked)
            case DispatchEntry(messages=messages):
                sent = dict.fromkeys(each.message.content for each in messages)
                gone = tuple(filter(self._is_lacking, sent))
                is_loose = self.is_loose or (may_differ and bool(gone))
                self.is_loose = is_loose and bool(gone)
                return replace(entry, loose=is_loose, gone=gone) if is_loose or gone else entry
            case _:
                pass
        return entry
