"""Message ids."""

from __future__ import annotations

import hashlib

from chains import ANSWER, CONTENT

from protocol.blocks.cid import cbor_block, encode_cbor
from protocol.records.message_ids import message_id

RUN = cbor_block("run").cid


def test_an_id_is_the_hash_of_what_makes_a_message():
    plain = encode_cbor(["pollen message id 1", RUN, 5, 0, CONTENT, "train"])
    assert message_id(RUN, 5, 0, CONTENT, "train") == hashlib.sha256(plain).digest()


def test_each_part_changes_the_id():
    ids = {
        message_id(RUN, 5, 0, CONTENT, "train"),
        message_id(cbor_block("another run").cid, 5, 0, CONTENT, "train"),
        message_id(RUN, 6, 0, CONTENT, "train"),
        message_id(RUN, 5, 1, CONTENT, "train"),
        message_id(RUN, 5, 0, ANSWER, "train"),
        message_id(RUN, 5, 0, CONTENT, "query"),
    }
    assert len(ids) == 6
