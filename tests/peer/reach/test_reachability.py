"""Whether members reach each other: what is called for others, and what a test's results say about whose side it is."""

from __future__ import annotations

import socket
from ipaddress import ip_address

import pytest

from crypto.symmetric import SymmetricKey
from peer.engine.interface import Unanswered
from peer.engine.kubo.dial_errors import outcome_of
from peer.reach import calling_back
from peer.reach.calling_back import called_back
from peer.reach.reachability import Inward, Outward, Reachability, both_ways
from peer.reach.words import inward_words, outward_words
from protocol.blocks.cid import raw_block
from protocol.pacing.token_bucket import TokenBucket
from protocol.wire.asking import Channel
from protocol.wire.calling_back import MAX_CALLED, MAX_PLACES, Call, CallBack, CalledBack, may_call

OWN = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"
NODE = "12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X"
HERE = "/ip4/10.0.0.5/tcp/4001"
THERE = "/ip4/9.9.9.9/tcp/4001"
WEB = "/dns4/peers.org/tcp/443/tls/ws"
CHANNEL = Channel(raw_block(b"federation").cid, bytes(32), SymmetricKey(bytes(32)))


class Wire:
    """The engine of one member. It answers ``answered`` if it is asked, and dials come to what is given."""

    own_name = OWN

    def __init__(self, dials: dict[str, Call], answered: list[Call] | None, seen: str | None = None) -> None:
        self.dials, self.answered, self.seen = dials, answered, seen

    def dial(self, address: str) -> Call:
        return self.dials[address]

    def ask(self, node: str, name: str, question: bytes) -> bytes:
        if self.answered is None:
            raise Unanswered("no")
        return CHANNEL.write(CalledBack(self.answered))

    def nodes(self) -> tuple[str, ...]:
        return ("theirs",)

    def seen_at(self, node: str) -> str | None:
        return self.seen


@pytest.mark.parametrize(
    ("ip", "asker", "is_known", "may"),
    [
        ("9.9.9.9", None, False, True),
        ("10.0.0.5", None, False, False),
        ("10.0.0.5", "10.0.0.6", False, False),
        ("10.0.0.5", "10.0.0.5", False, True),
        ("10.0.0.5", None, True, True),
        ("127.0.0.1", "127.0.0.1", True, False),
        ("169.254.169.254", "169.254.169.254", True, False),
        ("::1", None, True, False),
    ],
)
def test_nobody_becomes_a_scanner_of_its_own_network(ip: str, asker: str | None, is_known: bool, may: bool) -> None:
    assert may_call(ip_address(ip), ip_address(asker) if asker else None, is_known=is_known) == may


def test_what_listens_on_the_asked_machine_is_not_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        asked = CallBack([f"/ip4/127.0.0.1/tcp/{port}", f"/dns4/localhost/tcp/{port}", "nonsense"])
        outcomes = called_back(Wire({}, None, f"/ip4/127.0.0.1/tcp/{port}"), NODE, asked, asked.addresses).outcomes
    assert outcomes == [Call.NOT_TRIED, Call.NO_NAME, Call.NOT_TRIED]


def test_what_names_there_are_in_the_asked_members_network_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    inside = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("10.0.0.7", 443))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: inside)
    assert called_back(Wire({}, None), NODE, CallBack([WEB]), ()).outcomes == [Call.NO_NAME]


def test_behind_a_web_proxy_no_web_server_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    assert called_back(Wire({}, None), NODE, CallBack([WEB]), [WEB]).outcomes == [Call.NOT_TRIED]


def test_while_one_request_is_served_nothing_is_tried_for_another() -> None:
    with calling_back._ONE_AT_A_TIME:
        assert called_back(Wire({}, None), NODE, CallBack([WEB]), ()).outcomes == [Call.NOT_TRIED]


def test_an_asker_behind_a_web_server_does_not_make_that_server_one_to_call() -> None:
    wire = Wire({}, None, "/ip4/10.255.255.1/tcp/50000/ws")
    assert called_back(wire, NODE, CallBack(["/ip4/10.255.255.1/tcp/22"]), ()).outcomes == [Call.NOT_TRIED]


def test_a_name_that_leads_to_many_hosts_has_few_of_them_called(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (f"9.9.9.{last}", 25)) for last in range(200)]
    called: list[object] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr(calling_back, "_connect", lambda _, to, *__: called.append(to) or Call.REFUSED)
    assert called_back(Wire({}, None), NODE, CallBack([WEB]), ()).outcomes == [Call.REFUSED]
    assert len(called) == MAX_PLACES


