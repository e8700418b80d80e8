"""The formats of crypto/README.md stay what they are: one identity, and all that is made of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crypto import dsse
from crypto.identity import Handovers, Identity, PublicIdentity
from crypto.keyfile import Cost, lock, unlock, write_unlocked
from crypto.keys import DecryptionKey, SigningKey, VerifyKey
from crypto.words import from_words

VECTOR: dict[str, Any] = json.loads((Path(__file__).parents[1] / "vectors" / "crypto.json").read_text("utf-8"))


@pytest.fixture
def identity() -> Identity:
    signing = SigningKey.from_seed(bytes.fromhex(VECTOR["signing_seed"]))
    return Identity(VECTOR["name"], signing, DecryptionKey.from_seed(bytes.fromhex(VECTOR["decryption_seed"])))


def test_public_keys(identity: Identity) -> None:
    public = identity.public
    assert (public.id.hex(), public.signing.did) == (VECTOR["id"], VECTOR["did"])
    assert (public.encryption.suite, public.encryption.raw.hex()) == (VECTOR["suite"], VECTOR["encryption_key"])


def test_signature(identity: Identity) -> None:
    expected = VECTOR["signature"]
    payload = bytes.fromhex(expected["payload"])
    assert dsse.pae(expected["type"], payload).hex() == expected["pae"]
    assert dsse.sign(identity.signing, expected["type"], payload).hex() == expected["signature"]


def test_key_text(identity: Identity) -> None:
    assert identity.public.key_text() == VECTOR["key_text"]
    assert PublicIdentity.parse_key_text(VECTOR["key_text"]) == identity.public


def test_key_text_for_a_federation(identity: Identity, rotated: Identity) -> None:
    federation = bytes.fromhex(VECTOR["federation"])
    for each, text in ((identity, VECTOR["key_text_for_it"]), (rotated, VECTOR["rotated"]["key_text_for_it"])):
        assert each.public_for(federation).key_text() == text
        assert PublicIdentity.parse_key_text(text).federation == federation


def test_locked_key_file(identity: Identity) -> None:
    expected = VECTOR["locked"]
    salt, nonce = bytes.fromhex(expected["salt"]), bytes.fromhex(expected["nonce"])
    written = lock(identity, expected["passphrase"], salt=salt, nonce=nonce, cost=Cost(**expected["cost"]))
    assert json.loads(written) == expected["file"]
    assert unlock(json.dumps(expected["file"]).encode(), expected["passphrase"]).public == identity.public


def test_unlocked_key_file(identity: Identity) -> None:
    expected = VECTOR["unlocked"]["file"]
    assert json.loads(write_unlocked(identity)) == expected
    assert unlock(json.dumps(expected).encode()).public == identity.public


@pytest.fixture
def rotated(identity: Identity) -> Identity:
    seeds = (bytes.fromhex(VECTOR["rotated"][kind]) for kind in ("signing_seed", "decryption_seed"))
    return Identity.from_secret_bytes(VECTOR["name"], b"".join(seeds) + identity.secret_bytes())


def test_handover(rotated: Identity) -> None:
    expected, public = VECTOR["rotated"]["handover"], rotated.public_for(bytes.fromhex(VECTOR["federation"]))
    signed, new = bytes.fromhex(expected["signed"]), bytes.fromhex(expected["new"])
    assert public.handovers == Handovers(new, ((rotated.id, bytes.fromhex(expected["old"])),))
    dsse.verify(VerifyKey.parse(rotated.id), expected["type"], signed, bytes.fromhex(expected["old"]))
    dsse.verify(public.signing, expected["type"], signed, new)


def test_key_text_of_a_rotated_identity(rotated: Identity) -> None:
    assert (rotated.id.hex(), rotated.public.signing.did) == (VECTOR["id"], VECTOR["rotated"]["did"])
    assert rotated.public.key_text() == VECTOR["rotated"]["key_text"]
    assert PublicIdentity.parse_key_text(VECTOR["rotated"]["key_text"]) == rotated.public


def test_key_file_of_a_rotated_identity(rotated: Identity) -> None:
    expected = VECTOR["rotated"]["unlocked"]["file"]
    assert json.loads(write_unlocked(rotated)) == expected
    assert unlock(json.dumps(expected).encode()).secret_bytes() == rotated.secret_bytes()


def test_words(rotated: Identity) -> None:
    assert from_words(VECTOR["rotated"]["words"]) == rotated.secret_bytes()
