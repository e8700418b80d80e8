"""`strategy.contents.remembered_arrays`: what a client has read of one message it reads of no block for the next."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from crypto.symmetric import ChunkNonce
from protocol.blocks.cid import CID, MemoryBlocks
from protocol.blocks.content import ContentKey
from strategy.contents.codec import decode, encode
from strategy.contents.remembered_arrays import RememberedArrays

KEY = ContentKey(3, bytes(32), ChunkNonce.GMAC)


class Client:
    """Reads messages, and counts the chunks that it reads for them."""

    def __init__(self, folder: Path, key: ContentKey | None = None) -> None:
        self.remembered = RememberedArrays(folder)
        self.key = key
        self.reads: list[CID] = []
        self._blocks = MemoryBlocks({})

    def get(self, cid: CID) -> bytes:
        self.reads.append(cid)
        return self._blocks.get(cid)

    def message(self, type: str, *values: int, round: int = 1) -> RecordDict:
        """A message of this type, whose arrays hold these values."""
        arrays = {f"{at}": Array(np.full(20_000, value, np.float32)) for at, value in enumerate(values)}
        encoded = encode(
            RecordDict({"arrays": ArrayRecord(arrays), "config": ConfigRecord({"round": round})}), self.key
        )
        self._blocks = MemoryBlocks({block.cid: block.data for block in encoded.blocks()})
        records = decode(encoded.root, self, self.key)
        self.reads.clear()
        self.remembered.look_up(records, self.key, type)
        return records

    def chunks_for(self, type: str, *values: int, round: int = 1) -> int:
        """How many chunks are read as an app gets the numbers of such a message."""
        records = self.message(type, *values, round=round)
        found = [array.numpy() for array in records.array_records["arrays"].values()]
        assert [each.tolist() for each in found] == [[value] * 20_000 for value in values]
        for each in found:
            each[:] = -1  # apps train in place
        return len(self.reads)


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
def test_a_model_that_was_evaluated_is_not_read_again_to_be_trained(key: ContentKey | None, tmp_path: Path) -> None:
    client = Client(tmp_path, key)
    assert [client.chunks_for("evaluate", 1, 2), client.chunks_for("train", 1, 2, round=2)] == [2, 0]


def test_only_the_newest_model_is_remembered(tmp_path: Path) -> None:
    client = Client(tmp_path)
    assert [client.chunks_for("evaluate", *each) for each in ((1, 2), (3, 4), (1, 2))] == [2, 2, 2]


def test_another_key_is_another_model(tmp_path: Path) -> None:
    client = Client(tmp_path, KEY)
    client.chunks_for("evaluate", 1)
    client.key = ContentKey(4, bytes(32), ChunkNonce.GMAC)
    assert client.chunks_for("train", 1) == 1


def test_equal_arrays_are_both_remembered(tmp_path: Path) -> None:
    client = Client(tmp_path)
    client.chunks_for("evaluate", 7, 7)
    assert client.chunks_for("train", 7, 7) == 0


def test_what_changed_alone_is_read(tmp_path: Path) -> None:
    client = Client(tmp_path)
    assert [client.chunks_for("evaluate", 1, 2, 3), client.chunks_for("train", 1, 2, 9)] == [3, 1]


def test_what_the_app_has_not_read_is_not_remembered(tmp_path: Path) -> None:
    client = Client(tmp_path)
    client.message("evaluate", 1)
    assert client.chunks_for("train", 1) == 1


def test_messages_of_a_type_that_the_next_ones_have_nothing_of_are_soon_written_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda *each: written.append(len(each[1])) or write(*each))
    client = Client(tmp_path)
    for number in range(8):
        client.chunks_for("train", number)
    assert len(written) == 3


def test_a_broken_disk_costs_no_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "pwrite", fail)
    client = Client(tmp_path)
    assert [client.chunks_for("evaluate", 1), client.chunks_for("train", 1)] == [1, 1]
