"""What a hostile member's node serves to a real Kubo: refused at last, within limits, and nobody else waits for it.

The hostile node speaks through Kubo's own API: our engine makes no block of another codec, hash or size.
"""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from peer.engine import open_engine
from peer.engine.interface import Engine, EngineError, TooLarge
from peer.engine.kubo.api import KuboApi
from peer.engine.kubo.contents.waiting_pins import WaitingPins
from peer.engine.kubo.node import KuboNode
from protocol.blocks.cid import CID, Block, BlockError, cbor_block, raw_block

pytestmark = pytest.mark.kubo

PATIENCE = 1.0
LIMIT = 8 << 20
SLACK = 1 << 20
"""Bytes of the root and of bitswap's own talk."""
SOON = 60.0
NOWHERE = 32
"""Contents that nobody has whole."""


@dataclass(frozen=True)
class Hostile:
    """A node that serves anything."""

    engine: Engine
    api: KuboApi
    random: random.Random

    def block(self, data: bytes, **options: str | bool) -> bytes:
        """Store a block. Returns its CID in binary."""
        return _binary(json.loads(self.api.call("block/put", upload=[data], **options))["Key"])

    def file(self, megabytes: int) -> bytes:
        """Store a UnixFS file, whose root is dag-pb. Returns its CID in binary."""
        parts = (self.random.randbytes(1 << 20) for _ in range(megabytes))
        answer = self.api.call("add", upload=parts, raw_leaves=True, cid_version=1, pin=False)
        return _binary(json.loads(answer.splitlines()[-1])["Hash"])

    def content(self, *links: bytes) -> CID:
        """Store the root of a content that links these."""
        listed = b"".join(b"\xd8\x2a" + _head(2, len(link) + 1) + b"\0" + link for link in links)
        data = b"\xa1\x65links" + _head(4, len(links)) + listed
        return CID(self.block(data, cid_codec="dag-cbor"))

    def absent(self) -> bytes:
        """The CID of a chunk that nobody has."""
        return bytes(raw_block(self.random.randbytes(40)).cid)

    def chain(self, length: int) -> CID:
        """Store blocks that each link the next."""
        blocks = [cbor_block({"seed": self.random.randbytes(8)})]
        while len(blocks) < length:
            blocks.append(cbor_block({"links": [blocks[-1].cid]}))
        self.engine.put(blocks)
        return blocks[-1].cid


def _head(major: int, length: int) -> bytes:
    """The head of a CBOR item (RFC 8949, section 3)."""
    kind = major << 5
    if length < 24:
        return bytes([kind | length])
    return bytes([kind | 24, length]) if length < 256 else bytes([kind | 25]) + length.to_bytes(2, "big")


def _binary(cid: str) -> bytes:
    """A CIDv1 in Kubo's base32."""
    text = cid[1:].upper()
    return base64.b32decode(text + "=" * (-len(text) % 8))


@pytest.fixture(scope="module")
def third(ipfs_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KuboNode]:
    """The node of an honest client."""
    with KuboNode(tmp_path_factory.mktemp("kubo-three"), bytes(range(32))) as node:
        yield node


@pytest.fixture
def server(kubo_nodes: tuple[KuboNode, KuboNode]) -> Iterator[Engine]:
    engine = open_engine(kubo_nodes[0].api)
    yield engine
    engine.close()


@pytest.fixture
def hostile(kubo_nodes: tuple[KuboNode, KuboNode], server: Engine, request: pytest.FixtureRequest) -> Iterator[Hostile]:
    engine, api = open_engine(kubo_nodes[1].api), KuboApi(kubo_nodes[1].api)
    server.connect(engine.addresses())
    yield Hostile(engine, api, random.Random(request.node.nodeid))
    engine.close()
    api.close()


def received(node: KuboNode) -> int:
    """Bytes of blocks that bitswap took in."""
    api = KuboApi(node.api)
    stat: dict[str, Any] = json.loads(api.call("bitswap/stat"))
    api.close()
    return int(stat["DataReceived"])


