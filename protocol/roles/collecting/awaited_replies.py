"""The leader's open messages: which have an answer, which have run out of time, what to hand to the app."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from protocol.app.calls import ErrorCode, Handed
from protocol.blocks.cid import CID, Block
from protocol.chain.chain import InForce, OpenMessage
from protocol.chain.replay_script import hand_over
from protocol.federation.manifest import Manifest
from protocol.records.bodies import Reply, Role
from protocol.records.signed_records import Record
from protocol.replies.checks_and_limits import Check, Examination, FailedCheck
from protocol.replies.closing_rule import LEFT_OUT, ClosingRule, seconds
from protocol.replies.judged_replies import JudgedReplies, judge
from protocol.replies.strategy_rule import StrategyRule
from protocol.roles.equivocations import Distrust, why_distrusted
from protocol.roles.leader.presence import Presence
from protocol.roles.leader.record_bodies import Answers
from protocol.roles.leader.run_plan import LeaderSettings
from protocol.roles.offline_times import OfflineTimes
from protocol.witnesses.awaited_witnesses import AwaitedWitnesses

NO_RULES: Final[Mapping[str, StrategyRule]] = {}

REMEMBERED: Final = 4_096
"""Replies that were collected and are remembered: a client that sends another to the same message is found out."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """A reply that keeps every rule of the chain, and what was found in its content if it has one."""

    record: Record
    block: Block
    found: Examination = field(default_factory=Examination)

    @property
    def body(self) -> Reply:
        """What it says."""
        assert isinstance(self.record.body, Reply)
        return self.record.body

    @property
    def link(self) -> CID | None:
        """What a collect that refuses it links. A run is pinned with all its links: none to a content not here."""
        return self.record.cid if self.found.here else None


@dataclass(frozen=True, slots=True)
class Collection:
    """What a pull or a wait gives: for the record, and for the app."""

    answers: Answers
    handed: tuple[Handed, ...]
    blocks: tuple[Block, ...]
    """The reply records taken, and those refused."""
    unanswered: tuple[bytes, ...]
    refused: Mapping[bytes, str]
    """Why a reply that is here is not handed over, by message."""
    given_up: Mapping[bytes, str]
    """Why nothing is waited for any more, by message."""
    left_out: tuple[bytes, ...] = ()
    """The messages whose replies the run's own rule did not wait for."""
    why_left_out: str = ""
    all_failed: tuple[tuple[Check, int], ...] = ()
    """The checks that nobody's reply to a dispatch passed, and how many replies those were."""
    unbounded: str = ""
    """Why the owner's bound cannot be applied; empty if it can, or there is none."""


