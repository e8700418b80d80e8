"""Measures each hop of a model's way from one app's memory to another's, without peers and records around it.

One engine stores, another fetches: two private Kubo nodes, or one directory. Per hop there are the processor seconds of
this process, which stands for both apps, and of each node; and, in times of the model's size, what was hashed here,
read from files and written to files by this process, and what went over an engine's API. Processor time and counts do
not depend on what else the machine does as the clock does; the least of some turns is told.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, RecordDict
from measured import Json, ended_by
from measured.amounts import one_or_more, positive
from measured.new_memory import add_option
from measured.place import bench_place

import protocol.blocks.cid
from peer.demo.engines import LOCAL
from peer.engine import open_engine
from peer.engine.chosen_engine import MANAGED
from peer.engine.contents import EngineContents
from peer.engine.interface import Engine
from peer.engine.kubo.api import KuboApi
from peer.engine.kubo.node import KuboNode
from protocol.blocks.content import ContentKey
from protocol.federation.epochs import CHUNK_NONCE
from strategy.contents.codec import Encoded, decode, encode

ARRAYS = 20
_TICK = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Counts:
    """Bytes since the start of this process, and calls of an API."""

    hashed: int = 0
    sent: int = 0
    received: int = 0
    calls: int = 0
    syncs: int = 0


@dataclass(slots=True)
class Way:
    """The two ends."""

    source: Engine
    target: Engine
    nodes: dict[str, int]
    """The process ids of the nodes, by name."""
    counts: Counts
    size: int
    hops: dict[str, list[Json]] = field(default_factory=dict)

    @contextlib.contextmanager
    def hop(self, name: str) -> Iterator[None]:
        """Measure what happens inside."""
        gc.collect()
        before = self._look()
        yield
        after = self._look()
        spent = {key: round(after[key] - before[key], 4) for key in before}
        times = {key: round(spent[key] / self.size, 2) for key in spent if key.startswith("bytes")}
        self.hops.setdefault(name, []).append({**spent, **times})

    def _look(self) -> dict[str, float]:
        io = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
        return {
            "app_seconds": time.process_time(),
            **{f"{name}_node_seconds": _seconds_of(pid) for name, pid in self.nodes.items()},
            "bytes_hashed": self.counts.hashed,
            "bytes_read_from_files": int(io["rchar"]),
            "bytes_written_to_files": int(io["wchar"]),
            "bytes_sent_to_api": self.counts.sent,
            "bytes_received_from_api": self.counts.received,
            "calls_of_api": self.counts.calls,
            "syncs": self.counts.syncs,
        }


def main() -> int:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser(prog="scripts/bench hops", description="Measure each hop of a model's way.")
    parser.add_argument("--megabytes", type=positive, default=100.0, help="of the model")
    parser.add_argument("--engines", nargs="+", choices=[LOCAL, MANAGED], default=[LOCAL, MANAGED])
    parser.add_argument("--turns", type=one_or_more, default=3)
    parser.add_argument("--folder", type=Path, help="keep the engines here; by default a temporary folder")
    add_option(parser)
    options = parser.parse_args()
    counts = Counts()
    _count(counts)
    results: list[Json] = []
    with bench_place(options.folder, fill_memory=options.fill_memory) as place:
        for engine in options.engines:
            for key in (None, ContentKey(1, bytes(32), CHUNK_NONCE)):
                where = place.folder / f"{engine}-{'encrypted' if key else 'plain'}"
                with _ends(where, engine) as (source, target, nodes):
                    way = Way(source, target, nodes, counts, int(options.megabytes * 1e6))
                    for turn in range(options.turns):
                        place.fill()
                        _go(way, key, turn)
                results += [_result(engine, key, name, turns) for name, turns in way.hops.items()]
    filled: bool = options.fill_memory
    told = {"benchmark": "hops", "machine": place.machine, "memory_filled": filled, "results": results}
    print(json.dumps(told, indent=2))
    return 0


def _go(way: Way, key: ContentKey | None, turn: int) -> None:
    """Send one model, as a client's app sends an update and a server's app reads it."""
    random = np.random.default_rng(turn)
    model = {f"layer-{n}": random.random(way.size // ARRAYS // 4, dtype=np.float32) for n in range(ARRAYS)}
    with way.hop("1 numbers to bytes (Flower)"):
        records = RecordDict({"arrays": ArrayRecord({name: Array(array) for name, array in model.items()})})
    with way.hop("2 encode: split, encrypt, hash"):
        encoded: Encoded = encode(records, key)
    with way.hop("3 store, durably"):
        EngineContents(way.source).put_content(encoded.root, encoded.blocks())
    root = encoded.root
    del records, encoded
    with way.hop("4 fetch from the other node"):
        way.target.fetch(root, timeout=600, limit=2 * way.size)
    with way.hop("5 read, check, decrypt to numbers"):
        records = decode(root, EngineContents(way.target).open(root), key)
        came = {name: array.numpy() for name, array in records.array_records["arrays"].items()}
    for name, array in model.items():
        if not np.array_equal(array, came[name]):
            raise AssertionError(f"{name} is not the same")


def _result(engine: str, key: ContentKey | None, hop: str, turns: list[Json]) -> Json:
    fastest = {name: min(float(str(turn[name])) for turn in turns) for name in turns[0]}
    return {"engine": engine, "encrypted": key is not None, "hop": hop, **fastest}


@contextlib.contextmanager
def _ends(folder: Path, engine: str) -> Iterator[tuple[Engine, Engine, dict[str, int]]]:
    with contextlib.ExitStack() as stack:
        if engine == LOCAL:
            ends = [stack.enter_context(contextlib.closing(open_engine(f"local:{folder}"))) for _ in range(2)]
            yield ends[0], ends[1], {}
            return
        pids = {}
        ends = []
        for name in ("source", "target"):
            (folder / name).mkdir(parents=True)
            node = stack.enter_context(KuboNode(folder / name, bytes(32)))
            pids[name] = _daemon(node.repository)
            ends.append(stack.enter_context(contextlib.closing(open_engine(node.api, managed=True))))
        ends[1].connect(ends[0].addresses())
        yield ends[0], ends[1], pids


def _daemon(repository: Path) -> int:
    """The process id of the node that uses a repository."""
    mark = f"IPFS_PATH={repository}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (
                mark in (folder / "environ").read_bytes().split(b"\0")
                and b"daemon" in (folder / "cmdline").read_bytes()
            ):
                return int(folder.name)
    raise AssertionError(f"no node uses {repository}")


def _seconds_of(pid: int) -> float:
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) * _TICK


def _count(counts: Counts) -> None:
    """Count what is hashed, what goes over an API, and how often this process waits for the disk."""

    def sha256(data: bytes | memoryview = b"", **options: Any) -> Any:
        counts.hashed += len(data)
        return hashlib.sha256(data, **options)

    class Hashing:
        def __getattr__(self, name: str) -> object:
            return sha256 if name == "sha256" else getattr(hashlib, name)

    protocol.blocks.cid.hashlib = Hashing()  # type: ignore[assignment]
    sync = os.fsync

    def counted_sync(descriptor: int) -> None:
        counts.syncs += 1
        sync(descriptor)

    os.fsync = counted_sync
    open_call: Callable[..., Any] = KuboApi.open

    def counted_open(api: KuboApi, *words: Any, upload: Any = None, **options: Any) -> Any:
        def counted(parts: Any) -> Iterator[bytes]:
            for part in parts:
                counts.sent += len(part)
                yield part

        counts.calls += 1
        response = open_call(api, *words, upload=None if upload is None else counted(upload), **options)
        parts = response.iter_raw

        def counted_parts(*args: Any) -> Iterator[bytes]:
            for part in parts(*args):
                counts.received += len(part)
                yield part

        response.iter_raw = counted_parts
        return response

    KuboApi.open = counted_open  # type: ignore[method-assign]


if __name__ == "__main__":
    sys.exit(ended_by(main))
