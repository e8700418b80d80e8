"""The announcement vectors that other implementations test against hold for ours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from crypto.dsse import verify
from crypto.keys import SigningKey, VerifyKey
from protocol.announcements import (
    ANNOUNCEMENT_TYPE,
    AnnouncementError,
    Drop,
    Kind,
    parse_announcement,
    sign_announcement,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "announcements.json").read_text())
GOOD = VECTORS["good"]
MALFORMED = VECTORS["malformed"]


def test_there_is_a_vector_of_each_kind():
    assert {vector["kind"] for vector in GOOD.values()} == set(Kind)


@pytest.mark.parametrize("name", GOOD)
def test_a_good_vector_is_read_as_it_says(name):
    vector = GOOD[name]
    signed = parse_announcement(bytes.fromhex(vector["wire"]))
    verify(VerifyKey.parse(signed.key), ANNOUNCEMENT_TYPE, signed.payload, signed.signature)
    said = signed.announcement
    assert (str(said.federation), said.counter, said.kind) == (
        vector["federation"],
        vector["counter"],
        vector["kind"],
    )
    assert [str(block.cid) for block in said.blocks] == vector["blocks"]
    assert signed.payload.hex() == vector["payload"]


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
