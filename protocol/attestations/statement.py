"""In-toto Statements (in-toto/attestation, spec/v1): what somebody vouches for, and of which bytes.

A statement names its *subjects* by the SHA-256 of their bytes, so that anybody can tell whether it is about the file or
block that they have. A block's CID is that same digest in another spelling. What is said of them is the *predicate*;
docs/attestations.md describes the two that there are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from crypto.described_types import described
from crypto.envelope import json_object
from protocol.attestations.audit_predicate import AUDIT_TYPE, AuditPredicate
from protocol.attestations.model_predicate import MODEL_TYPE, ModelPredicate
from protocol.blocks.cid import CID
from protocol.blocks.json_values import NotOfKind, from_json_value, json_value

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
"""As what an envelope signs a statement."""

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"

MAX_SUBJECTS: Final = 1_000

Predicate = AuditPredicate | ModelPredicate

_PREDICATES: Final[dict[str, type[AuditPredicate] | type[ModelPredicate]]] = {
    AUDIT_TYPE: AuditPredicate,
    MODEL_TYPE: ModelPredicate,
}


class BadStatement(Exception):
    """A payload that is no statement, or one that contradicts itself."""


class UnknownPredicate(Exception):
    """A statement that says something of a type that this version does not know."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A file or a block that a statement is about."""

    name: str
    sha256: str
    """Of its bytes, in lowercase hex."""
    uri: str = ""


@dataclass(frozen=True, slots=True)
class Statement:
    """What is said, and of what."""

    subjects: tuple[Subject, ...]
    predicate: Predicate

    def is_about(self, sha256: str) -> bool:
        """Whether bytes with this digest are among the subjects."""
        return any(subject.sha256 == sha256 for subject in self.subjects)


def block_subject(name: str, cid: CID) -> Subject:
    """A block as a subject. Its digest is that of its bytes, which for a content are those of the root block."""
    return Subject(name, cid.digest.hex(), f"ipfs://{cid}")


class _Descriptor(msgspec.Struct, frozen=True, omit_defaults=True):
    digest: dict[str, str]
    name: str = ""
    uri: str = ""


class _File(msgspec.Struct, frozen=True, rename="camel"):
    type_: str = msgspec.field(name="_type")
    subject: list[_Descriptor]
    predicate_type: str
    predicate: dict[str, Any]


def write_statement(statement: Statement) -> bytes:
    """The JSON of a statement, the same for the same statement."""
    descriptors = [_Descriptor({"sha256": subject.sha256}, subject.name, subject.uri) for subject in statement.subjects]
    kind = next(uri for uri, each in _PREDICATES.items() if each is type(statement.predicate))
    value = _File(STATEMENT_TYPE, descriptors, kind, json_value(statement.predicate))
    return msgspec.json.encode(value)


def read_statement(payload: bytes) -> Statement:
    """The statement in a payload. What is not known in it is passed over, as the specification says.

    Raises:
        BadStatement: if it is none, or what it says is not of its subjects.
        UnknownPredicate: if it says something of another type.
    """
    file = _file(payload)
    if file.type_ != STATEMENT_TYPE:
        raise BadStatement(f"it is of type {file.type_[:80]!r}, not {STATEMENT_TYPE!r}")
    if not 0 < len(file.subject) <= MAX_SUBJECTS:
        raise BadStatement(f"it has {len(file.subject)} subjects, not 1 to {MAX_SUBJECTS}")
    kind = _PREDICATES.get(file.predicate_type)
    if kind is None:
        raise UnknownPredicate(
            f"what it says is of type {file.predicate_type[:80]!r}; known here: {', '.join(_PREDICATES)}"
        )
    statement = Statement(tuple(map(_subject, file.subject)), _predicate(file.predicate, kind))
    digests = {subject.sha256 for subject in statement.subjects}  # a hostile predicate speaks of many
    for what, sha256 in statement.predicate.spoken_of():
        if sha256 not in digests:
            raise BadStatement(f"it speaks of the {what}, which is not among its subjects")
    return statement


def _file(payload: bytes) -> _File:
    try:
        return msgspec.convert(json_object(payload), described(_File))
    except ValueError as error:
        raise BadStatement(f"it is no in-toto statement: {error}") from None


def _subject(descriptor: _Descriptor) -> Subject:
    digest = descriptor.digest.get("sha256")
    if digest is None or not re.fullmatch("[0-9a-f]{64}", digest):
        raise BadStatement(f"its subject {descriptor.name[:80]!r} has no SHA-256 digest in lowercase hex")
    return Subject(descriptor.name, digest, descriptor.uri)


def _predicate(value: dict[str, Any], kind: type[AuditPredicate] | type[ModelPredicate]) -> Predicate:
    try:
        return from_json_value(value, kind)
    except NotOfKind as error:
        raise BadStatement(f"what it says is not of its type: {error}") from None
