"""The asking vectors, read as a second implementation would."""

from __future__ import annotations

import json
from pathlib import Path

import msgpack
import pytest
from chains import SECOND, Scribe, id_of, reader_of

from crypto.symmetric import SymmetricKey
from protocol.blocks.cid import CID
from protocol.jobs.answer import open_answer
from protocol.jobs.request import AskedAboutJob, AskedJob, ToldJob, read_question, read_request, sign_request
from protocol.wire.asking import Answer, BadMessage, Channel, Question
from protocol.wire.calling_back import Call, CallBack, CalledBack

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "asking.json").read_text())
CHANNEL = Channel(
    CID.parse(VECTORS["federation"]),
    bytes.fromhex(VECTORS["member"]),
    SymmetricKey(bytes.fromhex(VECTORS["swarm_key"])),
)


def test_the_channel_has_its_name() -> None:
    assert CHANNEL.name == VECTORS["name"]


@pytest.mark.parametrize(("name", "kind"), [("question", Question), ("answer", Answer)])
def test_a_message_is_what_its_clear_text_says(name: str, kind: type[Question] | type[Answer]) -> None:
    (board, number), announcements, hears = msgpack.unpackb(bytes.fromhex(VECTORS[name]["clear"]))
    message = kind((board, number), announcements, hears)
    assert CHANNEL.write(message).hex() == VECTORS[name]["sealed"]
    assert CHANNEL.read(bytes.fromhex(VECTORS[name]["sealed"]), kind) == message


@pytest.mark.parametrize("what", VECTORS["no questions"])
def test_what_is_no_question_is_refused(what: str) -> None:
    with pytest.raises(BadMessage):
        CHANNEL.read(bytes.fromhex(VECTORS["no questions"][what]), Question)


def test_a_call_back_and_its_answer_are_written_as_the_vectors_say() -> None:
    asked = CallBack(["/ip4/9.9.9.9/tcp/4001", "/dns4/peers.org/tcp/443/tls/ws"])
    assert CHANNEL.write(asked).hex() == VECTORS["call back"]["sealed"]
    assert CHANNEL.read(bytes.fromhex(VECTORS["call back"]["sealed"]), CallBack) == asked
    answer = CHANNEL.read(bytes.fromhex(VECTORS["called back"]["sealed"]), CalledBack)
    assert answer.outcomes == [Call.OPEN, Call.DROPPED]


@pytest.mark.parametrize("what", VECTORS["no calls"])
def test_what_is_no_call_back_is_refused(what: str) -> None:
    with pytest.raises(BadMessage):
        CHANNEL.read(bytes.fromhex(VECTORS["no calls"][what]), CallBack)


def test_a_question_is_no_call_back_and_a_call_back_no_question() -> None:
    with pytest.raises(BadMessage):
        CHANNEL.read(bytes.fromhex(VECTORS["question"]["sealed"]), CallBack)
    with pytest.raises(BadMessage):
        CHANNEL.read(bytes.fromhex(VECTORS["call back"]["sealed"]), Question)


def test_a_request_for_a_run_is_written_as_the_vectors_say_and_is_taken_of_its_author_alone() -> None:
    shown, manifest = VECTORS["job"], Scribe().manifest
    signed = bytes.fromhex(shown["signed"])
    assert CHANNEL.read(bytes.fromhex(shown["question"]["sealed"]), AskedJob).signed == signed
    server = bytes.fromhex(shown["server"])
    told = CHANNEL.read(bytes.fromhex(shown["answer"]["sealed"]), ToldJob)
    answer = open_answer(told.sealed, signed, server, manifest, reader_of(SECOND))
    assert (answer.number, answer.name, answer.state) == (7, "low-rate", "")
    asked = CHANNEL.read(bytes.fromhex(shown["about"]["sealed"]), AskedAboutJob).signed
    assert read_question(asked, manifest, server, 1_799_999_000.0).log_at == 3
    request = read_request(signed, manifest, server, frozenset({id_of(SECOND)}), 1_799_999_000.0)
    assert (request.name, request.min_clients, request.seed) == ("low-rate", 2, 1)
    assert sign_request(request, SECOND) == signed
