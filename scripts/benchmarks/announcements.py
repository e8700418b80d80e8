"""Measures what an announcement costs its author (sign, seal) and each listener (open, parse, verify), in one process.

It measures a beat, a head with its record inline, and the largest announcement: in the clear, sealed for all members,
and, for the beat, sealed to one member. Times are wall-clock times without a network.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterable

from measured import Json, machine

from crypto.identity import sign_first_keys
from crypto.keys import DecryptionKey, SigningKey
from crypto.symmetric import SymmetricKey
from protocol.blocks.cid import Block, MemoryBlocks, cbor_block
from protocol.federation.manifest import Manifest, first_manifest
from protocol.federation.readers import Reader
from protocol.federation.unsigned_versions import new_federation
from protocol.records.bodies import EncryptionKeyText, Member, Role
from protocol.records.signed_records import parse_record, sign_record
from protocol.wire.announcement_seals import AnnouncementSeals
from protocol.wire.announcements import (
    INLINE_BUDGET,
    Announcement,
    Beat,
    Head,
    ManifestRef,
    PeerState,
    Position,
    Said,
    sign_announcement,
)
from protocol.wire.inbox import Inbox

SIGNING, DECRYPTION = SigningKey.from_seed(bytes(32)), DecryptionKey.from_seed(bytes(32))
"""The keys of the only member, which is author and reader."""
ME = SIGNING.verify_key.raw
RECORD = cbor_block(bytes(1000))
LARGEST = tuple(cbor_block(bytes([number]) * (INLINE_BUDGET // 2 - 8)) for number in range(2))


def main() -> int:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser(prog="scripts/bench announcements", description="Time single announcements.")
    parser.add_argument("--count", type=int, default=500, help="announcements of each kind")
    options = parser.parse_args()
    results = [_measure(*case, options.count) for case in _cases()]
    print(json.dumps({"benchmark": "announcements", "machine": machine(), "results": results}, indent=2))
    return 0


def _cases() -> Iterable[tuple[str, Said, tuple[Block, ...], str]]:
    position = Position(RECORD.cid, RECORD.cid, 1000, 1)
    beat = Beat(ManifestRef(RECORD.cid, 1), PeerState.LEADING, position)
    for how in ("in the clear", "for all", "for one"):
        yield "beat", beat, (), how
        if how != "for one":  # only beats are sealed to one member
            yield "head", Head(position), (RECORD,), how
            yield "largest", Head(position), LARGEST, how


def _measure(kind: str, body: Said, blocks: tuple[Block, ...], how: str, count: int) -> Json:
    manifest, source = _founded(encrypted=how != "in the clear")
    seals = AnnouncementSeals(manifest, source, Reader(ME, [DECRYPTION]))
    inbox = Inbox(manifest.federation, seals)

    def write(counter: int) -> bytes:
        signed = sign_announcement(Announcement(manifest.federation, ME, counter, body, (), blocks), SIGNING)
        return seals.seal_for(manifest.members[ME], signed) if how == "for one" else seals.seal(signed)

    def read(counter: int) -> None:
        heard = inbox.accept(wires[counter], manifest, float(counter))
        if not isinstance(heard, Announcement):
            raise AssertionError(f"an announcement {how} was dropped as {heard}")

    wires = [write(counter) for counter in range(count)]
    return {
        "kind": kind,
        "sealed": how,
        "bytes": len(wires[0]),
        "write_ms": _median_ms(write, count),
        "read_ms": _median_ms(read, count),
    }


def _median_ms(step: Callable[[int], object], count: int) -> float:
    taken = []
    for number in range(count):
        begin = time.perf_counter()
        step(number)
        taken.append(time.perf_counter() - begin)
    return round(statistics.median(taken) * 1e3, 4)


def _founded(*, encrypted: bool) -> tuple[Manifest, MemoryBlocks]:
    public = DECRYPTION.public
    encryption = EncryptionKeyText(suite=public.suite.value, key=public.raw)
    proof = sign_first_keys(SIGNING, encryption.suite, encryption.key, ME)
    unsigned = new_federation(
        name="benchmark",
        admins=[ME],
        members=[Member(id=ME, signing=ME, encryption=encryption, roles=(Role.SERVER,), proof=proof)],
        names={ME: "author"},
        by=ME,
        time=0.0,
        key=SymmetricKey.generate() if encrypted else None,
    )
    record = sign_record(unsigned.body, [SIGNING])
    source = MemoryBlocks({block.cid: block.data for block in (record, *unsigned.blocks)})
    return first_manifest(parse_record(record), source, Reader(ME, [DECRYPTION])), source


if __name__ == "__main__":
    raise SystemExit(main())
