"""DSSE envelopes: what is opened, and what is refused by which words."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from crypto.envelope import MAX_ENVELOPE, open_envelope, sign_envelope
from crypto.errors import BadEnvelope, BadSignature
from crypto.keys import SigningKey

TYPE = "application/vnd.in-toto+json"
ALICE, BOB = SigningKey.from_seed(b"a" * 32), SigningKey.from_seed(b"b" * 32)


def envelope(**changes: Any) -> bytes:
    """One that Alice signed, with other fields."""
    return json.dumps(json.loads(sign_envelope(ALICE, TYPE, b"{}")) | changes).encode()


def signature(key: SigningKey = ALICE, payload: bytes = b"{}", keyid: str | None = None) -> dict[str, str]:
    (made,) = json.loads(sign_envelope(key, TYPE, payload))["signatures"]
    return made if keyid is None else {**made, "keyid": keyid}


def test_what_is_opened_is_what_was_signed_and_by_whom() -> None:
    opened = open_envelope(sign_envelope(ALICE, TYPE, b"said"), TYPE)
    assert (opened.payload, opened.signer) == (b"said", ALICE.verify_key)


def test_the_same_is_signed_to_the_same_bytes() -> None:
    assert sign_envelope(ALICE, TYPE, b"said") == sign_envelope(ALICE, TYPE, b"said")


def test_a_field_that_is_not_known_is_passed_over() -> None:
    assert open_envelope(envelope(note="mine"), TYPE).payload == b"{}"


@pytest.mark.parametrize(
    "changed",
    [
        {"payload": base64.b64encode(b"{ }").decode()},
        {"signatures": [signature(BOB, keyid=ALICE.verify_key.did)]},
        {"signatures": [signature(payload=b"other")]},
        {"signatures": [{"keyid": ALICE.verify_key.did, "sig": ""}]},
    ],
    ids=["other payload", "other key id", "over other bytes", "empty"],
)
def test_what_the_named_key_did_not_sign_is_a_bad_signature(changed: dict[str, Any]) -> None:
    with pytest.raises(BadSignature, match="was not signed by did:key"):
        open_envelope(envelope(**changed), TYPE)


def test_what_was_signed_as_another_type_is_none() -> None:
    with pytest.raises(BadEnvelope, match="signed as 'text/plain'"):
        open_envelope(sign_envelope(ALICE, "text/plain", b"{}"), TYPE)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "is not JSON"),
        (b"[]", "no object"),
        (b"\xff{}", "is not UTF-8"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"payload": "", "payload": ""}', "the name 'payload' stands in one object twice"),
        (b'{"payload": NaN}', "NaN is no number"),
        (rb'{"payload": "", "note": ["\ud800"]}', "half of a character"),
        (b"{" + b" " * MAX_ENVELOPE + b"}", "larger than"),
        (b"{}", "missing required field"),
        (envelope(payload=7), "Expected `bytes`"),
        (envelope(payload="e30"), "Invalid base64"),
        (envelope(signatures=[]), "0 signatures, not one"),
        (envelope(signatures=[signature(), signature(BOB)]), "2 signatures, not one"),
        (envelope(signatures=[signature(keyid="alice")]), "key id names no signer"),
        (envelope(signatures=[signature(keyid="did:key:z6Mk" + "1" * 60)]), "key id names no signer"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_envelope_is_refused_by_name(data: bytes, why: str) -> None:
    with pytest.raises(BadEnvelope, match=why):
        open_envelope(data, TYPE)
