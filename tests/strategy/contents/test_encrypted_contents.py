"""`strategy.contents.codec` under a key: readers get what they got when it was plain, and nobody else gets anything."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from any_records import Blocks, exact, records
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from hypothesis import given, settings

from crypto.errors import ChangedPlaintext
from crypto.symmetric import OVERHEAD, ChunkNonce, GmacNonce, HmacNonce
from protocol.blocks.cid import CHUNK_SIZE, CID, Block, cbor_block, checked_block, encode_cbor, raw_block
from protocol.blocks.content import HEAD_SIZE, ContentError, ContentForm, ContentKey, write_manifest
from strategy.contents.codec import FORMAT, ContentWriter, Encoded, Limits, decode, encode

KEY = ContentKey(3, b"k" * 32, ChunkNonce.GMAC)
HMAC = replace(KEY, chunk_nonce=ChunkNonce.HMAC)
"""The same, in an epoch of before there was a choice."""
FULL = CHUNK_SIZE - OVERHEAD
"""What a full encrypted chunk holds."""


def model(*sizes: int) -> RecordDict:
    noise = np.random.default_rng(1)
    return RecordDict(
        {"r": ArrayRecord({str(n): Array("", (), "x", noise.bytes(size)) for n, size in enumerate(sizes)})}
    )


def chunks(encoded: Encoded) -> list[CID]:
    return [piece.cid for piece in encoded.pieces]


# -- for a reader --------------------------------------------------------------------------------------------------


@given(records)
@settings(max_examples=200)
def test_a_reader_gets_what_it_gets_of_a_plain_content(sent: RecordDict) -> None:
    plain, encrypted = Blocks(), Blocks()

    received = decode(encrypted.keep(encode(sent, KEY)), encrypted, KEY)

    assert exact(received) == exact(decode(plain.keep(encode(sent, None)), plain, None))
    assert encode(received, KEY).root == encode(sent, KEY).root


@pytest.mark.parametrize("size", [FULL - 1, FULL, FULL + 1, CHUNK_SIZE, 7 * FULL + 3])
def test_large_arrays_arrive_and_no_block_is_larger_than_a_chunk(size: int) -> None:
    sent, blocks = model(size, size), Blocks()
    root = blocks.keep(encode(sent, KEY))

    assert exact(decode(root, blocks, KEY)) == exact(sent)
    assert max(map(len, blocks.values())) == min(size + OVERHEAD, CHUNK_SIZE)


def test_a_body_that_overflows_the_manifest_block_arrives() -> None:
    sent = RecordDict({"c": ConfigRecord({"blob": np.random.default_rng(1).bytes(2 * CHUNK_SIZE)}), **model(9_000)})
    blocks = Blocks()
    root = blocks.keep(encode(sent, KEY))

    assert exact(decode(root, blocks, KEY)) == exact(sent)
    assert len(blocks[root]) < HEAD_SIZE + (70 << 10)
    assert max(map(len, blocks.values())) == CHUNK_SIZE


# -- for the engine ------------------------------------------------------------------------------------------------


def test_equal_tensors_have_equal_chunks_wherever_they_are() -> None:
    one = encode(model(2 * FULL + 1), KEY)
    other = encode(RecordDict({"again": model(2 * FULL + 1)["r"], "m": MetricRecord({"loss": 1})}), KEY)

    assert chunks(one) == chunks(other)


@pytest.mark.parametrize("key", [None, replace(KEY, key=b"l" * 32)])
def test_under_another_key_no_block_is_the_same(key: ContentKey | None) -> None:
    assert not set(encode(model(2 * FULL + 1), KEY).cids()) & set(encode(model(2 * FULL + 1), key).cids())


def test_in_another_epoch_a_content_is_another() -> None:
    assert encode(model(5_000), KEY).root != encode(model(5_000), replace(KEY, epoch=4)).root


def test_equal_tensors_are_stored_once_under_each_key() -> None:
    class Store:
        given = 0

        def put_content(self, root: CID, blocks: object) -> None:
            self.given += len(list(blocks))  # type: ignore[call-overload]

    store = Store()
    writer = ContentWriter(store)  # type: ignore[arg-type]
    added = []
    for sent, key in [
        (model(2 * FULL), KEY),
        (model(2 * FULL), KEY),
        (RecordDict({**model(2 * FULL), "c": ConfigRecord()}), KEY),
        (model(2 * FULL), replace(KEY, key=b"l" * 32)),
    ]:
        before = store.given
        writer.write(sent, key)
        added.append(store.given - before)

    assert added == [3, 0, 1, 3]  # a manifest and two chunks; nothing; another manifest; all again


@pytest.mark.parametrize("sizes", [(3 * FULL + 5,), (5_000, FULL, FULL)])
def test_blocks_may_be_gone_through_again_and_are_what_their_cids_say(sizes: tuple[int, ...]) -> None:
    blocks = encode(model(*sizes), KEY).blocks()
    first = list(blocks)

    assert [checked_block(block.cid, block.data) for block in first] == list(blocks)


def test_a_content_takes_the_memory_of_no_more_than_a_chunk_until_it_is_stored() -> None:
    sent = model(32 * FULL)
    tracemalloc.start()
    try:
        for _ in encode(sent, KEY).blocks():
            pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 8 * CHUNK_SIZE


def made_nonces(monkeypatch: pytest.MonkeyPatch, kind: type[HmacNonce | GmacNonce]) -> list[int]:
    """The sizes of what nonces of this kind are made of from now on."""
    made: list[int] = []
    of = kind.of

    def counted(nonce: Any, plaintext: bytes | memoryview, context: bytes) -> bytes:
        made.append(len(plaintext))
        return of(nonce, plaintext, context)

    monkeypatch.setattr(kind, "of", counted)
    return made


@pytest.mark.parametrize("kind", [HmacNonce, GmacNonce])
def test_the_nonce_of_a_chunk_is_made_once_however_often_it_is_stored(
    monkeypatch: pytest.MonkeyPatch, kind: type[HmacNonce | GmacNonce]
) -> None:
    made = made_nonces(monkeypatch, kind)
    by = ChunkNonce.HMAC if kind is HmacNonce else ChunkNonce.GMAC
    blocks = encode(model(3 * FULL), replace(KEY, chunk_nonce=by)).blocks()
    assert list(blocks)
    assert list(blocks)

    assert made.count(FULL) == 3


def test_no_byte_of_a_chunk_is_hashed_for_its_nonce(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed, blocks = made_nonces(monkeypatch, HmacNonce), Blocks()
    root = blocks.keep(encode(model(3 * FULL), KEY))
    _ = decode(root, blocks, KEY).array_records["r"]["0"].data

    assert 0 < sum(hashed) < 1000, "the private part alone, as it is written and as it is read"


def test_an_array_that_changes_before_it_is_stored_is_not_encrypted_with_the_same_nonce() -> None:
    encoded = encode(model(2 * FULL), KEY)
    changed = replace(encoded, pieces=[replace(piece, data=memoryview(bytes(FULL))) for piece in encoded.pieces])

    with pytest.raises(ChangedPlaintext):
        list(changed.blocks())


# -- for an outsider -----------------------------------------------------------------------------------------------


def test_no_block_shows_a_name_a_value_or_a_tensor() -> None:
    secret = b"a secret of sixteen bytes or more"
    large = secret * (CHUNK_SIZE // len(secret) * 3)
    sent = RecordDict(
        {
            "hidden record": ArrayRecord(
                {
                    "hidden small": Array("hidden dtype", (), "hidden stype", secret),
                    "hidden large": Array("", (), "", large),
                }
            ),
            "hidden metrics": MetricRecord({"hidden loss": 0.123456789}),
            "hidden config": ConfigRecord({"hidden text": "hidden value", "blob": secret * HEAD_SIZE}),
        }
    )

    seen = b"".join(block.data for block in encode(sent, KEY).blocks())

    assert [word for word in (b"hidden", secret[:16], encode_cbor(0.123456789), KEY.key) if word in seen] == []


@pytest.mark.parametrize(
    ("written", "read", "why"),
    [
        (KEY, None, "encrypted in epoch 3, and there is no key for it"),
        (KEY, replace(KEY, epoch=4), "encrypted in epoch 3, and the key is of epoch 4"),
        (KEY, replace(KEY, key=b"l" * 32), "the content does not open with the key of its epoch"),
        (None, KEY, "plain, and should be encrypted in epoch 3"),
    ],
)
def test_without_the_right_key_nothing_is_read(written: ContentKey | None, read: ContentKey | None, why: str) -> None:
    blocks = Blocks()
    root = blocks.keep(encode(model(5_000), written))

    with pytest.raises(ContentError, match=why):
        decode(root, blocks, read)


@pytest.mark.parametrize(("written", "read"), [(KEY, HMAC), (HMAC, KEY)])
def test_chunks_of_another_nonce_than_the_epochs_do_not_open(written: ContentKey, read: ContentKey) -> None:
    blocks = Blocks()
    root = blocks.keep(encode(model(70_000), written))
    array = decode(root, blocks, read).array_records["r"]["0"]

    with pytest.raises(ContentError, match="the chunk does not open"):
        _ = array.data


def test_both_nonces_give_the_same_private_part_and_other_chunks() -> None:
    """What commits to the key is made as ever."""
    one, other = (ContentForm(key) for key in (KEY, HMAC))

    assert one.close_private(b"private") == other.close_private(b"private")
    assert one.close_chunk(memoryview(b"chunk")) != other.close_chunk(memoryview(b"chunk"))


# -- hostile contents ----------------------------------------------------------------------------------------------


def hostile(sizes: list[int], linked: list[Block]) -> tuple[CID, Blocks]:
    """A content under the right key whose arrays declare these sizes."""
    body = [FORMAT, 0, [["r", "array", [[str(n), "", [], "x", size] for n, size in enumerate(sizes)]]]]
    root, blocks = write_manifest(encode_cbor(body), [block.cid for block in linked], ContentForm(KEY))
    return root, Blocks({block.cid: block.data for block in [*blocks, *linked]})


def closed(data: bytes, key: ContentKey = KEY) -> Block:
    return raw_block(bytes(ContentForm(key).close_chunk(memoryview(data))))


OTHER = replace(KEY, key=b"l" * 32)


@pytest.mark.parametrize(
    ("size", "linked", "why"),
    [
        (5_000, [closed(bytes(5_000), OTHER)], "the chunk does not open"),
        (FULL + 1, [closed(bytes(FULL)), closed(b"1", OTHER)], "the chunk does not open"),
        (5_028, [raw_block(bytes(5_028))], "5028 bytes, and should have 5056"),
        (5_000, [raw_block(bytes(5_028))], "the chunk does not open"),
        (5_001, [closed(bytes(5_000))], "5028 bytes, and should have 5029"),
        (CHUNK_SIZE, [raw_block(bytes(CHUNK_SIZE)), closed(bytes(OVERHEAD))], "the chunk does not open"),
    ],
)
def test_a_chunk_that_is_not_as_declared_is_a_content_error_when_it_is_read(
    size: int, linked: list[Block], why: str
) -> None:
    array = decode(*hostile([size], linked), KEY).array_records["r"]["0"]

    with pytest.raises(ContentError, match=why):
        _ = array.data


def test_a_chunk_is_not_taken_for_the_private_part() -> None:
    private = closed(encode_cbor([1, b"x"])).data
    manifest = cbor_block({"links": [], "epoch": KEY.epoch, "private": private})

    with pytest.raises(ContentError, match="the content does not open"):
        decode(manifest.cid, Blocks({manifest.cid: manifest.data}), KEY)


@pytest.mark.parametrize("sizes", [[2**62], [9_001], [5_000, 5_000]])
def test_declared_sizes_over_the_limit_are_refused_before_a_chunk_is_read(sizes: list[int]) -> None:
    root, blocks = hostile(sizes, [closed(bytes(5_000)), closed(bytes(5_000))])
    without_chunks = Blocks({root: blocks[root]})

    with pytest.raises(ContentError, match="larger than the limit"):
        decode(root, without_chunks, KEY, Limits(arrays=9_000))


def test_a_declared_size_allocates_nothing() -> None:
    private = ContentForm(KEY).close_private(encode_cbor([2**40, bytes(HEAD_SIZE)]))
    manifest = cbor_block({"links": [], "epoch": KEY.epoch, "private": private})
    tracemalloc.start()

    with pytest.raises(ContentError):
        decode(manifest.cid, Blocks({manifest.cid: manifest.data}), KEY, Limits(body=2**41))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20
