"""An identity whose keys were rotated: what it keeps, its KEY text and its key file."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import cbrrr
import pytest

from crypto import dsse
from crypto.errors import BadKeyText, KeyFileDamaged, TooManyKeys
from crypto.handover import NewKeys
from crypto.identity import KEY_TYPE, MAX_RETIRED, Identity, PublicIdentity, RetiredKeys
from crypto.keyfile import FILE_TYPE, MAX_FILE_SIZE, Cost, lock, read_public, unlock, write_unlocked
from crypto.keys import DecryptionKey, SigningKey


def pair(name: bytes) -> RetiredKeys:
    return RetiredKeys(SigningKey.from_seed(name * 32), DecryptionKey.from_seed(name.upper() * 32))


FIRST, SECOND, THIRD = pair(b"a"), pair(b"b"), pair(b"c")
ALICE = Identity("alice", THIRD.signing, THIRD.decryption, [SECOND, FIRST])
KEY = ALICE.public.key_text()


def test_the_id_is_the_first_signing_key() -> None:
    assert ALICE.id == ALICE.public.id == FIRST.signing.verify_key.raw


def test_rotating_retires_the_keys_there_were() -> None:
    again = ALICE.rotated()
    assert again.signing_keys[1:] == ALICE.signing_keys
    assert again.decryption_keys[1:] == ALICE.decryption_keys
    assert again.id == ALICE.id


def test_rotating_comes_to_an_end() -> None:
    retired = [pair(bytes([number])) for number in range(MAX_RETIRED)]
    many = Identity("alice", THIRD.signing, THIRD.decryption, retired)
    with pytest.raises(TooManyKeys):
        many.rotated()
    text = many.public.key_text()
    assert PublicIdentity.parse_key_text(text) == many.public
    assert len(write_unlocked(many)) < MAX_FILE_SIZE


# -- the KEY text --------------------------------------------------------------------------------------------------


def test_a_key_text_says_whose_keys_these_are_and_who_handed_over() -> None:
    read = PublicIdentity.parse_key_text(KEY)
    assert read == ALICE.public
    assert read.handovers is not None
    keys = NewKeys(b"", read.id, read.signing.raw, read.encryption.suite.value, read.encryption.raw)
    for before in (FIRST, SECOND):
        key = before.signing.verify_key.raw
        signature = read.handovers.by(key)
        assert signature is not None
        keys.check(key, signature)
    assert read.handovers.by(THIRD.signing.verify_key.raw) is None


def rewritten(change: Callable[[dict[str, Any]], None]) -> str:
    """The KEY with another body, which its newest key has signed as a whole."""
    data = base64.urlsafe_b64decode(
        KEY.removeprefix("pollen-key-2.") + "==="[: -len(KEY.removeprefix("pollen-key-2.")) % 4]
    )
    body: Any = cbrrr.decode_dag_cbor(data[:-64])
    change(body)
    signed = cbrrr.encode_dag_cbor(body)
    proof = dsse.sign(THIRD.signing, KEY_TYPE, signed)
    return "pollen-key-2." + base64.urlsafe_b64encode(signed + proof).rstrip(b"=").decode()


def test_the_text_as_it_is_passes() -> None:
    assert rewritten(lambda body: None) == KEY


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.update(old=[]),
        lambda body: body.update(old=body["old"][1:]),
        lambda body: body.update(old=body["old"][::-1]),
        lambda body: body.update(old=body["old"] + body["old"][:1]),
        lambda body: body.update(old=[[body["signing"], body["new"]]]),
        lambda body: body.update(old=[[bytes(32), bytes(64)]]),
        lambda body: body.update(new=body["old"][0][1]),
        lambda body: body.update(new=b""),
        lambda body: body.update(encryption=FIRST.decryption.public.raw),
        lambda body: body.pop("new"),
    ],
    ids=[
        "none",
        "not the first",
        "reversed",
        "twice",
        "itself",
        "no key",
        "another's",
        "empty",
        "other keys",
        "absent",
    ],
)
def test_nobody_takes_over_an_id_that_was_not_handed_over(change: Callable[[dict[str, Any]], None]) -> None:
    with pytest.raises(BadKeyText):
        PublicIdentity.parse_key_text(rewritten(change))


@pytest.mark.parametrize("prefix", ["pollen-key-1.", "pollen-key-3."])
def test_a_key_text_of_another_kind_is_refused(prefix: str) -> None:
    with pytest.raises(BadKeyText):
        PublicIdentity.parse_key_text(KEY.replace("pollen-key-2.", prefix))


# -- the key file --------------------------------------------------------------------------------------------------


def test_a_key_file_keeps_every_key() -> None:
    data = lock(ALICE, "open sesame", salt=b"s" * 16, nonce=b"n" * 12, cost=Cost(64, 1, 1))
    assert json.loads(data)["version"] == 2
    assert read_public(data).public == ALICE.public
    assert unlock(data, "open sesame").secret_bytes() == ALICE.secret_bytes()


@pytest.mark.parametrize(
    "change",
    [
        {"version": 1},
        {"secret": base64.b64encode(ALICE.secret_bytes()[:64]).decode()},
        {"secret": base64.b64encode(ALICE.secret_bytes()[:100]).decode()},
        {"secret": base64.b64encode(ALICE.secret_bytes()[:128]).decode()},
        {"secret": ""},
    ],
    ids=["version 1", "no retired keys", "half a pair", "one pair less", "nothing"],
)
def test_a_key_file_that_lacks_keys_is_damaged_even_when_it_is_signed(change: dict[str, object]) -> None:
    value = json.loads(write_unlocked(ALICE)) | change
    signed = cbrrr.encode_dag_cbor({key: each for key, each in value.items() if key != "signature"})
    value["signature"] = base64.b64encode(dsse.sign(THIRD.signing, FILE_TYPE, signed)).decode()
    with pytest.raises(KeyFileDamaged):
        unlock(json.dumps(value).encode())
