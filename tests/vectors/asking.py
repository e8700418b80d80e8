"""The asking vectors: a question, an answer, a call back, and what is none of them (``make.py`` writes asking.json)."""

from __future__ import annotations

from dataclasses import fields

import msgpack
from chains import SECOND, SERVER, Scribe, id_of
from sealed import fixed_secrets

from crypto.symmetric import SymmetricKey
from protocol.blocks.cid import cbor_block
from protocol.blocks.packing import packed
from protocol.jobs.answer import JobAnswer, digest_of, seal_answer
from protocol.jobs.request import (
    AskedAboutJob,
    AskedJob,
    ClosingJobRequest,
    JobQuestion,
    JobRequest,
    PlannedJobRequest,
    ToldJob,
    WitnessedJobRequest,
    sign_question,
    sign_request,
)
from protocol.records.contexts import AskingMessage, AskingSide, encrypt
from protocol.wire.announcements import MAX_ADDRESS
from protocol.wire.asking import MAX_ANNOUNCEMENTS, Answer, Channel, Question
from protocol.wire.calling_back import MAX_CALLED, Call, CallBack, CalledBack

SERVER_ID = id_of(SERVER)
_ASKED = JobRequest(
    federation=bytes(Scribe().first.cid),
    to=SERVER_ID,
    by=id_of(SECOND),
    key=bytes(range(16)),
    expires=1_800_000_000,
    name="low-rate",
    files=(("app/__init__.py", b""), ("pyproject.toml", b"[project]\n")),
    config=(("lr", 0.5), ("name", "x"), ("rounds", 3), ("verbose", True)),
    min_clients=2,
    seed=1,
    memory=1 << 33,
    gpus=1,
)
_REQUEST = sign_request(_ASKED, SECOND)
_PLANNED = sign_request(
    PlannedJobRequest(
        **{each.name: getattr(_ASKED, each.name) for each in fields(_ASKED)},
        keep="models=all updates=last:2",
        best="loss:min",
    ),
    SECOND,
)
_CLOSING = sign_request(
    ClosingJobRequest(
        **{each.name: getattr(_ASKED, each.name) for each in fields(_ASKED)},
        keep="",
        best="",
        closing="replies=80% deadline=30",
    ),
    SECOND,
)
_WITNESSED = sign_request(
    WitnessedJobRequest(
        **{each.name: getattr(_ASKED, each.name) for each in fields(_ASKED)},
        keep="",
        best="",
        closing="",
        witnesses=2,
    ),
    SECOND,
)
_QUESTION = sign_question(
    JobQuestion(_ASKED.federation, SERVER_ID, id_of(SECOND), _ASKED.key, _ASKED.expires, 3), SECOND
)
_ANSWER = JobAnswer(
    _ASKED.federation, SERVER_ID, digest_of(_REQUEST), 7, "low-rate", "", "", ended=False, run=None, log=b"", log_next=0
)
_CALLED = ["/ip4/9.9.9.9/tcp/4001", "/dns4/peers.org/tcp/443/tls/ws"]


def asking_vectors() -> dict[str, object]:
    """What the file holds; bytes are hexadecimal."""
    channel = Channel(cbor_block("federation").cid, bytes(range(32)), SymmetricKey(b"s" * 32))
    question = Question((b"board  1", 3), [b"an announcement", b"another"], True)
    answer = Answer((b"board  2", 7), [], False)
    return {
        "federation": str(channel.federation),
        "member": channel.member.hex(),
        "swarm_key": channel.swarm_key.secret_bytes().hex(),
        "name": channel.name,
        "question": {"clear": _clear(question), "sealed": channel.write(question).hex()},
        "answer": {"clear": _clear(answer), "sealed": channel.write(answer).hex()},
        "call back": {"clear": _packed([_CALLED]), "sealed": channel.write(CallBack(_CALLED)).hex()},
        "called back": {
            "clear": _packed([[Call.OPEN.value, Call.DROPPED.value]]),
            "sealed": channel.write(CalledBack([Call.OPEN, Call.DROPPED])).hex(),
        },
        "job": {
            "server": SERVER_ID.hex(),
            "signed": _REQUEST.hex(),
            "question": {"clear": _packed([_REQUEST]), "sealed": channel.write(AskedJob(_REQUEST)).hex()},
            "answer": {"clear": packed(_ANSWER).hex(), "sealed": channel.write(_told()).hex()},
            "about": {
                "clear": _packed(["job", _QUESTION]),
                "sealed": channel.write(AskedAboutJob("job", _QUESTION)).hex(),
            },
            "planned": _PLANNED.hex(),
            "closing": _CLOSING.hex(),
            "witnessed": _WITNESSED.hex(),
        },
        "no calls": {
            "no address": _sealed(channel, [[]]),
            "too many addresses": _sealed(channel, [["/ip4/9.9.9.9/tcp/1"] * (MAX_CALLED + 1)]),
            "an address that is too long": _sealed(channel, [["a" * (MAX_ADDRESS + 1)]]),
            "bytes for an address": _sealed(channel, [[b"/ip4/9.9.9.9/tcp/1"]]),
            "an element more": _sealed(channel, [_CALLED, None]),
            "an answer": channel.write(CalledBack([Call.OPEN])).hex(),
        },
        "no questions": {
            "an answer": channel.write(answer).hex(),
            "a name of a board that is too short": _sealed(channel, [[b"board 1", 0], [], True]),
            "a negative number": _sealed(channel, [[b"board  1", -1], [], True]),
            "too many announcements": _sealed(channel, [[b"board  1", 0], [b""] * (MAX_ANNOUNCEMENTS + 1), True]),
            "a number for a truth value": _sealed(channel, [[b"board  1", 0], [], 1]),
            "an element less": _sealed(channel, [[b"board  1", 0], []]),
            "an element more": _sealed(channel, [[b"board  1", 0], [], True, None]),
            "a map": _sealed(channel, {"hears": True}),
        },
    }


def _told() -> ToldJob:
    manifest = Scribe().manifest
    with fixed_secrets():
        return ToldJob(seal_answer(_ANSWER, SERVER, manifest.members[id_of(SECOND)], manifest))


def _clear(message: Question | Answer) -> str:
    return _packed([[*message.read], message.announcements, message.hears])


def _packed(value: object) -> str:
    return bytes(msgpack.packb(value)).hex()


def _sealed(channel: Channel, value: object) -> str:
    context = AskingMessage(channel.federation, channel.member, AskingSide.ASKING)
    return encrypt(channel.swarm_key, msgpack.packb(value), context).hex()
