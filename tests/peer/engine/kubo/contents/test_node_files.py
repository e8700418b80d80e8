"""The block files of a Kubo node: found beside its socket, and read as they are."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

from peer.engine.kubo.contents.node_files import REPOSITORY, NodeFiles
from protocol.blocks.cid import raw_block

BLOCK = raw_block(b"hello")
FILE = "CIQCZ4SNXJP3BIYOE3UDWKWFXHRJ4GYWDZOB7J2CLZZQIM3CSOFZQJA"
"""The key of that block: its multihash in base32."""


def repository(folder: Path, socket: Path) -> Path:
    """What a node that listens at ``socket`` has of the block."""
    shard = folder / "blocks" / FILE[-3:-1]
    shard.mkdir(parents=True)
    (shard / f"{FILE}.data").write_bytes(BLOCK.data)
    (folder / "blocks" / "SHARDING").write_text("/repo/flatfs/shard/v1/next-to-last/2\n")
    (folder / "api").write_text(f"/unix{socket}")
    return folder


def test_a_block_is_read_from_the_repository_in_which_the_socket_is(tmp_path: Path) -> None:
    socket = repository(tmp_path, tmp_path / "api.sock") / "api.sock"
    files = NodeFiles.beside(socket)
    assert files is not None
    assert files.read(BLOCK.cid) == BLOCK.data
    assert files.read(raw_block(b"another").cid) is None


def test_a_socket_elsewhere_has_a_link_to_the_repository_beside_it(tmp_path: Path) -> None:
    socket = tmp_path / "short" / "api.sock"
    socket.parent.mkdir()
    (socket.parent / REPOSITORY).symlink_to(repository(tmp_path / "long", socket))
    files = NodeFiles.beside(socket)
    assert files is not None
    assert files.read(BLOCK.cid) == BLOCK.data


@pytest.mark.parametrize("file", ["api", "blocks/SHARDING"])
def test_files_of_another_node_or_another_kind_are_left_alone(tmp_path: Path, file: str) -> None:
    socket = repository(tmp_path, tmp_path / "api.sock") / "api.sock"
    (tmp_path / file).write_text("/something/else")
    assert NodeFiles.beside(socket) is None


def test_a_block_that_is_written_is_where_the_node_looks_for_it_and_nothing_else_is_left(tmp_path: Path) -> None:
    socket = repository(tmp_path, tmp_path / "api.sock") / "api.sock"
    (tmp_path / "blocks" / ".temp").mkdir()
    files = NodeFiles.beside(socket)
    assert files is not None
    (file,) = (tmp_path / "blocks").glob("*/*.data")
    file.unlink()
    with contextlib.closing(files):
        files.write([BLOCK])
    assert file.read_bytes() == BLOCK.data
    assert files.total_bytes() == len(BLOCK.data)
    assert list((tmp_path / "blocks" / ".temp").iterdir()) == []


@pytest.mark.parametrize(
    ("cache", "bloom", "sync", "takes"),
    [
        (0, 0, True, True),
        (65536, 0, True, False),
        (None, 0, True, False),
        (0, 1 << 20, True, False),
        (0, 0, False, False),
    ],
)
def test_a_node_takes_blocks_as_files_if_it_remembers_nothing_and_syncs(
    tmp_path: Path, cache: int | None, bloom: int, sync: bool, takes: bool
) -> None:
    socket = repository(tmp_path, tmp_path / "api.sock") / "api.sock"
    mounts = [{"type": "flatfs", "sync": sync}, {"type": "levelds"}]
    datastore = {"BlockKeyCacheSize": cache, "BloomFilterSize": bloom, "Spec": {"mounts": mounts}}
    (tmp_path / "config").write_text(json.dumps({"Datastore": datastore}))
    files = NodeFiles.beside(socket)
    assert files is not None
    assert files.takes_blocks is takes


def test_a_node_without_a_configuration_takes_no_blocks_as_files(tmp_path: Path) -> None:
    files = NodeFiles.beside(repository(tmp_path, tmp_path / "api.sock") / "api.sock")
    assert files is not None
    assert not files.takes_blocks
