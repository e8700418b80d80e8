"""A CID as text: what files, logs and people call a block."""

from __future__ import annotations

import cbrrr
import pytest

from protocol.blocks.cid import CID, MalformedCid, raw_cid


def test_a_cid_reads_as_ipfs_writes_it() -> None:
    cid = raw_cid(b"hello")
    assert str(cid) == "bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq"
    assert str(cid) == cbrrr.CID(bytes(cid)).encode()
    assert CID.parse(str(cid)) == cid


def test_the_text_of_equal_cids_is_made_once() -> None:
    assert str(raw_cid(b"hello")) is str(raw_cid(b"hello"))


@pytest.mark.parametrize("slip", ["Q", "r"], ids=["a capital", "bits that no byte has"])
def test_a_cid_has_one_text(slip: str) -> None:
    text = str(raw_cid(b"hello"))
    with pytest.raises(MalformedCid, match=f"; {text} is one"):
        CID.parse(text[:-1] + slip)
