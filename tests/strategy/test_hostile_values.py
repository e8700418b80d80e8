"""What no honest codec writes, in a content of a hostile peer: each side refuses it, whoever sent it."""

from __future__ import annotations

import pytest
from any_records import Blocks
from flwr.app import RecordDict

from protocol.admission import Admission
from protocol.blocks import CID, encode_cbor
from protocol.content import write_manifest
from strategy.admission import examine, read_sent
from strategy.content import FORMAT, MAX_VALUES, encode

HUGE = [["m", "metric", [["loss", {"int": (10**400).to_bytes(167, "big")}]]]]
MANY = [["m", "metric", [[str(number), 0.5] for number in range(MAX_VALUES + 1)]]]
SPLIT = [[str(part), "metric", [[str(key), 0.5] for key in range(MAX_VALUES // 4)]] for part in range(5)]
LONG = [["m", "metric", [["k" * 2_000, 0.5]]]]


def spoiled(records: object, blocks: Blocks) -> CID:
    root, manifest = write_manifest(encode_cbor([FORMAT, records]), [])
    blocks.update((block.cid, block.data) for block in manifest)
    return root


@pytest.mark.parametrize(
    ("records", "why"),
    [
        (HUGE, "an integer of 167 bytes"),
        (MANY, f"{MAX_VALUES + 1} metrics and settings"),
        (SPLIT, f"{MAX_VALUES // 4 * 5} metrics and settings"),
        (LONG, "the name 'kkk"),
    ],
    ids=["huge", "many", "split", "long"],
)
@pytest.mark.parametrize("checks", ["all", "off"])
def test_a_reply_over_a_limit_is_refused_whatever_is_checked(records: object, why: str, checks: str) -> None:
    blocks = Blocks()
    sent = read_sent(blocks.keep(encode(RecordDict(), None)), blocks, None)

    found, kept = examine(spoiled(records, blocks), blocks, None, sent, update=True, keep=lambda _: True)

    refusal = Admission.parse(checks).refusal(found)
    assert refusal.startswith("refused (readable): ")
    assert why in refusal
    assert kept is None
