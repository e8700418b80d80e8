"""Flower's `Grid` over a Pollen run: everything that a ServerApp sees of the world goes through here.

The Grid encodes and decodes. An `Answers` gives the answers (`strategy.grid_answers`,
`strategy.replay.scripted_answers`).
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from flwr.app import ArrayRecord, Error, Message, Metadata, RecordDict
from flwr.serverapp import Grid

from protocol.app.calls import ErrorCode, Handed, Outgoing, Pushed, Rules
from protocol.app.errors import parse_raised
from protocol.blocks.cid import CID, BlockError
from protocol.blocks.content import ContentError, ContentKey
from protocol.blocks.root_hints import MAX_ROOTS
from protocol.replies.checks_and_limits import is_update
from protocol.replies.closing_rule import LEFT_OUT
from protocol.visible import named
from strategy.contents.codec import DEFAULT_LIMITS, ContentStore, ContentWriter, Limits, decode
from strategy.contents.difference import difference
from strategy.contents.kept_replies import KeptReplies
from strategy.contents.sent_arrays import SentArrays
from strategy.contents.summary import mean_metrics, metrics_of, round_of
from strategy.flower_compat import (
    SUPERLINK_NODE_ID,
    NodeInfo,
    Run,
    received_message,
    says_it_failed,
    set_message_id,
)
from strategy.grid_answers import Answers, RunStopped
from strategy.models.outgoing_model import OutgoingModels, SpoiledModel
from strategy.replay.anchoring import Anchoring
from strategy.replay.scripted_answers import Divergence
from strategy.replies.sent_layouts import SentLayouts
from strategy.replies.strategies_in_use import EVALUATE, StrategiesInUse

METRICS_TOLD: Final = 4
"""How many metrics a line shows."""
NAME_TOLD: Final = 60
"""How many characters of a metric's name a line shows."""


@dataclass(frozen=True, slots=True)
class _Sent:
    """The metadata of a message that its reply repeats."""

    node: int
    type: str
    group: str
    expires: float
    round: int | None


@dataclass
class Updates:
    """How training went: how many replies were asked for, and how many were valid."""

    asked: int = 0
    valid: int = 0
    round: int | None = None
    """The round of the newest reply, if its message named one."""
    reason: str = ""
    """The reason of the newest reply that was an error."""

    def came(self, reply: Message, number: int | None) -> None:
        """Count a reply that the app got."""
        self.round = number if number is not None else self.round
        if reply.has_error():
            reason = reply.error.reason or f"error {reply.error.code}"
            self.reason = str(parse_raised(reason) or reason)
        elif says_it_failed(reply.content):
            self.reason = "the client says that it failed"
        else:
            self.valid += 1

    def fault(self) -> str:
        """Why the run came to nothing; empty if it has a result."""
        if not self.asked or self.valid:
            return ""
        of_round = "" if self.round is None else f", of round {self.round}"
        last = f"; the last one{of_round}: {self.reason}" if self.reason else ""
        return f"no training reply was ever valid, of {self.asked} that were asked for{last}"