def test_whoever_asks_without_end_has_no_more_called(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> list[object]:
        raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setattr(calling_back, "_ALLOWANCE", TokenBucket(2, 0.0))
    outcomes = [called_back(Wire({}, None), f"node {number}", CallBack([WEB]), ()).outcomes for number in range(3)]
    assert outcomes == [[Call.NO_NAME], [Call.NO_NAME], [Call.NOT_TRIED]]


def test_a_web_server_that_never_ends_its_answer_is_hung_up_on() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, calling_back._cut_off(ours, 0.01):
        ours.settimeout(60)
        assert ours.recv(1) == b""


@pytest.mark.parametrize(
    ("message", "outcome"),
    [
        (f"all dials failed\n  * [{THERE}] dial tcp4 9.9.9.9:4001: connect: connection refused\n", Call.REFUSED),
        (f"all dials failed\n  * [{THERE}] dial tcp4 9.9.9.9:4001: i/o timeout\n  * [{HERE}] x: EOF", Call.DROPPED),
        (f"all dials failed\n  * [{HERE}] x: i/o timeout\n  * [{THERE}] failed to negotiate: EOF", Call.STRANGER),
        (f"  * [{THERE}] tls: failed to verify certificate: x509: signed by unknown authority", Call.CERTIFICATE),
        (f"  * [{THERE}] websocket: bad handshake", Call.NO_WEBSOCKET),
        (f"  * [{THERE}] dial tcp4 9.9.9.9:4001: connect: no route to host", Call.NO_ROUTE),
        ("failed to dial: no good addresses", Call.NO_NAME),
        ("something new", Call.NOT_TRIED),
    ],
)
def test_kubos_words_about_an_address_are_understood(message: str, outcome: Call) -> None:
    assert outcome_of(message, f"{THERE}/p2p/{NODE}") is outcome


def outward(outcome: Call, others: Call = Call.NOT_TRIED, *more: Outward) -> str:
    return " ".join(outward_words(Reachability((Outward(THERE, outcome, others), *more))))


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (outward(Call.DROPPED, Call.OPEN), "a firewall on this side lets no TCP to port 4001 out"),
        (outward(Call.REFUSED, Call.OPEN), "a firewall on this side"),
        (outward(Call.DROPPED, Call.DROPPED), "a firewall on that side"),
        (outward(Call.DROPPED, Call.NOT_TRIED, Outward(HERE, Call.OPEN)), "a firewall on that side"),
        (outward(Call.DROPPED), "this side's if it lets no TCP to port 4001 out, that side's if it lets none in"),
        (outward(Call.REFUSED), "nothing listens at that port"),
        (outward(Call.CERTIFICATE), "SSL_CERT_FILE"),
        (outward(Call.NO_NAME), "HTTPS_PROXY"),
        (outward(Call.OPEN), "1 of 1 nodes of members are reached"),
    ],
)
def test_a_failed_dial_says_whose_side_is_in_the_way(said: str, words: str) -> None:
    assert words in said


@pytest.mark.parametrize(
    ("address", "outcomes", "words"),
    [
        (HERE, [Call.DROPPED, Call.DROPPED], "a firewall or router on this side lets no TCP to port 4001 in"),
        (HERE, [Call.REFUSED], "forward it"),
        (HERE, [Call.NO_ROUTE], "--announce"),
        (WEB, [Call.NO_WEBSOCKET], "compare the web server"),
        (WEB, [Call.CERTIFICATE], "certificate"),
        (HERE, [Call.OPEN, Call.DROPPED], "reached by 1 of 2 members"),
        (HERE, [], "no member that answers could try"),
    ],
)
def test_what_others_could_not_reach_says_what_this_side_has_to_do(
    address: str, outcomes: list[Call], words: str
) -> None:
    found = Reachability(inward=(Inward(address, tuple(outcomes)),))
    assert words in " ".join(inward_words(found))


def test_both_ways_are_tested_and_another_member_is_asked_about_what_does_not_answer() -> None:
    wire = Wire({THERE: Call.DROPPED, WEB: Call.OPEN}, [Call.OPEN])
    loopback = "/ip4/127.0.0.1/tcp/1"
    found = both_ways(wire, [HERE, loopback], [THERE, WEB, f"{HERE}/p2p/{OWN}", "/ip4/9.9.9.9/udp/1"], [CHANNEL])
    assert found.outward == (Outward(THERE, Call.DROPPED, Call.OPEN), Outward(WEB, Call.OPEN))
    assert found.inward == (Inward(HERE, (Call.OPEN,)),)
    assert (found.gets_out, found.is_reached) == (True, True)


def test_a_member_that_does_not_answer_or_answers_nonsense_shows_nothing() -> None:
    for answered in (None, [Call.OPEN] * MAX_CALLED):
        found = both_ways(Wire({}, answered), [HERE], [], [CHANNEL])
        assert inward_words(found)[0] == "no member that answers could try to reach this node"


def test_an_old_address_of_a_node_that_is_reached_at_another_is_no_trouble() -> None:
    old, new = (Outward(f"{each}/p2p/{NODE}", call) for each, call in ((HERE, Call.DROPPED), (THERE, Call.OPEN)))
    assert outward_words(Reachability((old, new))) == ("1 of 1 nodes of members are reached", "")
