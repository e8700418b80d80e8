"""Targets: what stands in blocks."""

from __future__ import annotations

from contextlib import suppress
from io import BytesIO
from itertools import islice
from typing import Final

import chains
from flwr.app import Array, RecordDict
from fuzzing import Target

from crypto.dsse import BadSignature
from crypto.symmetric import ChunkNonce
from protocol.blocks.bundle import NamedBundle, read_named_bundle, write_bundle
from protocol.blocks.car import CarError, read_car, write_car
from protocol.blocks.cid import (
    CID,
    BlockError,
    MalformedBlock,
    MalformedCid,
    MemoryBlocks,
    cbor_block,
    decode_cbor,
    encode_cbor,
    raw_block,
)
from protocol.blocks.content import ContentForm, ContentKey, open_content, parse_content_manifest, write_manifest
from protocol.blocks.listing import Listing
from protocol.blocks.typed import to_plain
from protocol.chain.closure import contents, missing
from protocol.federation.epochs import read_seed
from protocol.federation.manifest import manifest_at
from protocol.federation.run_keys import RunKeys
from protocol.records.bodies import (
    EARLIER_FORMATS,
    AddressedFederationPrivate,
    CollectPrivate,
    DispatchPrivate,
    FederationPrivate,
    ReasonPrivate,
    RunPrivate,
)
from protocol.records.private_parts import parse_private
from protocol.records.signed_records import assemble, parse_record, typed_items
from strategy.contents.codec import FEW_BYTES, FORMAT, Limits, decode, encode
from strategy.contents.npy import NUMPY, count_not_finite, numbers, stored
from strategy.replies.examination import Sent, examine

SCRIBE: Final = chains.begun()
"""An honest run, into which the inputs are put."""
SCRIBE.takeover(leader=chains.SERVER, voters=(chains.SERVER, chains.ALICE, chains.BOB))  # its votes are there too
KEY: Final = ContentKey(1, bytes(32), ChunkNonce.GMAC)
APP: Final = write_bundle([])[0]
"""The app without files."""
LIMITS: Final = Limits(body=1 << 20, arrays=1 << 20)
SHARED: Final = raw_block(bytes(51_000))
"""What small arrays share, as `tests/vectors/contents.json` has it."""
_PRIVATE: Final = (
    FederationPrivate,
    AddressedFederationPrivate,
    RunPrivate,
    DispatchPrivate,
    CollectPrivate,
    ReasonPrivate,
)


def cid(data: bytes) -> None:
    """A CID, in bytes and as text."""
    with suppress(MalformedCid):
        assert bytes(CID(data)) == data
    with suppress(MalformedCid):
        text = data.decode(errors="replace")
        assert CID.parse(text) == CID.parse(str(CID.parse(text)))


def dag_cbor(data: bytes) -> None:
    """Any dag-cbor: what is read is written the same."""
    with suppress(MalformedBlock):
        assert encode_cbor(decode_cbor(data)) == data


def record(data: bytes) -> None:
    """A record block, and all that is done with one before its author is believed."""
    block = chains.block_of(data)
    try:
        parsed = parse_record(block)
    except BlockError:
        return
    assert assemble(parsed.body, {each.by: each.sig for each in parsed.signatures}).data == data
    with suppress(BadSignature):
        parsed.check_signatures()
    source = MemoryBlocks({block.cid: data}, SCRIBE.source)
    with suppress(BlockError):
        missing(block, source)
    with suppress(BlockError):
        list(islice(contents(parsed, source), 1000))


def private_part(data: bytes) -> None:
    """The private part of a record, once it is open."""
    for kind in _PRIVATE:
        with suppress(BlockError):
            parsed = parse_private(data, kind)
            if not (isinstance(parsed, RunPrivate) and parsed.replay_format in EARLIER_FORMATS):  # read as today's type
                assert encode_cbor(to_plain(parsed)) == data


def chain(data: bytes) -> None:
    """A body that the leader itself signed, next in a chain: whatever it says, a rule is kept or broken."""
    try:
        body = decode_cbor(data)
    except BlockError:
        return
    block = chains.signed_value(body)
    run = chains.begun() if isinstance(body, dict) and body.get("height") == 2 else chains.Scribe()
    with suppress(BlockError):
        run.chain.append_block(block, MemoryBlocks({block.cid: block.data}, run.source, SCRIBE.source))


