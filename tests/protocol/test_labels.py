"""Ids as people see them: their first characters, unless they stand in a command."""

from __future__ import annotations

import pytest
from chains import ALICE

from protocol.blocks.cid import cbor_block, raw_block
from protocol.labels import labelled

CID = cbor_block("a run").cid
CHUNK = raw_block(b"a chunk").cid
DID = ALICE.verify_key.did


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"the run {CID} is closed", f"the run {CID.label} is closed"),
        (f"{CHUNK}, {CID}.", f"{CHUNK.label}, {CID.label}."),
        (f"{DID} answered", f"{DID[:20]} answered"),
        (f"next: peer audit {CID} --replay", f"next: peer audit {CID} --replay"),
        (f"peer show {CID}; then {CID}", f"peer show {CID}; then {CID.label}"),
        (f"read it with `peer app show {CID}`, of {CID}", f"read it with `peer app show {CID}`, of {CID.label}"),
        (f"x{CID}", f"x{CID}"),
        (f"{CID}x", f"{CID}x"),
    ],
)
def test_an_id_has_a_label_but_in_a_command(text: str, shown: str) -> None:
    assert labelled(text) == shown