SHAPES: dict[str, Callable[[Hostile], CID]] = {
    "a-chunk-that-nobody-has": lambda they: they.content(they.absent()),
    "many-that-nobody-has": lambda they: they.content(*(they.absent() for _ in range(20_000))),
    "a-chain-without-end": lambda they: they.chain(2_000),
    "dag-pb": lambda they: they.content(they.file(2)),
    "dag-json": lambda they: they.content(they.block(b'{"a":1}', cid_codec="dag-json")),
    "sha2-512": lambda they: they.content(they.block(they.random.randbytes(99), cid_codec="raw", mhtype="sha2-512")),
    "identity-hash": lambda they: they.content(b"\x01\x55\x00\x1ea block that is its own digest"),
    "identity-hash-that-is-long": lambda they: they.content(b"\x01\x55\x00\xc8\x01" + bytes(200)),
    "no-dag-cbor": lambda they: they.content(b"\x01\x71" + they.block(b"\xff\xff", cid_codec="raw")[2:]),
    "over-our-block-size": lambda they: they.content(they.block(they.random.randbytes(3 << 19), cid_codec="raw")),
    "over-kubos-block-size": lambda they: they.content(
        they.block(they.random.randbytes(4 << 20), cid_codec="raw", allow_big_block=True)
    ),
}


def fetched(server: Engine, root: CID) -> list[Block]:
    """What a peer does with a content that a member names."""
    server.fetch(root, timeout=PATIENCE, limit=LIMIT)
    return list(server.read_content(root))


@pytest.mark.parametrize("shape", SHAPES)
def test_a_content_of_another_shape_is_refused_within_its_time_and_its_limit(
    shape: str, server: Engine, hostile: Hostile, kubo_nodes: tuple[KuboNode, KuboNode]
) -> None:
    root, before = SHAPES[shape](hostile), received(kubo_nodes[0])
    with pytest.raises((EngineError, BlockError)):
        fetched(server, root)
    assert received(kubo_nodes[0]) - before < LIMIT + SLACK


@pytest.mark.parametrize("data", [b"\xff\xff", b"\x3b\x80" + bytes(7)], ids=["no-dag-cbor", "too-low-an-integer"])
def test_no_pin_waits_for_what_a_node_cannot_read(
    data: bytes, server: Engine, hostile: Hostile, kubo_nodes: tuple[KuboNode, KuboNode]
) -> None:
    root = CID(b"\x01\x71" + hostile.block(data, cid_codec="raw")[2:])
    with pytest.raises((EngineError, BlockError)):
        server.fetch(root, timeout=SOON, limit=LIMIT)
    assert root not in {pin.cid for pin in WaitingPins(kubo_nodes[0].repository).all()}


def test_a_block_that_is_too_large_is_refused(server: Engine, hostile: Hostile) -> None:
    large = CID(hostile.block(hostile.random.randbytes(3 << 19), cid_codec="raw"))
    with pytest.raises(BlockError, match="more than"):
        server.get(large, timeout=SOON)


def test_a_content_over_its_limit_is_not_pinned(
    server: Engine, hostile: Hostile, kubo_nodes: tuple[KuboNode, KuboNode]
) -> None:
    root = hostile.content(hostile.file(64))
    with pytest.raises(TooLarge):
        server.fetch(root, timeout=SOON, limit=LIMIT)
    assert not _is_pinned(kubo_nodes[0], root)


def _is_pinned(node: KuboNode, root: CID) -> bool:
    api = KuboApi(node.api)
    try:
        return bool(api.call("pin/ls", str(root)))
    except EngineError:
        return False
    finally:
        api.close()


def test_honest_contents_come_while_others_are_looked_for_that_nobody_has(
    server: Engine, hostile: Hostile, third: KuboNode
) -> None:
    client = open_engine(third.api)
    server.connect(client.addresses())
    nowhere = [hostile.content(hostile.absent()) for _ in range(NOWHERE)]
    with ThreadPoolExecutor(NOWHERE) as pool:
        looking = [pool.submit(server.fetch, root, timeout=SOON, limit=LIMIT) for root in nowhere]
        for _ in range(5):
            chunk = raw_block(hostile.random.randbytes(1 << 20))
            root = cbor_block({"links": [chunk.cid], "epoch": None, "private": b""})
            client.put_content(root.cid, [root, chunk])
            server.fetch(root.cid, timeout=SOON, limit=LIMIT)
            assert list(server.read_content(root.cid)) == [root, chunk]
        assert not any(fetch.done() for fetch in looking)
        server.hang_up()
        assert all(isinstance(fetch.exception(), EngineError) for fetch in looking)
    client.close()