def manifest(data: bytes) -> None:
    """A body that an admin signed, as a federation's first version and as one that follows."""
    try:
        value = decode_cbor(data)
    except BlockError:
        return
    sigs = [{"by": chains.id_of(chains.ADMIN), "sig": chains.signature_of(value, chains.ADMIN)}]
    block = cbor_block({"body": value, "sigs": sigs})
    source = MemoryBlocks({block.cid: block.data}, SCRIBE.source)
    with suppress(BlockError):
        manifest_at(block.cid, block.cid, source)
    with suppress(BlockError):
        manifest_at(block.cid, SCRIBE.first.cid, source, SCRIBE.first)


def listing(data: bytes) -> None:
    """The root of a listing, and a leaf of one."""
    block = chains.block_of(data)
    whole = cbor_block({"count": 2, "leaves": [block.cid]})
    source = MemoryBlocks({block.cid: data, whole.cid: whole.data}, SCRIBE.source)
    for root in (block, whole):
        with suppress(BlockError):
            list(islice(typed_items(Listing(root.cid), bytes, source), 100_000))
        with suppress(BlockError):
            list(Listing(root.cid).blocks(source))


def seed(data: bytes) -> None:
    """The block with a run's seed."""
    with suppress(BlockError):
        read_seed(chains.block_of(data), RunKeys(chains.reader_of(chains.SERVER)))


def content_manifest(data: bytes) -> None:
    """The manifest block of a content."""
    with suppress(BlockError):
        assert encode_cbor(to_plain(parse_content_manifest(data))) == data
    block = chains.block_of(data)
    for key in (None, KEY):
        with suppress(BlockError):
            opened = open_content(block.cid, MemoryBlocks({block.cid: data}, SCRIBE.source), key, body_limit=1 << 20)
            list(islice(opened.chunks, 1000))


def content(data: bytes) -> None:
    """The body of a content of Flower records, alone and with a chunk for small arrays: read, written again, and
    examined as a reply."""
    for chunks in ([], [SHARED]):
        root, blocks = write_manifest(data, [chunk.cid for chunk in chunks])
        source = MemoryBlocks({block.cid: block.data for block in (*blocks, *chunks)})
        with suppress(BlockError):
            written = encode(decode(root, source, None, LIMITS), None)
            is_earlier = decode_cbor(data)[0] != FORMAT  # which is not written
            assert (
                written.root == root or is_earlier or chunks or len(data) > FEW_BYTES
            )  # others may share a chunk or not
            again = decode(written.root, MemoryBlocks({block.cid: block.data for block in written.blocks()}), None)
            assert encode(again, None).root == written.root
        examine(root, source, None, Sent(root, {}, 0, False), RecordDict, update=True, limits=LIMITS)


def numpy_array(data: bytes) -> None:
    """An array in numpy's format."""
    array = Array(dtype="float32", shape=(1,), stype=NUMPY, data=data)
    what = stored(array)
    values = numbers(array, what)
    if values is not None:
        assert values.nbytes <= len(data)
        count_not_finite(values)


def bundle(data: bytes) -> None:
    """The body of an app bundle, as any block may hold it and as a member may encrypt it."""
    for key in (None, KEY):
        root, blocks = write_manifest(data, [], ContentForm(key))
        with suppress(BlockError):
            read_named_bundle(NamedBundle(APP, root, key), MemoryBlocks({block.cid: block.data for block in blocks}))


def car(data: bytes) -> None:
    """A CAR file: what is read to its end is written the same."""
    with suppress(CarError):
        roots, blocks = read_car(BytesIO(data))
        assert b"".join(write_car(roots, list(blocks))) == data


BLOCKS: Final[dict[str, Target]] = {
    "cid": cid,
    "dag-cbor": dag_cbor,
    "record": record,
    "private-part": private_part,
    "chain": chain,
    "manifest": manifest,
    "listing": listing,
    "seed": seed,
    "content-manifest": content_manifest,
    "content": content,
    "numpy-array": numpy_array,
    "bundle": bundle,
    "car": car,
}
