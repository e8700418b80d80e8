"""The table of rounds: for each exchange of a run, which clients were asked for what, and what came back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from peer.history.run_sources import RunSource
from protocol.blocks.cid import CID, BlockError, MissingBlock
from protocol.blocks.content import ContentKey
from protocol.chain.chain import AnsweredMessage, InForce, OpenMessage, Step
from protocol.federation.manifest import Manifest
from protocol.records.bodies import Chained, Dispatch, Reply
from strategy.contents.summary import RecordsSummary, Shown, mean_metrics, summarise, to_json, weights_of


@dataclass(frozen=True, slots=True)
class Answer:
    """What one participant gave back."""

    name: str
    node: int
    reply: CID | None
    """Its reply record; None if the Grid made an error instead."""
    content: CID | None
    bytes: int | None
    """The size of the content; None if it was not read."""
    metrics: dict[str, Shown]
    code: int | None
    """A Flower error code, if there is no content."""
    reason: str
    refused: CID | None
    """The reply that the leader refused, if that is the error."""
    question: CID
    """The content that it answers."""
    left_out: bool
    """Whether the exchange did not wait for it, by the run's own rule: then the error says so."""


@dataclass(frozen=True, slots=True)
class Late:
    """A reply that came after its exchange had closed."""

    name: str
    """The participant's."""
    node: int
    exchange: int
    """The number of the exchange that it came too late for."""
    reply: CID
    """Its reply record, which is in the collect that tells of it."""


@dataclass(slots=True)
class Exchange:
    """One dispatch and what answered it."""

    height: int
    last_height: int
    """The height of its newest record: the dispatch, then each collect."""
    number: int
    """From 1, in the order of the chain."""
    round: int | None
    """Flower's round, if the app numbers its rounds."""
    time: float
    """When it was sent, in seconds since 1970, by the server's clock."""
    ended: float | None
    """The time of the newest collect that is about it; None if there is none."""
    dispatch: CID
    contents: tuple[CID, ...]
    """What was sent, each once."""
    types: tuple[str, ...]
    """The Flower types of the messages; empty if they are encrypted, and not for this reader."""
    asked: dict[bytes, str]
    """The addressee's name, by message id."""
    sent: int | None
    """Bytes of the contents that were sent, each counted once; None if they were not read."""
    answers: list[Answer] = field(default_factory=list)
    late: list[Late] = field(default_factory=list)
    """Of which the collects of this exchange tell: they came too late for earlier ones."""
    waiting: set[bytes] = field(default_factory=set)
    """The ids of the messages that are not answered yet."""

    @property
    def received(self) -> int | None:
        """Bytes of the contents that came back."""
        return _sum(answer.bytes for answer in self.answers if answer.content)

    def mean_metrics(self) -> dict[str, float]:
        """The mean of each numeric metric that all answers have, weighted by ``num-examples`` if all have that."""
        return mean_metrics(self._given())

    @property
    def is_weighted(self) -> bool:
        """Whether that mean is a weighted one."""
        return weights_of(self._given()) is not None

    def _given(self) -> list[dict[str, Shown]]:
        return [answer.metrics for answer in self.answers if answer.code is None]


