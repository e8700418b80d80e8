"""Recorded runs in a file, and a program that replays them: on another processor, if it runs on an emulated one."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgpack
from recorded_app import RecordedApp
from small_leader import APPS, MemoryStore

from protocol.app.calls import Diverged, Start
from protocol.app.pipe import FrameReader, encode
from protocol.blocks.cid import CID
from protocol.replay.differences import Cause, judged
from strategy.hosting.host import prepare


def save(runs: Mapping[str, RecordedApp], file: Path) -> None:
    """Write runs, by their names."""
    parts = [
        (
            name,
            str(run.app),
            b"".join(encode(value) for value in (run.start, *run.entries)),
            [(bytes(cid), data) for cid, data in run.store.items()],
        )
        for name, run in runs.items()
    ]
    file.write_bytes(msgpack.packb(parts))


def read(file: Path, scratch: Path) -> dict[str, RecordedApp]:
    """Read them again."""
    found = {}
    for name, app, frames, blocks in msgpack.unpackb(file.read_bytes()):
        start, *entries = FrameReader().feed(frames)
        assert isinstance(start, Start)
        store = MemoryStore({CID(cid): data for cid, data in blocks})
        found[name] = RecordedApp(APPS / app, start, store, entries, scratch)  # type: ignore[arg-type]
    return found


def replayed(run: RecordedApp) -> dict[str, Any]:
    """How a replay on this processor went, which may not be the recorded one."""
    ending, pipe = run.replay(may_differ=Cause.ROUNDING)
    apart = [compared.difference for compared in pipe.differences if compared.difference]
    found = {
        "messages": pipe.compared,
        "undecided": len(apart),
        "ulps": max((each.ulps or 0.0 for each in apart), default=0.0),
        "of_bound": max((each.of_bound or 0.0 for each in apart), default=0.0),
        "unbounded": sorted({each.unbounded for each in apart if each.of_bound is None}),
        "ended": type(ending).__name__,
        "outcome": "equal" if not apart else "undecided",
    }
    if isinstance(ending, Diverged):
        found["what"] = ending.what
        found["outcome"] = judged(ending.difference, Cause.ROUNDING, flowers_own=ending.flowers_own).value
    return found


if __name__ == "__main__":
    file, scratch, out = map(Path, sys.argv[1:])
    runs = read(file, scratch)
    for app in {run.app for run in runs.values()}:
        prepare(app)  # torch too, if one uses it, which takes long on an emulated processor
    out.write_text(json.dumps({name: replayed(run) for name, run in runs.items()}))
