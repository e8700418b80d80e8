"""Two peers that ask each other, with an engine in between that is the test's: what each says reaches the other."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from crypto.symmetric import SymmetricKey
from peer.engine.interface import AskingOff, Unanswered
from peer.run.announcement_queue import AnnouncementQueue
from peer.run.asking import QUESTIONS, SIZE, Asking
from protocol.blocks.cid import raw_block
from protocol.jobs.request import AskedJob, ToldJob
from protocol.roles.effects import Report, What
from protocol.roles.events import Received
from protocol.wire.asking import Answer, Channel, Question
from protocol.wire.asking_schedule import Target
from protocol.wire.calling_back import Call, CallBack, CalledBack
from protocol.wire.unheard_nodes import UNHEARD_AFTER

SERVER, CLIENT = b"s" * 32, b"c" * 32
CHANNEL = Channel(raw_block(b"federation").cid, SERVER, SymmetricKey(b"k" * 32))


class Wire:
    """Streams between two peers. Pubsub brings nothing."""

    def __init__(self, own_name: str) -> None:
        self.own_name = own_name
        self.asked: Callable[[str, bytes], bytes | None] | None = None
        self.is_off = False
        self.managed = True
        self.heard_again: list[str] = []

    def listen(self, name: str, answer: Callable[[str, bytes], bytes | None]) -> Wire:
        if self.is_off:
            raise AskingOff("it is off", "turn it on")
        return self

    def close(self) -> None:
        pass

    def ask(self, node: str, name: str, question: bytes) -> bytes:
        answer = self.asked(self.own_name, question) if self.asked is not None else None
        if answer is None:
            raise Unanswered("no")
        return answer

    def nodes(self) -> tuple[str, ...]:
        return ("server node",)

    def dial(self, address: str) -> Call:
        return Call.NOT_TRIED

    def seen_at(self, node: str) -> str | None:
        return None

    def heard_ago(self, node: str) -> float | None:
        return None

    def hear(self, node: str) -> bool:
        self.heard_again.append(node)
        return self.managed

    def how_to_hear(self, node: str) -> str:
        return f"hear {node}"


class Peer:
    def __init__(self, member: bytes, wire: Wire) -> None:
        self.wire = wire
        self.judges = True
        self.reports: list[Report] = []
        self.heard: list[Received] = []
        self.queue = AnnouncementQueue(self.heard.append)
        self.asking = Asking(
            wire,
            Channel(CHANNEL.federation, member, CHANNEL.swarm_key),
            asked=lambda: [SERVER],
            receive=self.queue.told,
            call_back=lambda _node, request: CalledBack([Call.DROPPED] * len(request.addresses)),
            take_job=lambda signed: b"an answer to " + signed,
            tell_job=lambda _: None,
            judges_pubsub=lambda: self.judges,
            on_report=self.reports.append,
        )

    def ask(self) -> None:
        (target,) = self.asking._schedule.due([Target("server node", SERVER)], 1e12)
        self.asking.ask(target)

    @property
    def texts(self) -> list[bytes]:
        return [received.data for received in self.heard]


@pytest.fixture
def pair() -> tuple[Peer, Peer]:
    server, client = Peer(SERVER, Wire("server node")), Peer(CLIENT, Wire("client node"))
    client.wire.asked = server.asking.answer
    return server, client


def test_each_hears_what_the_other_has_announced_and_later_what_is_new(pair: tuple[Peer, Peer]) -> None:
    server, client = pair
    server.asking.said("head", b"head 1")
    client.asking.said("reply", b"reply 1")
    client.ask()
    assert (server.texts, client.texts) == ([b"reply 1"], [b"head 1"])
    client.ask()
    server.asking.said("head", b"head 2")
    client.ask()
    assert (server.texts, client.texts) == ([b"reply 1"], [b"head 1", b"head 2"])


def test_what_pubsub_brought_already_is_passed_over(pair: tuple[Peer, Peer]) -> None:
    server, client = pair
    server.asking.said("head", b"head 1")
    client.queue.receive(b"head 1")
    client.ask()
    assert client.texts == [b"head 1"]


def test_what_was_not_answered_is_said_again(pair: tuple[Peer, Peer]) -> None:
    server, client = pair
    client.wire.asked = None
    client.asking.said("reply", b"reply 1")
    client.ask()
    client.wire.asked = server.asking.answer
    client.ask()
    assert server.texts == [b"reply 1"]


def test_nodes_that_pubsub_does_not_bring_are_fixed_on_both_sides(pair: tuple[Peer, Peer]) -> None:
    server, client = pair
    for number in range(UNHEARD_AFTER):
        server.asking.said("beat", b"s%d" % number)
        client.asking.said("beat", b"c%d" % number)
        client.ask()
    assert (server.wire.heard_again, client.wire.heard_again) == (["client node"], ["server node"])
    assert not server.reports


def test_where_the_node_is_the_users_people_are_told_once_how(pair: tuple[Peer, Peer]) -> None:
    server, client = pair
    client.wire.managed = False
    for number in range(UNHEARD_AFTER * 4):
        server.asking.said("beat", b"s%d" % number)
        client.ask()
    assert [(report.what, report.fields["fix"]) for report in client.reports] == [
        (What.PUBSUB_NOT_HEARING, "hear server node"),
        (What.PUBSUB_UNHEARD, "hear client node"),
    ]


def test_a_server_in_no_run_and_its_clients_are_not_told_that_pubsub_fails(pair: tuple[Peer, Peer]) -> None:
    server, client = pair
    server.judges = False  # it listens to no topic of clients, and beats on none
    for peer in pair:
        peer.wire.managed = False
    for number in range(UNHEARD_AFTER * 4):
        client.asking.said("beat", b"c%d" % number)
        client.ask()
    assert (server.reports, client.reports, server.wire.heard_again) == ([], [], [])


def test_an_engine_that_does_not_ask_is_told_of_with_its_fix() -> None:
    peer = Peer(CLIENT, Wire("client node"))
    peer.wire.is_off = True
    peer.asking.start()
    peer.asking.close()
    assert [(report.what, report.fields["fix"]) for report in peer.reports] == [(What.ASKING_OFF, "turn it on")]


def test_a_node_that_asks_too_often_is_not_answered_and_others_are(pair: tuple[Peer, Peer]) -> None:
    server, _ = pair
    question = CHANNEL.write(Question((bytes(8), 0), [], True))
    answers = [server.asking.answer("loud", question) for _ in range(QUESTIONS * 10)]
    assert answers[0] is not None
    assert answers[-1] is None
    assert server.asking.answer("quiet", question) is not None


def test_large_questions_use_up_what_a_node_may_ask_before_they_are_opened(pair: tuple[Peer, Peer]) -> None:
    server, _ = pair
    large = CHANNEL.write(Question((bytes(8), 0), [bytes(1 << 19), bytes(400_000)], True))
    answers = [server.asking.answer("loud", large) for _ in range(10)]
    assert sum(answer is not None for answer in answers) == QUESTIONS // (1 + len(large) // SIZE)
    assert server.asking.answer("loud", bytes(1 << 20)) is None
    assert server.asking.answer("quiet", CHANNEL.write(Question((bytes(8), 0), [], True))) is not None


@pytest.mark.parametrize("data", [b"", b"garbage", bytes(2 << 20), CHANNEL.write(Answer((bytes(8), 0), [], True))])
def test_what_is_no_question_is_not_answered_and_breaks_nothing(pair: tuple[Peer, Peer], data: bytes) -> None:
    assert pair[0].asking.answer("node", data) is None


def test_an_answer_that_is_none_is_asked_for_again_later(pair: tuple[Peer, Peer]) -> None:
    server, client = pair
    client.wire.asked = lambda node, question: b"garbage"
    client.ask()
    assert client.texts == []
    client.wire.asked = server.asking.answer
    server.asking.said("head", b"head 1")
    client.ask()
    assert client.texts == [b"head 1"]


def test_a_member_that_asks_for_it_is_called_back_over_the_same_channel(pair: tuple[Peer, Peer]) -> None:
    server, _ = pair
    channel = Channel(CHANNEL.federation, SERVER, CHANNEL.swarm_key)
    answer = server.asking.answer("client node", channel.write(CallBack(["/ip4/9.9.9.9/tcp/1"])))
    assert answer is not None
    assert channel.read(answer, CalledBack).outcomes == [Call.DROPPED]


def test_a_member_that_asks_for_a_run_is_told_over_the_same_channel() -> None:
    server = Peer(SERVER, Wire("server node"))
    answer = server.asking.answer("client node", CHANNEL.write(AskedJob(b"signed")))
    assert answer is not None
    assert CHANNEL.read(answer, ToldJob) == ToldJob(b"an answer to signed")