class PollenGrid(Grid):
    """The Grid of one run. Its methods may be called from several threads.

    ``kept`` holds replies that were already read, to be examined. ``tell`` takes a line for people. ``strategies`` says
    which replies the app's strategy takes. ``sent`` has what the app keeps of what it sent, so that it takes no memory,
    and ``layouts`` what the replies to it are compared with.
    """

    def __init__(
        self,
        run: Run,
        answers: Answers,
        store: ContentStore,
        limits: Limits = DEFAULT_LIMITS,
        kept: KeptReplies | None = None,
        tell: Callable[[str], None] | None = None,
        strategies: StrategiesInUse | None = None,
        anchoring: Anchoring | None = None,
        sent: SentArrays | None = None,
        layouts: SentLayouts | None = None,
    ) -> None:
        self._run = run
        self._answers = answers
        self._store = store
        self._writer = ContentWriter(store)
        self._limits = limits
        self._kept = kept
        self._tell = tell
        self._strategies = strategies or StrategiesInUse()
        self._anchoring = anchoring
        self._sent = sent
        self._layouts = layouts
        self._outgoing_models = OutgoingModels()
        self.spoiled = ""
        """How the app's model was lost; empty while it is not."""
        self._updates = Updates()
        self._open: dict[bytes, _Sent] = {}
        self._lock = threading.Lock()

    def set_run(self, run: Run) -> None:
        """Set the run; Flower's own Grid refuses anything else too."""
        if not isinstance(run, Run):
            raise TypeError(f"`run` must be an instance of Run, got {type(run).__name__}")
        self._run = run

    @property
    def run(self) -> Run:
        """A copy of the run's details."""
        return Run(**vars(self._run))

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """A new message; Flower's older way to write ``Message(...)``."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> list[int]:
        """The nodes there are now, in rising order."""
        return list(self._answers.nodes())

    def get_nodes(self) -> list[NodeInfo]:
        """The nodes there are now, in rising order."""
        return [NodeInfo(node_id=node) for node in self.get_node_ids()]

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Send messages. Returns the id of each.

        Raises:
            ValueError: if a message has no content, has metadata that cannot be sent, or breaks a rule of the
                federation.
        """
        messages = list(messages)
        for message in messages:
            _check(message)
        if not messages:
            return []
        rounds = _rounds_of(messages)
        self._check_models(messages, rounds)
        pushed = self._push(messages, rounds)
        with self._lock:
            for message, message_id, number in zip(messages, pushed.messages, rounds, strict=True):
                metadata = message.metadata
                set_message_id(message, message_id.hex())
                metadata.created_at = pushed.created
                expires = pushed.created + metadata.ttl
                self._open[message_id] = _Sent(
                    metadata.dst_node_id, metadata.message_type, metadata.group_id, expires, number
                )
                self._updates.asked += is_update(metadata.message_type)
        return [message_id.hex() for message_id in pushed.messages]

    def _push(self, messages: Sequence[Message], rounds: Sequence[int | None]) -> Pushed:
        key = self._answers.key()
        while True:
            outgoing = self._outgoing(messages, rounds, key)
            if self._anchoring is not None:
                outgoing = self._anchoring.anchored(outgoing, messages, key)
            try:
                answer = self._answers.push(outgoing, key)
            except Divergence as divergence:
                if divergence.pushed is outgoing:  # otherwise another push met it before
                    try:
                        self._explain(divergence, messages, key)
                    finally:  # the peer hears of it, even if what was recorded cannot be read any more
                        divergence.tell()
                raise
            if isinstance(answer, Pushed):
                if self._sent is not None:
                    self._sent.move((message.content for message in messages), hidden=key is not None)
                return answer
            key = answer.key

    def _check_models(self, messages: Sequence[Message], rounds: Sequence[int | None]) -> None:
        """Raise SpoiledModel if the model in the messages is lost, or was lost before: the app may have swallowed
        that."""
        if self.spoiled:
            raise SpoiledModel(self.spoiled)
        of = {id(message.content): (message, number) for message, number in zip(messages, rounds, strict=True)}
        for message, number in of.values():
            if not (is_update(message.metadata.message_type) or message.metadata.message_type == EVALUATE):
                continue
            self._outgoing_models.learn(message.content)
            if not self._answers.any_model() and (what := self._outgoing_models.spoiled(message.content)):
                self.spoiled = _lost(what, number)
                raise SpoiledModel(self.spoiled)

    def fault(self, model: ArrayRecord | None) -> str:
        """Why a run that ended with this ``model`` came to nothing, although the app raised nothing; empty if it has a
        result."""
        if model is not None and (what := self._outgoing_models.spoiled_end(model)) and not self._answers.any_model():
            return _lost(what, self._updates.round)
        return self._updates.fault()

    def _explain(self, divergence: Divergence, messages: Sequence[Message], key: ContentKey | None) -> None:
        """Say how the content of a message differs from the recorded one."""
        recorded, index = divergence.recorded, divergence.index
        was = None
        if recorded is not None:
            try:
                was = decode(recorded.content, self._store.open(recorded.content), key, self._limits)
            except BlockError as error:
                divergence.what += f" (what was recorded cannot be read: {error})"
        message = None if index is None else messages[index]
        if self._anchoring is not None:
            self._anchoring.explain(divergence, was, message)
        elif was is not None and message is not None:
            divergence.difference = difference(was, message.content)

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """The replies that are here now and that the app has not had, in the order of the messages."""
        asked = self._still_open(message_ids)
        return self._receive(self._answers.pull(asked, self._rules(asked))) if asked else []

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        """Send messages and wait for the replies, ``timeout`` seconds at most. Replies are in the order of messages."""
        asked = self._still_open(self.push_messages(messages))
        if not asked:
            return []
        return self._receive(self._answers.wait(asked, None if timeout is None else float(timeout), self._rules(asked)))

    def _rules(self, asked: Sequence[bytes]) -> Rules:
        """The rules of the strategy in use for answers to these messages."""
        with self._lock:
            types = dict.fromkeys(self._open[message].type for message in asked if message in self._open)
        rules = ((type, self._strategies.rule(type)) for type in types)
        return tuple((type, rule) for type, rule in rules if rule is not None)

    def _outgoing(
        self, messages: Sequence[Message], rounds: Sequence[int | None], key: ContentKey | None
    ) -> tuple[Outgoing, ...]:
        # By identity, and within one push only: between two pushes the app may change the object.
        contents: dict[int, CID] = {}
        roots, room = dict[CID, bytes](), MAX_ROOTS
        for message in messages:
            if id(message.content) not in contents:
                written = self._writer.store(message.content, key)
                contents[id(message.content)] = written.root
                if self._layouts is not None:
                    self._layouts.sends(written.root, message.content)
                if written.root not in roots and len(data := written.root_block.data) <= room:
                    roots[written.root] = data
                    room -= len(data)
        return tuple(
            Outgoing(
                contents[id(message.content)],
                _plain_text(message.metadata.message_type),
                _plain_text(message.metadata.group_id),
                _plain_number(message.metadata.ttl),
                message.metadata.dst_node_id,
                number,
                roots.pop(contents[id(message.content)], b""),
            )
            for message, number in zip(messages, rounds, strict=True)
        )

    def _still_open(self, message_ids: Iterable[str]) -> tuple[bytes, ...]:
        # Flower's own Grid passes sets here, and their order must not reach the chain
        wanted = {bytes.fromhex(message_id) for message_id in message_ids}
        with self._lock:
            return tuple(message_id for message_id in self._open if message_id in wanted)

    def _receive(self, replies: Sequence[Handed]) -> list[Message]:
        received: list[Message] = []
        answered: list[_Sent] = []
        for reply in replies:
            with self._lock:
                sent = self._open.pop(reply.message, None)
            if sent is None:
                raise RunStopped(f"the peer handed over a reply to {reply.message.hex()}, which is not open")
            message = self._message(reply, sent)
            received.append(message)
            answered.append(sent)
            if is_update(sent.type):
                self._updates.came(message, sent.round)
        if received and self._tell is not None:
            self._tell(_in_words(answered, received))
        return received

    def _message(self, reply: Handed, sent: _Sent) -> Message:
        metadata = Metadata(
            run_id=self._run.run_id,
            message_id=hashlib.sha256(b"reply" + reply.message).hexdigest(),
            src_node_id=sent.node,
            dst_node_id=SUPERLINK_NODE_ID,
            reply_to_message_id=reply.message.hex(),
            group_id=sent.group,
            created_at=reply.created,
            ttl=sent.expires - reply.created,  # as Flower limits the ttl of a reply
            message_type=sent.type,
            dst_task_id=1,
        )
        return received_message(metadata, self._content(reply))

    def _stand_in(self, reply: Handed) -> RecordDict:
        """What a replay hands over in the place of a reply that is not kept: what comes of it is not compared."""
        assert reply.content is not None  # it is what is not kept
        assert self._anchoring is not None  # the peer says from the start that there are gaps
        records = decode(reply.content, self._store.open(reply.content), reply.key, self._limits)
        self._anchoring.fill(records)
        return records

    def _content(self, reply: Handed) -> RecordDict | Error:
        kept = None if self._kept is None else self._kept.take(reply.message, reply.content)
        if reply.content is None:
            return Error(int(ErrorCode.MESSAGE_UNAVAILABLE) if reply.code is None else reply.code, reply.reason)
        if kept is not None:
            return kept
        if reply.not_kept:
            return self._stand_in(reply)
        try:
            # decoded for each hand-over, because strategies change replies in place
            return decode(reply.content, self._store.open(reply.content), reply.key, self._limits)
        except ContentError as error:
            return Error(int(ErrorCode.MESSAGE_UNAVAILABLE), f"the reply's content cannot be read: {error}")


