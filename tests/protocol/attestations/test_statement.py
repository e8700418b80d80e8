"""In-toto statements: read back, and refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from protocol.attestations.audited import (
    AuditedRun,
    AuditPredicate,
    Compared,
    Environments,
    RootOfTrust,
    Tool,
)
from protocol.attestations.statement import (
    MAX_SUBJECTS,
    BadStatement,
    Statement,
    UnknownPredicate,
    block_subject,
    read_statement,
    write_statement,
)
from protocol.blocks.cid import cbor_block

HEAD, RUN = cbor_block("head").cid, cbor_block("run").cid
STATEMENT = Statement(
    (block_subject("head", HEAD),),
    AuditPredicate(
        verdict="verified",
        audited_at="2026-11-27T04:00:00Z",
        tool=Tool(name="pollen-fl", version="0.1.0"),
        root_of_trust=RootOfTrust(basis="run", federation=RUN),
        run=AuditedRun(head=HEAD, run=RUN, height=1, closed=False, outcome=None, encrypted=False, final_model=None),
        app=None,
        compared=Compared(records=2, exchanges=0, contents=True, replay=None),
        not_compared=("the rest",),
        environment=Environments(recorded=None, here=None, differing=()),
        findings=(),
        findings_left_out=0,
    ),
)


def changed(change: Callable[[Any], object]) -> bytes:
    value = json.loads(write_statement(STATEMENT))
    change(value)
    return json.dumps(value).encode()


def test_a_statement_is_read_as_it_was_written() -> None:
    assert read_statement(write_statement(STATEMENT)) == STATEMENT


def test_a_blocks_digest_is_the_one_in_its_cid() -> None:
    assert STATEMENT.is_about(HEAD.digest.hex())
    assert not STATEMENT.is_about(RUN.digest.hex())


def test_what_is_not_known_is_passed_over() -> None:
    assert read_statement(changed(lambda value: value["predicate"].update(more=1))) == STATEMENT


def test_another_predicate_cannot_be_judged() -> None:
    with pytest.raises(UnknownPredicate, match="audit/v2"):
        read_statement(changed(lambda value: value.update(predicateType="https://pollen-fl/audit/v2")))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda value: value.update(_type="https://in-toto.io/Statement/v0.1"), "of type"),
        (lambda value: value.update(subject=[]), "0 subjects"),
        (lambda value: value.update(subject=value["subject"] * (MAX_SUBJECTS + 1)), "1001 subjects"),
        (lambda value: value["subject"][0].update(digest={"md5": "00"}), "no SHA-256 digest"),
        (lambda value: value["subject"][0]["digest"].update(sha256="AB" * 32), "no SHA-256 digest"),
        (lambda value: value["subject"][0]["digest"].update(sha256="ab" * 32), "speaks of the head"),
        (lambda value: value["predicate"].update(verdict="splendid"), "verdict"),
        (lambda value: value["predicate"]["run"].update(head="bafy"), "not a CID"),
        (lambda value: value["predicate"]["run"].update(height="1"), "height"),
        (lambda value: value["predicate"].pop("compared"), "compared"),
    ],
)
def test_what_is_no_sound_statement_is_refused_by_name(change: Callable[[Any], object], why: str) -> None:
    with pytest.raises(BadStatement, match=why):
        read_statement(changed(change))


@pytest.mark.parametrize("payload", [b"", b"\xff", b"[]", b'{"_type": "a", "_type": "a"}', b'{"a":' * 100_000])
def test_what_is_no_json_object_is_none(payload: bytes) -> None:
    with pytest.raises(BadStatement, match="no in-toto statement"):
        read_statement(payload)