class Rounds:
    """Makes exchanges from the steps of a verified chain. Keeps only those that wait for an answer."""

    def __init__(
        self, source: RunSource, size_of: Callable[[CID], int | None], *, need_no_contents: bool = False
    ) -> None:
        """``need_no_contents``: once one is not there, look for the others only briefly."""
        self._source = source
        self._need_no_contents = need_no_contents
        self._size_of = size_of
        self._waiting: dict[CID, Exchange] = {}
        self._left_out: dict[bytes, tuple[str, int, int]] = {}
        """Of each message that was left out and of which no late reply is told: its addressee's name and node id, and
        the number of its exchange."""
        self._count = 0

    def take(self, step: Step, in_force: InForce) -> Iterator[Exchange]:
        """The exchanges that ``step`` completes; ``in_force`` is what holds after it."""
        body = step.record.body
        if isinstance(body, Dispatch):
            self._open(step, body, in_force)
        self._take_late(step)
        left_out = {message.id for message in step.left_out}
        for answered in step.answered:
            dispatch = answered.message.dispatch
            exchange = self._waiting[dispatch]
            name, is_left_out = exchange.asked[answered.message.id], answered.message.id in left_out
            exchange.answers.append(self._answer(answered, in_force, name, left_out=is_left_out))
            exchange.waiting.discard(answered.message.id)
            if is_left_out:
                self._left_out[answered.message.id] = name, answered.message.node, exchange.number
            assert isinstance(body, Chained)
            exchange.last_height, exchange.ended = body.height, body.time
            if not exchange.waiting:
                yield self._waiting.pop(dispatch)

    def _take_late(self, step: Step) -> None:
        """Note the late replies at the exchange that the collect is about."""
        late = [Late(*self._left_out.pop(each.message.id), each.reply.cid) for each in step.late]
        about = next((each.message.dispatch for each in step.answered), next(reversed(self._waiting), None))
        if late and about is not None:
            self._waiting[about].late += late

    def finish(self) -> Iterator[Exchange]:
        """The exchanges that were still waiting at the end."""
        yield from self._waiting.values()
        self._waiting.clear()

    def _open(self, step: Step, body: Dispatch, in_force: InForce) -> None:
        self._count += 1
        contents = {message.content: message.group for message in step.opened}
        key = in_force.keys.content(body.epoch)
        summaries = [(self._summary(content, key), group) for content, group in contents.items()]
        rounds = [number for summary, group in summaries if summary and (number := summary.round(group)) is not None]
        self._waiting[step.record.cid] = Exchange(
            height=body.height,
            last_height=body.height,
            number=self._count,
            round=rounds[0] if rounds else None,
            time=body.time,
            ended=None,
            dispatch=step.record.cid,
            contents=tuple(contents),
            types=tuple(dict.fromkeys(message.type for message in step.opened if message.type)),
            asked={message.id: _name(message, in_force.manifest) for message in step.opened},
            sent=_sum(map(self._size_of, contents)),
            waiting={message.id for message in step.opened},
        )

    def _answer(self, answered: AnsweredMessage, in_force: InForce, name: str, *, left_out: bool) -> Answer:
        """``name`` is the member's name when it was asked: the member may have been removed since."""
        reply = answered.reply.body if answered.reply else None
        content = reply.content if isinstance(reply, Reply) else None
        code = answered.error.code if answered.error else reply.code if isinstance(reply, Reply) else None
        key = in_force.keys.reply_content(reply) if isinstance(reply, Reply) else None
        summary = self._summary(content, key) if content else None
        return Answer(
            name=name,
            node=answered.message.node,
            reply=answered.reply.cid if answered.reply else None,
            content=content,
            bytes=self._size_of(content) if content else None,
            metrics=summary.metrics if summary else {},
            code=code,
            reason=answered.reason,
            refused=answered.error.refused if answered.error else None,
            question=answered.message.content,
            left_out=left_out,
        )

    def _summary(self, content: CID, key: ContentKey | None) -> RecordsSummary | None:
        """None if the content is missing, encrypted or not Flower's: the audit reports what is wrong with it."""
        try:
            return summarise(content, self._source, key)
        except MissingBlock:
            if self._need_no_contents:
                self._source.hurry()
            return None
        except BlockError:
            return None


def _sum(sizes: Iterable[int | None]) -> int | None:
    total = 0
    for size in sizes:
        if size is None:
            return None
        total += size
    return total


def _name(message: OpenMessage, manifest: Manifest) -> str:
    member = manifest.member_by_node(message.node)
    return manifest.name_of(member.id) if member else f"node {message.node}"


def exchange_value(exchange: Exchange) -> dict[str, Any]:
    """An exchange as ``--json`` shows it."""
    return {
        "height": exchange.height,
        "last_height": exchange.last_height,
        "number": exchange.number,
        "round": exchange.round,
        "time": exchange.time,
        "ended": exchange.ended,
        "dispatch": str(exchange.dispatch),
        "contents": list(map(str, exchange.contents)),
        "types": list(exchange.types),
        "participants": list(dict.fromkeys(exchange.asked.values())),
        "bytes_sent": exchange.sent,
        "bytes_received": exchange.received,
        "metrics": {name: to_json(value) for name, value in exchange.mean_metrics().items()},
        "weighted": exchange.is_weighted,
        "answers": [_answer_value(answer) for answer in exchange.answers],
        "late": [{"name": each.name, "exchange": each.exchange, "reply": str(each.reply)} for each in exchange.late],
        "unanswered": [exchange.asked[message] for message in sorted(exchange.waiting)],
    }


def _answer_value(answer: Answer) -> dict[str, Any]:
    return {
        "name": answer.name,
        "node": answer.node,
        "reply": _cid_text(answer.reply),
        "content": _cid_text(answer.content),
        "bytes": answer.bytes,
        "metrics": {name: to_json(value) for name, value in answer.metrics.items()},
        "code": answer.code,
        "reason": answer.reason,
        "refused": _cid_text(answer.refused),
        "question": str(answer.question),
        "left_out": answer.left_out,
    }


def _cid_text(cid: CID | None) -> str | None:
    return None if cid is None else str(cid)
