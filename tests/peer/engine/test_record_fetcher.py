"""`peer.engine.record_fetcher`: a made-up record costs no more than it may, whatever it links."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from crypto.keys import SigningKey
from peer.engine import record_fetcher as fetching
from peer.engine.interface import EngineError, Unreachable
from peer.engine.local.engine import LocalEngine
from peer.engine.record_fetcher import RecordFetcher
from protocol.blocks.cid import CID, Block, BlockError, cbor_block, raw_block
from protocol.blocks.listing import Listing
from protocol.records.bodies import Chained, Federation, Reply
from protocol.records.signed_records import sign_record

KEY = SigningKey.from_seed(bytes(32))
BY = {"by": KEY.verify_key.raw, "time": 0.0, "epoch": None, "private": b""}


@pytest.fixture
def records(local_engine: LocalEngine) -> Iterator[RecordFetcher]:
    fetcher = RecordFetcher(local_engine)
    yield fetcher
    fetcher.close()


EMPTY = Listing(())


def version(number: int, prev: CID | None, members: Listing = EMPTY) -> Block:
    """A version of a manifest that has the right shape, and breaks all other rules."""
    body = Federation(
        **BY, version=number, prev=prev, admins=(BY["by"],), threshold=1, members=members, revoked=EMPTY, key=None
    )
    return sign_record(body, [KEY])


def versions(count: int) -> list[Block]:
    """So many, each after the one before."""
    chain: list[Block] = []
    for number in range(1, count + 1):
        chain.append(version(number, chain[-1].cid if chain else None))
    return chain


def test_nothing_more_is_fetched_of_a_record_of_another_kind(local_engine: LocalEngine, records: RecordFetcher) -> None:
    *_, newest = chain = versions(3)
    local_engine.put(chain)
    for kind in (Reply, Chained):
        with pytest.raises(BlockError, match="not what it was said to be"):
            records.fetch(newest.cid, kind)


def test_no_manifest_is_fetched_that_a_known_one_follows(local_engine: LocalEngine, records: RecordFetcher) -> None:
    chain = versions(10)
    local_engine.put(chain[5:])  # those before are nowhere
    assert set(records.fetch(chain[-1].cid, Federation, chain[6].cid)) == {block.cid for block in chain[7:]}


def test_manifests_without_end_are_fetched_for_so_long(
    local_engine: LocalEngine, records: RecordFetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = versions(2000)
    local_engine.put(chain[-3:])
    monkeypatch.setattr(fetching, "RECORD_TIMEOUT", 0.05)
    with pytest.raises(Unreachable):
        records.fetch(chain[-1].cid, Federation)


def test_manifests_without_end_are_fetched_up_to_so_many_bytes(
    local_engine: LocalEngine, records: RecordFetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = versions(200)
    local_engine.put(chain)
    monkeypatch.setattr(fetching, "MAX_RECORD_BYTES", 10_000)
    with pytest.raises(EngineError, match="needs more than"):
        records.fetch(chain[-1].cid, Federation)


def test_many_blocks_that_nobody_has_are_given_up_together(
    local_engine: LocalEngine, records: RecordFetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "BLOCK_TIMEOUT", 0.05)
    leaves = [cbor_block(f"nobody has {at}").cid for at in range(1024)]
    root = cbor_block({"count": 2**60, "leaves": leaves})
    record = version(1, None, Listing(root.cid))
    asked: list[CID] = []
    get = local_engine.get

    def counted(cid: CID, *, timeout: float = 30.0) -> bytes:
        asked.append(cid)
        return get(cid, timeout=timeout)

    monkeypatch.setattr(local_engine, "get", counted)
    local_engine.put([root, record])
    with pytest.raises(Unreachable):
        records.fetch(record.cid, Federation)
    assert len(asked) < 100


def test_what_is_no_record_is_not_taken_for_one(local_engine: LocalEngine, records: RecordFetcher) -> None:
    blocks = [cbor_block({"body": {}, "sigs": []}), raw_block(b"raw"), cbor_block([[]] * 1000)]
    local_engine.put(blocks)
    for block in blocks:
        with pytest.raises(BlockError):
            records.fetch(block.cid, Chained)
