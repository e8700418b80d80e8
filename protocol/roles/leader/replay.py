"""How a leader has its app process replay what is recorded before it goes live."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from protocol.app.calls import Compared, Diverged, Finished, NextEntry, Push, Renewed, ScriptEnd, ToApp
from protocol.blocks.cid import CID, Block, MemoryBlocks
from protocol.chain.script import script_entry
from protocol.records.bodies import Chained
from protocol.records.signed import parse_record
from protocol.roles.effects import Cause, FetchRecord, Hand, What
from protocol.roles.leader.collecting import Gathering, LeaderSettings
from protocol.roles.leader.node_polls import Looks
from protocol.roles.leader.plan import ResumedRun
from protocol.roles.newest_manifest import Author, TrustedManifest


class Replaying(Gathering):
    """A leader in the making whose app process is given the script of the chain, entry by entry as it asks."""

    def __init__(self, author: Author, trusted: TrustedManifest, run: ResumedRun, settings: LeaderSettings) -> None:
        super().__init__(author, trusted, run, settings)
        self._script: Iterator[CID] = iter(())
        """The records that the app has not replayed yet."""
        self._app_is_lost = False
        self._looks = Looks(settings.min_clients, self._deafness)

    def _hand(self, value: ToApp) -> None:
        """Hand the app process something, where there is one: the next one asks for it again."""
        if not self._app_is_lost:
            self._outbox.emit(Hand(value))

    def _renewed(self, call: Push | Finished) -> bool:
        """Have the app write again what it wrote in an epoch that is over; whether that is so."""
        key = self._content_key
        if key is None or key.epoch == call.epoch:
            return False
        self._hand(Renewed(call.call, key))
        return True

    def _take_replay_call(self, call: NextEntry | Compared | Diverged, now: float) -> None:
        match call:
            case NextEntry():
                self._next_entry(call, now)
            case Compared():
                self._outbox.report(What.REPLAYED, height=call.height, messages=call.messages)
            case Diverged():
                self._outbox.report(What.DIVERGED, height=call.height, why=call.what)
                self._outbox.cannot_go_on(f"the app does not replay to its own chain: {call.what}", now, Cause.REPLAY)

    def _next_entry(self, call: NextEntry, now: float) -> None:
        """Hand the replaying app what the next record says, or let it go live."""
        cid = next(self._script, None)
        if cid is None:
            self._looks.expect(self.chain.last_look, now, self._settings.grace)
            self._hand(ScriptEnd(call.call, live=True, key=self._content_key))
        else:
            done = partial(self._entry_here, cid, call.call, self._script)
            self._outbox.must(FetchRecord, done, cid, Chained)

    def _entry_here(self, cid: CID, call: int, script: Iterator[CID], blocks: Mapping[CID, bytes], now: float) -> None:
        if script is self._script:  # else an app process asked that has been lost since
            source = MemoryBlocks(blocks, self._newest.blocks)
            self._hand(script_entry(parse_record(Block(cid, blocks[cid])), self.chain.keys, source, call))
