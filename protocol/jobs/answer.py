"""What a server answers to whoever asked it for a job: whether it is taken, how it stands, what its app printed.

It is signed by the server, so that no other node can speak for it; it names what it answers, so that no older answer
passes for it; and it is sealed to whoever asked, because a question goes through the nodes of others.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated, Final

from msgspec import Meta

from crypto.dsse import BadSignature, verify
from crypto.dsse import sign as dsse_sign
from crypto.errors import CannotDecrypt
from crypto.keys import SigningKey, VerifyKey
from protocol.blocks.packing import NotPacked, packed, unpacked
from protocol.federation.epochs import encryption_key
from protocol.federation.manifest import Manifest
from protocol.federation.readers import Reader, WrongKey
from protocol.records.bodies import Key, Member, Natural
from protocol.records.contexts import JobAnswerSeal, seal_for
from protocol.run_names import LONGEST
from protocol.wire.announcements import Envelope

ANSWER_TYPE: Final = "application/vnd.pollen.job-answer+msgpack"
"""The DSSE payload type of an answer."""

MAX_LOG: Final = 256 << 10
"""Bytes of an app's output in one answer."""

MAX_WHY: Final = 500
"""Characters of a reason."""


class NoAnswer(Exception):
    """Bytes that are not the server's answer to what was asked."""


@dataclass(frozen=True, slots=True)
class JobAnswer:
    """What is signed, its fields in this order."""

    federation: Annotated[bytes, Meta(min_length=36, max_length=36)]
    by: Key
    """The server's member id."""
    asked: Annotated[bytes, Meta(min_length=32, max_length=32)]
    """The SHA-256 of what was asked, as it was signed."""
    number: Natural | None
    """The job's, at the server; None if it has no such job."""
    name: Annotated[str, Meta(max_length=LONGEST)]
    why: Annotated[str, Meta(max_length=MAX_WHY)]
    """Why it was not taken, or has ended without its run's being closed."""
    state: Annotated[str, Meta(max_length=20)]
    """How it stands, for people: a word of `peer ls`; empty if there is no such job."""
    ended: bool
    """Whether nothing is left to do for it."""
    run: Annotated[bytes, Meta(min_length=36, max_length=36)] | None
    log: Annotated[bytes, Meta(max_length=MAX_LOG)]
    """What the app printed, from where it was asked for."""
    log_next: Natural
    """From where the next question asks on."""


def digest_of(signed: bytes) -> bytes:
    """How an answer names what it answers."""
    return hashlib.sha256(signed).digest()


def seal_answer(answer: JobAnswer, key: SigningKey, to: Member, federation: Manifest) -> bytes:
    """The answer on the wire, for the member ``to`` alone.

    Raises:
        crypto.errors.BadKey: if the member's encryption key is of a suite that is not known here.
    """
    payload = packed(answer)
    signed = packed(Envelope(payload, key.verify_key.raw, dsse_sign(key, ANSWER_TYPE, payload)))
    return seal_for(encryption_key(to), signed, JobAnswerSeal(federation.federation, to.id))


def open_answer(sealed: bytes, asked: bytes, server: bytes, manifest: Manifest, reader: Reader) -> JobAnswer:
    """What the member ``server`` answers to ``asked``, which we signed.

    Raises:
        NoAnswer: if it is anything else. Nothing else is raised, whatever the bytes.
    """
    try:
        envelope = unpacked(reader.open(sealed, JobAnswerSeal(manifest.federation, reader.member)), Envelope)
        member = manifest.member_by_key(envelope.key)
        if member is None or member.id != server:
            raise NoAnswer("it is not signed with the server's key")
        verify(VerifyKey.parse(envelope.key), ANSWER_TYPE, envelope.payload, envelope.signature)
        answer = unpacked(envelope.payload, JobAnswer)
    except (CannotDecrypt, WrongKey, NotPacked, BadSignature) as error:
        raise NoAnswer(str(error)) from error
    if answer.by != server or answer.federation != bytes(manifest.federation) or answer.asked != digest_of(asked):
        raise NoAnswer("it answers something else")
    return answer