class AwaitedReplies:
    """Answers by message. ``open`` is the chain's own view of the open messages."""

    def __init__(
        self,
        open: Mapping[bytes, OpenMessage],
        settings: LeaderSettings,
        distrust: Distrust,
        presence: Presence,
        witnesses: AwaitedWitnesses,
        offline: OfflineTimes,
    ) -> None:
        self._open = open
        self._witnesses = witnesses
        self._client_timeout, self._leave_timeout = settings.client_timeout, settings.leave_timeout
        self._presence = presence
        self._offline = offline
        self._admission = settings.admission
        self._distrust = distrust
        self._arrived: dict[bytes, Arrived] = {}
        self._taken: OrderedDict[bytes, CID] = OrderedDict()

    def arrived(self, message: bytes, reply: Arrived) -> None:
        """A reply that keeps the rules is here, and examined."""
        self._arrived[message] = reply

    def keep_if(self, good: Callable[[bytes, Arrived], bool]) -> None:
        """Forget the replies that are no longer good, now that another manifest is in force."""
        self._arrived = {id: reply for id, reply in self._arrived.items() if good(id, reply)}

    def has(self, message: bytes) -> bool:
        """Whether the reply to ``message`` is here."""
        return message in self._arrived

    def reply_to(self, message: bytes) -> CID | None:
        """The reply to ``message`` that is here, or that was one of the last to be collected."""
        arrived = self._arrived.get(message)
        return self._taken.get(message) if arrived is None else arrived.record.cid

    def _collected(self, message: bytes, reply: CID) -> None:
        self._taken[message] = reply
        if len(self._taken) > REMEMBERED:
            self._taken.popitem(last=False)

    def deadline(self, message: OpenMessage) -> float:
        """When ``message`` is given up: sooner if its client has left, which it need not say."""
        until = min(message.created + message.ttl, self._timed_out(message))
        left = self._presence.left_at(message.node)
        if left is None:
            return until
        return min(until, self._offline.ends(max(left, message.created), self._leave_timeout))

    def _timed_out(self, message: OpenMessage) -> float:
        """When its client has had time enough to be heard. How long the message itself lives is the app's choice."""
        return self._offline.ends(self._witnesses.taken_up(message), self._client_timeout)

    def deadlines(self, asked: Iterable[bytes]) -> Iterable[float]:
        """When the asked messages that have no answer yet are given up."""
        return (self.deadline(self._open[id]) for id in asked if id in self._open and id not in self._arrived)

    def complete(self, asked: Iterable[bytes], manifest: Manifest, now: float) -> bool:
        """Whether every asked message that is open has its answer or is given up."""
        return all(self._are_settled(asked, manifest, now))

    def nothing_for(self, asked: Iterable[bytes], manifest: Manifest, now: float) -> bool:
        """Whether a pull of ``asked`` gives nothing now."""
        return not any(self._are_settled(asked, manifest, now))

    def _are_settled(self, asked: Iterable[bytes], manifest: Manifest, now: float) -> Iterator[bool]:
        for id in asked:
            if id in self._open:
                yield id in self._arrived or self._given_up(self._open[id], manifest, now) is not None

    def closes_at(self, asked: Iterable[bytes], since: float, rule: ClosingRule) -> float:
        """When the deadline is over of an exchange whose app has waited ``since`` then. It counts from when clients may
        work on all of its messages; infinite as long as they may not."""
        taken_up = (self._witnesses.taken_up(self._open[id]) for id in asked if id in self._open)
        return self._offline.ends(max([since, *taken_up]), rule.deadline)

    def are_enough(
        self,
        asked: Iterable[bytes],
        rule: ClosingRule,
        in_force: InForce,
        now: float,
        rules: Mapping[str, StrategyRule] = NO_RULES,
    ) -> bool:
        """Whether so many good replies are here that the others need not be waited for: as rule `left-out` counts them,
        of all open messages of a dispatch. ``rules`` as in `collect`."""
        wanted = {id for id in asked if id in self._open}
        lacking = {
            self._open[id].dispatch
            for id in wanted
            if id not in self._arrived and self._given_up(self._open[id], in_force.manifest, now) is None
        }
        sent = Counter(message.dispatch for message in self._open.values())
        good = {id for id in wanted & self._arrived.keys() if self._arrived[id].body.content is not None}

        def enough() -> bool:
            here = Counter(self._open[id].dispatch for id in good)
            return all(here[dispatch] >= rule.needs(sent[dispatch]) for dispatch in lacking)

        if not lacking or not enough():
            return False
        good -= self._distrusted(wanted, in_force.manifest).keys()
        good -= {id for each in self._judged(good, rules) for id in each.refused}
        return enough()

    def count(self, asked: Iterable[bytes], rule: ClosingRule) -> tuple[int, int]:
        """How many replies with a content are here, and how many it takes by ``rule``, of all dispatches of the asked
        messages that are open. Not judged yet: `are_enough` is."""
        open = [id for id in asked if id in self._open]
        sent = Counter(message.dispatch for message in self._open.values())
        here = sum(id in self._arrived and self._arrived[id].body.content is not None for id in open)
        return here, sum(rule.needs(sent[dispatch]) for dispatch in {self._open[id].dispatch for id in open})

    def collect(
        self,
        asked: Iterable[bytes],
        in_force: InForce,
        now: float,
        rules: Mapping[str, StrategyRule] = NO_RULES,
        closes: ClosingRule | None = None,
    ) -> Collection:
        """Take the answers to the asked messages that are open, in the order the messages were sent.

        ``rules`` say what the app's strategy takes, by the type of the messages. ``closes`` is the rule by which the
        exchange does not wait for the others; None: they stay open.
        """
        wanted = set(asked)
        refused = self._distrusted(wanted, in_force.manifest)
        judged = self._judged(wanted - refused.keys(), rules)
        refused |= {id: self._told(id, refusal) for each in judged for id, refusal in each.refused.items()}
        here = wanted & self._open.keys() & self._arrived.keys() - refused.keys()
        in_time = sum(self._arrived[id].body.content is not None for id in here)
        why_left_out = "" if closes is None else _why_left_out(closes, in_time, len(wanted & self._open.keys()))
        answers, handed, blocks, unanswered = Answers(), [], [], []
        given_up: dict[bytes, str] = {}
        left_out: list[bytes] = []
        for id, message in self._open.items():
            if id not in wanted:
                continue
            if (reply := self._arrived.pop(id, None)) is not None:
                self._collected(id, reply.record.cid)
                if reply.found.here:
                    blocks.append(reply.block)
                if id in refused:
                    reason = answers.failed(id, ErrorCode.REPLY_MESSAGE_UNAVAILABLE, refused[id], now, reply.link)
                    handed.append(Handed(id, now, code=ErrorCode.REPLY_MESSAGE_UNAVAILABLE, reason=reason))
                else:
                    answers.took(reply.record.cid)
                    handed.append(hand_over(reply.record.cid, reply.body, in_force.keys))
            elif (error := self._given_up(message, in_force.manifest, now)) is not None:
                code, reason = error
                given_up[id] = reason
                answers.failed(id, code, reason, now)
                handed.append(Handed(id, now, code=code, reason=reason))
            elif why_left_out:
                left_out.append(id)
                reason = answers.failed(id, ErrorCode.MESSAGE_UNAVAILABLE, f"{LEFT_OUT}{why_left_out}", now)
                handed.append(Handed(id, now, code=ErrorCode.MESSAGE_UNAVAILABLE, reason=reason))
            else:
                unanswered.append(id)
        all_failed = tuple((check, len(each.refused)) for each in judged if (check := each.all_failed) is not None)
        unbounded = next((each.unbounded for each in judged if each.unbounded), "")
        return Collection(
            answers,
            tuple(handed),
            tuple(blocks),
            tuple(unanswered),
            refused,
            given_up,
            tuple(left_out),
            why_left_out,
            all_failed,
            unbounded,
        )

    def _distrusted(self, wanted: set[bytes], manifest: Manifest) -> dict[bytes, str]:
        """Whose replies are not taken because their client has signed two of something, and why."""
        refused: dict[bytes, str] = {}
        for id in wanted & self._arrived.keys() & self._open.keys():
            member = manifest.member_by_node(self._open[id].node)
            if (proof := self._distrust.proof_against(member)) is not None and member is not None:
                refused[id] = f"refused (equivocation): {why_distrusted(manifest.called(member.id), proof)}"
        return refused

    def _judged(self, wanted: set[bytes], rules: Mapping[str, StrategyRule]) -> list[JudgedReplies]:
        """Judge the replies that are here: those to messages of one type and dispatch together."""
        together: dict[tuple[CID, str], dict[bytes, Examination]] = {}
        for id, message in self._open.items():
            if id in wanted and id in self._arrived and self._arrived[id].body.content is not None:
                together.setdefault((message.dispatch, message.type), {})[id] = self._arrived[id].found
        return [judge(self._admission, rules.get(type), found) for (_, type), found in together.items()]

    def _told(self, id: bytes, refusal: FailedCheck) -> str:
        """Why the reply is refused; if it is not linked, what it was."""
        arrived = self._arrived[id]
        return str(refusal) if arrived.found.here else f"{refusal}; the reply was {arrived.record.cid}"

    def _given_up(self, message: OpenMessage, manifest: Manifest, now: float) -> tuple[int, str] | None:
        """The Flower error code and the reason, None while the message may still be answered."""
        member = manifest.member_by_node(message.node)
        if member is None or Role.CLIENT not in member.roles:
            return ErrorCode.NODE_UNAVAILABLE, "its client is no longer a member of the federation"
        if (proof := self._distrust.proof_against(member)) is not None:
            return ErrorCode.NODE_UNAVAILABLE, why_distrusted(manifest.called(member.id), proof)
        if now < self.deadline(message):
            return None
        ended, timed_out = message.created + message.ttl, self._timed_out(message)
        if now < min(ended, timed_out):
            return ErrorCode.NODE_UNAVAILABLE, f"its client left, and was not back within {self._leave_timeout:g} s"
        if ended <= timed_out:
            return (
                ErrorCode.MESSAGE_UNAVAILABLE,
                f"the message's time to live of {message.ttl:g} s ended without a reply",
            )
        return ErrorCode.NODE_UNAVAILABLE, f"no reply within the client time-out of {self._client_timeout:g} s"


def _why_left_out(rule: ClosingRule, in_time: int, messages: int) -> str:
    """Why an exchange did not wait for a reply."""
    deadline = f", and the deadline of {seconds(rule.deadline)} s was over" if rule.deadline else ""
    return f"{in_time} of {messages} replies were in{deadline}"
