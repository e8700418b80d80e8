"""In-toto statements: read back, and refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from attested import AUDITED, HEAD, RUN, SIGNED

from protocol.attestations.statement import (
    MAX_SUBJECTS,
    BadStatement,
    Statement,
    UnknownPredicate,
    read_statement,
    write_statement,
)


def changed(change: Callable[[Any], object]) -> bytes:
    value = json.loads(write_statement(AUDITED))
    change(value)
    return json.dumps(value).encode()


@pytest.mark.parametrize("statement", [AUDITED, SIGNED], ids=["audit", "model"])
def test_a_statement_is_read_as_it_was_written(statement: Statement) -> None:
    assert read_statement(write_statement(statement)) == statement


def test_a_blocks_digest_is_the_one_in_its_cid() -> None:
    assert AUDITED.is_about(HEAD.digest.hex())
    assert not AUDITED.is_about(RUN.digest.hex())


def test_what_is_not_known_is_passed_over() -> None:
    assert read_statement(changed(lambda value: value["predicate"].update(more=1))) == AUDITED


def test_another_predicate_cannot_be_judged() -> None:
    with pytest.raises(UnknownPredicate, match="audit/v2"):
        read_statement(changed(lambda value: value.update(predicateType="https://pollen-fl/audit/v2")))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda value: value.update(_type="https://in-toto.io/Statement/v0.1"), "of type"),
        (lambda value: value.update(subject=[]), "0 subjects"),
        (lambda value: value.update(subject=value["subject"] * (MAX_SUBJECTS + 1)), "3003 subjects"),
        (lambda value: value["subject"][0].update(digest={"md5": "00"}), "no SHA-256 digest"),
        (lambda value: value["subject"][0]["digest"].update(sha256="AB" * 32), "no SHA-256 digest"),
        (lambda value: value["subject"][0]["digest"].update(sha256="ab" * 32), "speaks of the head"),
        (lambda value: value["subject"].pop(1), "speaks of the final model"),
        (lambda value: value["subject"].pop(2), "speaks of the model file"),
        (lambda value: value["predicate"].update(verdict="splendid"), "verdict"),
        (lambda value: value["predicate"]["run"].update(head="bafy"), "not a CID"),
        (lambda value: value["predicate"]["run"].update(height="1"), "height"),
        (lambda value: value["predicate"].pop("compared"), "compared"),
    ],
)
def test_what_is_no_sound_statement_is_refused_by_name(change: Callable[[Any], object], why: str) -> None:
    with pytest.raises(BadStatement, match=why):
        read_statement(changed(change))


@pytest.mark.parametrize(
    "payload", [b"", b"\xff", b"[]", b'{"_type": "a", "_type": "a"}', b'{"a":' * 100_000, rb'{"_type": "\udcff"}']
)
def test_what_is_no_json_object_is_none(payload: bytes) -> None:
    with pytest.raises(BadStatement, match="no in-toto statement"):
        read_statement(payload)


def test_a_model_is_not_vouched_for_with_a_key_that_is_no_subject() -> None:
    value = json.loads(write_statement(SIGNED))
    value["predicate"]["key"]["pem"] = value["predicate"]["key"]["pem"].replace("M", "N", 1)
    with pytest.raises(BadStatement, match="speaks of the key"):
        read_statement(json.dumps(value).encode())
