"""A client's replies, from when each is kept until a collect answers its message: announced again and again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from protocol.blocks.cid import CID, Block
from protocol.pacing.retry import Retry
from protocol.records.bodies import Reply
from protocol.records.signed import parse_record, sign_record
from protocol.roles.catch_up import CatchUp
from protocol.roles.client.app_host import ClientPlan, Hosting
from protocol.roles.client.follow import Verified
from protocol.roles.effects import FetchRecord, Store, What
from protocol.roles.newest_manifest import Author, TrustedManifest
from protocol.wire.announcements import ReplyReady


@dataclass(slots=True)
class Unacknowledged:
    """A reply that no collect has taken yet. ``block`` is None after a restart, until it was read: our journal has it
    where the engine lost it."""

    reply: CID
    block: Block | None
    retry: Retry


class Replying(Hosting):
    """A machine that announces what it has answered."""

    def __init__(self, author: Author, trusted: TrustedManifest, plan: ClientPlan, verified: Verified) -> None:
        super().__init__(author, trusted, plan, verified)
        self._unacknowledged: dict[bytes, Unacknowledged] = {}

    def _announce_due(self, now: float) -> None:
        for message, waiting in self._unacknowledged.items():
            if now >= waiting.retry.at:
                self._announce_reply(message, waiting, now)

    def _moments(self) -> Iterable[float]:
        yield from super()._moments()
        yield from (waiting.retry.at for waiting in self._unacknowledged.values())

    def _leader_is_back(self, now: float) -> None:
        for waiting in self._unacknowledged.values():
            waiting.retry.soon(now)

    def _announce_reply(self, message: bytes, waiting: Unacknowledged, now: float) -> None:
        assert self._run is not None
        waiting.retry.back_off(now)
        if waiting.block is None:
            done, lost = partial(self._reply_here_again, message, waiting), partial(self._reply_lost, message)
            self._outbox.ask(FetchRecord, done, lost, waiting.reply, Reply)
        elif len(self.author.keys) == 1 or self._is_signed_for_now(message, waiting, waiting.block, self._run):
            ready = ReplyReady(self._run.run, message, waiting.reply)
            self._voice.announce(ready, (waiting.block,), topic=self._voice.topic)

    def _is_signed_for_now(self, message: bytes, waiting: Unacknowledged, block: Block, run: CatchUp) -> bool:
        """Whether the reply has the signature that the manifest in force asks for. Where our key was rotated since, the
        very same body is signed again and announced then: the reply stays the same
        (`protocol.records.signed.Record.id`)."""
        record, key = parse_record(block), self.author.key_in(run.chain.manifest)
        if any(signature.by == key.verify_key.raw for signature in record.signatures):
            return True
        block = sign_record(record.body, [key])
        done = partial(self._signed_again, message, waiting, block)
        self._outbox.must(Store, done, (block,), own=True)
        return False

    def _reply_lost(self, message: bytes, why: str, now: float) -> None:
        self._outbox.report(What.FETCH_FAILED, message=message.hex(), why=why)

    def _reply_here_again(
        self, message: bytes, waiting: Unacknowledged, blocks: Mapping[CID, bytes], now: float
    ) -> None:
        self._signed_again(message, waiting, Block(waiting.reply, blocks[waiting.reply]), now)

    def _signed_again(self, message: bytes, waiting: Unacknowledged, block: Block, now: float) -> None:
        waiting.reply, waiting.block = block.cid, block
        if self._unacknowledged.get(message) is waiting:
            self._announce_reply(message, waiting, now)
