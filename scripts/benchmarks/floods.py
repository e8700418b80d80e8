"""Measures what a member that announces as much as it may costs an honest peer: processor time per second of a flood.

The floods are announcements of each kind, at the highest rate that the inbox admits and of the largest size, in virtual
time, to a client that follows a run and to a leader. Their records are as costly to read as possible.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "protocol")]

from attacked import Attacked, following, leading, nowhere, position  # noqa: E402  # once the path is set
from chains import ALICE, CAROL, SECOND, SERVER, begun, id_of  # noqa: E402
from measured import Json, machine  # noqa: E402

from crypto.keys import SigningKey  # noqa: E402
from protocol.blocks.cid import Block  # noqa: E402
from protocol.blocks.listing import Listing  # noqa: E402
from protocol.records.bodies import Chained  # noqa: E402
from protocol.records.signed_records import parse_record, sign_record  # noqa: E402
from protocol.roles.events import Received  # noqa: E402
from protocol.wire.announcements import (  # noqa: E402
    Announcement,
    Beat,
    Head,
    Hello,
    ManifestRef,
    PeerState,
    Proof,
    ReplyReady,
    Said,
    sign_announcement,
)
from protocol.wire.inbox import BYTES, RATE  # noqa: E402

RUN = begun()
HEAD = parse_record(Block(RUN.chain.head, RUN.source[RUN.chain.head])).body
assert isinstance(HEAD, Chained)
Told = Callable[[Attacked, int], tuple[Said, tuple[Block, ...]]]


def main() -> int:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser(prog="scripts/bench floods", description="Time floods at the allowed rate.")
    parser.add_argument("--seconds", type=int, default=10, help="virtual seconds of each flood, after the first burst")
    options = parser.parse_args()
    results = [_measure(name, *case, options.seconds) for name, case in CASES.items()]
    print(json.dumps({"benchmark": "floods", "machine": machine(), "results": results}, indent=2))
    return 0


def _record(at: int, size: int, **changes: object) -> Block:
    """A record with about ``size`` bytes of empty lists, which cost the most to read."""
    return sign_record(replace(HEAD, time=float(at), looks=Listing(([], "123456") * (size // 8)), **changes), [SERVER])


def _hello(peer: Attacked, _: int) -> tuple[Said, tuple[Block, ...]]:
    return Hello(peer.manifest, PeerState.IDLE, None, "a note"), ()


def _claim(_: Attacked, at: int) -> tuple[Said, tuple[Block, ...]]:
    return Beat(ManifestRef(nowhere(at), 2 + at), PeerState.IDLE), ()


def _head(size: int) -> Told:
    def told(peer: Attacked, at: int) -> tuple[Said, tuple[Block, ...]]:
        block = _record(at, size, height=2, prev=RUN.chain.head)
        return Head(position(peer.scribe, head=block.cid, height=2)), (block,)

    return told


def _proof(size: int) -> Told:
    def told(_: Attacked, at: int) -> tuple[Said, tuple[Block, ...]]:
        first, second = sorted((_record(at, size), _record(at, size, height=9)), key=lambda block: block.cid)
        return Proof(first.cid, second.cid), (first, second)

    return told


def _reply(size: int) -> Told:
    def told(peer: Attacked, at: int) -> tuple[Said, tuple[Block, ...]]:
        block = _record(at, size)
        return ReplyReady(peer.machine.chain.run, nowhere(at).digest, block.cid), (block,)  # type: ignore[attr-defined]

    return told


CASES: dict[str, tuple[Callable[[], Attacked], SigningKey, Told]] = {
    "hellos to a client": (following, SECOND, _hello),
    "hellos to a leader": (leading, CAROL, _hello),
    "claims of manifests": (following, SECOND, _claim),
    "small heads": (following, SERVER, _head(1)),
    "large heads": (following, SERVER, _head(120_000)),
    "small proofs": (following, CAROL, _proof(1)),
    "large proofs": (following, CAROL, _proof(220_000)),
    "large answers": (leading, ALICE, _reply(120_000)),
}


def _measure(name: str, attacked: Callable[[], Attacked], who: SigningKey, told: Told, seconds: int) -> Json:
    peer = attacked()
    start = 1_000_000
    body, blocks = told(peer, 0)
    size = len(_wire(peer, who, start, body, blocks))
    rate = min(RATE, BYTES / size)
    wires = [_wire(peer, who, start + at, *told(peer, at)) for at in range(1, max(2, int(rate * seconds)))]
    begin = time.process_time()
    for wire in wires:
        peer.now += 1 / rate
        peer.feed(Received(wire))
        peer.fail()
    taken = time.process_time() - begin
    return {
        "flood": name,
        "bytes": size,
        "a_second": round(rate, 1),
        "dropped": sum(peer.machine.machine.inbox.dropped.values()),
        "core_percent": round(100 * taken * rate / len(wires), 2),
    }


def _wire(peer: Attacked, who: SigningKey, counter: int, body: Said, blocks: tuple[Block, ...]) -> bytes:
    return sign_announcement(Announcement(peer.scribe.first.cid, id_of(who), counter, body, (), blocks), who)


if __name__ == "__main__":
    raise SystemExit(main())