def _rounds_of(messages: Sequence[Message]) -> list[int | None]:
    """The round of each message."""
    rounds: dict[tuple[int, str], int | None] = {}  # by identity: many messages may share a content
    for message in messages:
        of = id(message.content), message.metadata.group_id
        if of not in rounds:
            rounds[of] = round_of(message.content, message.metadata.group_id)
    return [rounds[id(message.content), message.metadata.group_id] for message in messages]


def _lost(what: str, number: int | None) -> str:
    where = "" if number is None else f"round {number}: "
    return (
        f"{where}the model that the app was about to send out is lost: {what}. If one "
        "update is too large: --max-update-norm 3x. If the app means it so: --admission with all checks but model"
    )


def _in_words(answered: Sequence[_Sent], received: Sequence[Message]) -> str:
    """The replies as a line, such as ``round 2: train by 3: train_loss 0.412``."""
    good = [message.content for message in received if message.has_content()]
    means = mean_metrics([metrics_of(content) for content in good])
    measured = ", ".join(f"{named(name, NAME_TOLD)} {value:.4g}" for name, value in list(means.items())[:METRICS_TOLD])
    rounds = {sent.round for sent in answered if sent.round is not None}
    where = f"round {', '.join(map(str, sorted(rounds)))}: " if rounds else ""
    types = " and ".join(dict.fromkeys(sent.type for sent in answered))
    reasons = [message.error.reason or "" for message in received if message.has_error()]
    out = sum(reason.startswith(LEFT_OUT) for reason in reasons)
    others = ((out, "left out"), (len(reasons) - out, "failed"))
    more = "".join(f", {count} {how}" for count, how in others if count)
    return f"{where}{types} by {len(good)}{more}{f': {measured}' if measured else ''}"


def _check(message: Message) -> None:
    if not isinstance(message, Message):
        raise TypeError(f"a Grid pushes messages, not a {type(message).__name__}")
    metadata = message.metadata
    if not message.has_content():
        raise ValueError(f"Invalid message: it has no content: {message}")
    if not (metadata.ttl > 0 and math.isfinite(metadata.ttl)):
        raise ValueError(f"Invalid message: its ttl of {metadata.ttl} s is no time to live")
    if metadata.reply_to_message_id or metadata.src_node_id != SUPERLINK_NODE_ID:
        raise ValueError("Invalid message: a ServerApp pushes messages of its own, not replies")
    if type(metadata.dst_node_id) is not int or not 0 <= metadata.dst_node_id < 2**63:
        raise ValueError(f"Invalid message: {metadata.dst_node_id!r} is no node id")
    metadata.group_id.encode()  # a UnicodeEncodeError is a ValueError


def _plain_text(text: str) -> str:
    """An app's text, which may be of a class of its own, as an enum's or numpy's is."""
    return str.__str__(text)


def _plain_number(ttl: float) -> int | float:
    """Flower's default ttl is an int, others may be floats or numpy's. The chain keeps whether it is an int."""
    return int(ttl) if isinstance(ttl, int) else float(ttl)
