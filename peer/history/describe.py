"""Any block as plain values that people and JSON can read."""

from __future__ import annotations

import contextlib
from itertools import islice
from typing import Any, Final

from crypto.dsse import BadSignature
from crypto.keys import VerifyKey
from protocol.blocks.bundle import read_bundle
from protocol.blocks.cid import CID, Block, BlockError, BlockSource, MissingBlock, decode_cbor
from protocol.blocks.content import ContentError, parse_content_manifest
from protocol.blocks.listing import Listing
from protocol.blocks.typed import to_plain
from protocol.federation.run_keys import read_private
from protocol.records.bodies import (
    Body,
    Collect,
    CollectPrivate,
    DispatchPrivate,
    Federation,
    FederationPrivate,
    ReasonPrivate,
    RecordType,
    RunPrivate,
    Vote,
)
from protocol.records.private_parts import parse_federation_private
from protocol.records.signed_records import Record, body_value, parse_record
from strategy.contents.summary import summarise, to_json

MAX_ITEMS: Final = 1_000
"""How many items of a list are shown."""
MAX_BYTES: Final = 64
"""How many bytes of a raw block are shown."""

_PRIVATE: Final[dict[RecordType, type[Any]]] = {
    RecordType.FEDERATION: FederationPrivate,
    RecordType.RUN: RunPrivate,
    RecordType.DISPATCH: DispatchPrivate,
    RecordType.COLLECT: CollectPrivate,
    RecordType.REPLY: ReasonPrivate,
    RecordType.CLOSE: ReasonPrivate,
}


def describe(cid: CID, source: BlockSource) -> dict[str, Any]:
    """What the block is, under ``kind``, and what it says. What it links is shown if it is here.

    Raises:
        protocol.blocks.cid.MissingBlock: if ``source`` lacks the block itself.
    """
    data = source.get(cid)
    start: dict[str, Any] = {"cid": str(cid), "size": len(data)}
    if cid.is_raw:
        return start | {"kind": "raw", "bytes": data[:MAX_BYTES].hex()}
    for tell in (_record, _content):
        with contextlib.suppress(BlockError):  # it is something else
            return start | tell(Block(cid, data), source)
    return start | {"kind": "dag-cbor", "value": _shown(decode_cbor(data), source)}


def _record(block: Block, source: BlockSource) -> dict[str, Any]:
    record = parse_record(block)
    body = body_value(record.body)
    private = _private(record.body, source)
    values = {field: getattr(record.body, field, value) for field, value in body.items() if field != "private"}
    shown = {field: _shown(value, source) for field, value in values.items()}
    if isinstance(record.body, Collect) and isinstance(private, dict) and isinstance(shown["answers"], list):
        shown["answers"] = [_with_reason(answer, private["reasons"]) for answer in shown["answers"]]
    return {
        "kind": "record",
        "type": record.body.TYPE.value,
        "id": str(record.id),
        "signatures": [{"by": VerifyKey(key).did, "valid": _is_valid(record)} for key in record.signers],
        "body": shown | {"by": VerifyKey(record.body.by).did, **_candidate(record.body)},
        "private": private,
    }


def _candidate(body: Body) -> dict[str, str]:
    """For whom a vote is."""
    return {"candidate": VerifyKey(body.candidate).did} if isinstance(body, Vote) else {}


def _with_reason(answer: dict[str, Any], reasons: list[str]) -> dict[str, Any]:
    """An answer of a collect, with its error's reason in words. A forged record may name a reason that is not there."""
    why = answer.get("why")
    return answer | {"why": reasons[why]} if isinstance(why, int) and why < len(reasons) else answer


def _private(body: Body, source: BlockSource) -> object:
    kind = _PRIVATE.get(body.TYPE)
    if kind is None or not body.private:
        return None
    if isinstance(body, Federation):
        private = None if body.epoch is not None else parse_federation_private(body.private)
    else:
        private = read_private(body, kind)
    return "encrypted" if private is None else _shown(to_plain(private), source)


def _is_valid(record: Record) -> bool:
    try:
        record.check_signatures()
    except BadSignature:
        return False
    return True


def _content(block: Block, source: BlockSource) -> dict[str, Any]:
    """A content: Flower's records, or an app bundle."""
    manifest = parse_content_manifest(block.data)
    if manifest.epoch is not None:
        return {"kind": "content", "epoch": manifest.epoch, "links": _shown(manifest.links, source)}
    try:
        summary = summarise(block.cid, source, None)
    except MissingBlock as error:
        return {"kind": "content", "missing": str(error.cid)}
    except ContentError:
        files = read_bundle(block.cid, source)
        return {"kind": "bundle", "files": [{"path": file.path, "size": file.size} for file in files[:MAX_ITEMS]]}
    arrays = [
        {"record": array.record, "key": array.key, "dtype": array.dtype, "shape": list(array.shape)}
        for array in summary.arrays[:MAX_ITEMS]
    ]
    return {
        "kind": "content",
        "links": _shown(manifest.links, source),
        "arrays": arrays,
        "metrics": {name: to_json(value) for name, value in summary.metrics.items()},
        "configs": {name: to_json(value) for name, value in summary.configs.items()},
    }


def _shown(value: object, source: BlockSource) -> Any:
    match value:
        case bytes():
            return value.hex()
        case CID():
            return str(value)
        case Listing():
            return _listing(value, source)
        case dict():
            return {str(key): _shown(item, source) for key, item in value.items()}
        case list() | tuple():
            return [_shown(item, source) for item in value[:MAX_ITEMS]]
    return to_plain(value)


def _listing(listing: Listing, source: BlockSource) -> Any:
    try:
        return [_shown(item, source) for item in islice(listing.items(source), MAX_ITEMS)]
    except BlockError as error:
        return {"link": str(listing.link), "unreadable": str(error)}
