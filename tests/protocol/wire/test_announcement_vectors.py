"""The announcement vectors that other implementations test against hold for ours."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import msgpack
import pytest

from crypto.dsse import verify
from crypto.keys import DecryptionKey, SigningKey, VerifyKey
from crypto.sealing import open_sealed
from crypto.symmetric import SymmetricKey
from protocol.blocks.cid import CID, encode_cbor
from protocol.wire.announcements import (
    ANNOUNCEMENT_TYPE,
    KINDS,
    AnnouncementError,
    Bye,
    Drop,
    parse_announcement,
    sign_announcement,
)

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "announcements.json").read_text())
GOOD = VECTORS["good"]
MALFORMED = VECTORS["malformed"]
SEALED = VECTORS["sealed"]


def test_there_is_a_vector_of_each_kind():
    assert {vector["kind"] for vector in GOOD.values()} == set(KINDS)


@pytest.mark.parametrize("name", GOOD)
def test_a_good_vector_is_read_as_it_says(name):
    vector = GOOD[name]
    signed = parse_announcement(bytes.fromhex(vector["wire"]))
    verify(VerifyKey.parse(signed.envelope.key), ANNOUNCEMENT_TYPE, signed.envelope.payload, signed.envelope.signature)
    said = signed.announcement
    assert (str(said.federation), said.counter, said.kind) == (
        vector["federation"],
        vector["counter"],
        vector["kind"],
    )
    assert [str(block.cid) for block in said.blocks] == vector["blocks"]
    assert signed.envelope.payload.hex() == vector["payload"]


@pytest.mark.parametrize("name", GOOD)
def test_a_good_vector_is_what_we_write(name):
    wire = bytes.fromhex(GOOD[name]["wire"])
    key = SigningKey.from_seed(bytes.fromhex(VECTORS["seed"]))
    assert sign_announcement(parse_announcement(wire).announcement, key) == wire


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_vector_is_refused(name):
    with pytest.raises(AnnouncementError) as caught:
        parse_announcement(bytes.fromhex(MALFORMED[name]))
    assert caught.value.reason is Drop.MALFORMED


def context(name: str, *rest: object) -> bytes:
    return encode_cbor(["pollen context 1", name, CID(bytes.fromhex(SEALED["federation"])), *rest])


def test_what_is_sealed_for_all_opens_as_the_specification_says():
    key = SymmetricKey(bytes.fromhex(SEALED["manifest_key"]))
    tag, sealed = msgpack.unpackb(bytes.fromhex(SEALED["for_all"]))
    assert tag == key.derive(context("announcement tag", 1)).secret_bytes()[:8]
    assert key.derive(b"announcement").decrypt(sealed, context("announcement", 1)).hex() == SEALED["signed"]


def test_what_is_sealed_to_one_member_opens_as_the_specification_says():
    key, federation = DecryptionKey.from_seed(bytes.fromhex(SEALED["member_key"])), bytes.fromhex(SEALED["federation"])
    tag, sealed = msgpack.unpackb(bytes.fromhex(SEALED["for_one"]))
    assert tag == hashlib.sha256(b"pollen announcement reader 1" + federation + key.public.raw).digest()[:8]
    info = context("announcement to one", bytes.fromhex(SEALED["member"]))
    assert open_sealed(key, sealed, info).hex() == SEALED["signed"]


def test_what_the_vectors_seal_is_an_announcement():
    assert parse_announcement(bytes.fromhex(SEALED["signed"])).announcement.body == Bye("stopped")
