"""What no honest codec writes, in a content of a hostile peer: each side refuses it."""

from __future__ import annotations

from pathlib import Path

import pytest
from any_records import Blocks
from flwr.app import RecordDict
from small_leader import APPS, MemoryStore, start_for

from protocol.app.calls import ErrorCode, Task
from protocol.blocks.cid import CID, encode_cbor
from protocol.blocks.content import write_manifest
from protocol.replies.checks_and_limits import Admission, Check
from strategy.contents.array_files import ArrayFile
from strategy.contents.codec import FORMAT, MAX_VALUES, encode
from strategy.hosting.client_host import ClientHost
from strategy.replies.examination import examine, read_sent

HUGE = [["m", "metric", [["loss", {"int": (10**400).to_bytes(167, "big")}]]]]
MANY = [["m", "metric", [[str(number), 0.5] for number in range(MAX_VALUES + 1)]]]
SPLIT = [[str(part), "metric", [[str(key), 0.5] for key in range(MAX_VALUES // 4)]] for part in range(5)]
LONG = [["m", "metric", [["k" * 2_000, 0.5]]]]


def spoiled(records: object, blocks: Blocks) -> CID:
    root, manifest = write_manifest(encode_cbor([FORMAT, 0, records]), [])
    blocks.update((block.cid, block.data) for block in manifest)
    return root


OVER = pytest.mark.parametrize(
    ("records", "why"),
    [
        (HUGE, "an integer of 167 bytes"),
        (MANY, f"{MAX_VALUES + 1} metrics and settings"),
        (SPLIT, f"{MAX_VALUES // 4 * 5} metrics and settings"),
        (LONG, "the name 'kkk"),
    ],
    ids=["huge", "many", "split", "long"],
)


@OVER
@pytest.mark.parametrize("checks", ["all", "off"])
def test_a_reply_over_a_limit_is_refused_whatever_is_checked(records: object, why: str, checks: str) -> None:
    blocks = Blocks()
    sent = read_sent(blocks.keep(encode(RecordDict(), None)), blocks, None)
    no_file = ArrayFile(Path(), 0, hidden=False)  # there are no arrays

    found, kept = examine(spoiled(records, blocks), blocks, None, sent, RecordDict, update=True, keep=lambda _: no_file)

    refusal = Admission.parse(checks).refusal(found)
    assert refusal is not None
    assert refusal.check is Check.READABLE
    assert why in refusal.what
    assert kept is None


@OVER
def test_a_message_over_a_limit_is_answered_with_an_error(records: object, why: str) -> None:
    app, store = APPS / "client_state", MemoryStore()
    blocks = Blocks()
    root = spoiled(records, blocks)
    store.update(blocks)

    answered = ClientHost(app, start_for(app, 11), store).answer(Task(bytes(32), root, "query", "", 60, 1.0))

    assert answered.code == ErrorCode.MESSAGE_UNAVAILABLE
    assert why in answered.reason
