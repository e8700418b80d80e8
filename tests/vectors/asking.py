"""The asking vectors: a question, an answer, and what is neither (``make.py`` writes asking.json)."""

from __future__ import annotations

import msgpack

from crypto.symmetric import SymmetricKey
from protocol.blocks.cid import cbor_block
from protocol.records.contexts import AskingMessage, AskingSide, encrypt
from protocol.wire.asking import MAX_ANNOUNCEMENTS, Answer, Channel, Question


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


def _clear(message: Question | Answer) -> str:
    return msgpack.packb([[*message.read], message.announcements, message.hears]).hex()


def _sealed(channel: Channel, value: object) -> str:
    context = AskingMessage(channel.federation, channel.member, AskingSide.ASKING)
    return encrypt(channel.swarm_key, msgpack.packb(value), context).hex()
