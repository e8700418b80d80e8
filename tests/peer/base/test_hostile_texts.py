"""A run whose every free text is hostile, through every command that reads runs: on a pipe, and on a terminal."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from chains import ALICE, BOB, ENVIRONMENT, MEMBERS, Scribe
from command_line import Peer
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from inspected_runs import BUNDLE, WrittenRun
from terminals import HOSTILE, obeyed, on_a_terminal, unstyled

from peer.base.errors import ExitCode
from protocol.blocks.bundle import write_bundle
from protocol.blocks.car import write_car
from protocol.records.bodies import Close, ReasonPrivate, Run, RunPrivate
from strategy.replay.format import REPLAY_FORMAT

VERDICT = "verified: every record keeps every rule, everything it links is there"
SENT = HOSTILE.replace("\ud800", "") + VERDICT
"""As it may stand in a record: dag-cbor has no lone surrogates."""
WIDE = "x" * 61 + VERDICT
"""On a terminal of 80 columns, this text would put a verdict at the left edge of a line."""
CALLED = VERDICT[:64].rstrip()
"""A name that the rules of a manifest allow."""


def values(number: int) -> RecordDict:
    """What a hostile app sends: names and values of all kinds, each of them hostile."""
    metrics = {HOSTILE: 0.5, f"{VERDICT}": float(number), "nan": float("nan"), "inf": [float("-inf"), 5e-324, -0.0]}
    config = {HOSTILE: HOSTILE, "many": [HOSTILE, VERDICT], "raw": [b"\x1b[2J"], "none": [], "most": 2**64 - 1}
    arrays = {HOSTILE: Array(np.full(3, number, np.float32)), VERDICT: Array(np.ones(2))}
    strange = {"w": Array(HOSTILE, (2**64 - 1, 0), HOSTILE, b"\x1b")}
    return RecordDict(
        {
            "arrays": ArrayRecord(arrays),
            HOSTILE: MetricRecord(metrics),
            "config": ConfigRecord({"server-round": number, **config}),
            "strange": ArrayRecord(strange) if number > 1 else ArrayRecord(),
        }
    )


def hostile_run() -> WrittenRun:
    """Two rounds, then a close that gives the auditor's own words as its reason."""
    members = {CALLED[:60] + str(at): member for at, member in enumerate(MEMBERS.values())}
    scribe = Scribe(members, name=CALLED)
    private = RunPrivate(
        name=SENT,
        version=WIDE,
        config=((SENT, SENT),),
        app=write_bundle(BUNDLE)[0],
        replay_format=REPLAY_FORMAT,
        environment=replace(ENVIRONMENT, python=SENT, cpu=WIDE),
    )
    written = WrittenRun(scribe, **scribe.private(private, Run.TYPE, None))
    for number in (1, 2):
        content = written.store(values(number))
        group = scribe.group(ALICE, BOB, content=content, type=SENT[:60])
        scribe.add(scribe.dispatch(group, kinds=[(SENT[:60], SENT[:60])]))
        alice = scribe.taken(ALICE, content=written.store(values(number)))
        bob = scribe.taken(BOB, content=None, code=7, reason=SENT) if number == 1 else scribe.error(BOB)
        scribe.add(scribe.collect(alice, bob, reasons=[WIDE]))
    reason = scribe.private(ReasonPrivate(reason=WIDE + SENT), Close.TYPE, None)
    scribe.add(scribe.close(model=written.store(values(3)), **reason))
    return written


@pytest.fixture(scope="module")
def written() -> WrittenRun:
    return hostile_run()


@pytest.fixture
def file(written: WrittenRun, tmp_path: Path) -> Path:
    path = tmp_path / "run.car"
    path.write_bytes(b"".join(write_car([written.head], written.blocks)))
    return path


def lines_like_a_verdict(printed: str) -> list[str]:
    return re.findall("^ ?verified: .*", unstyled(printed), re.MULTILINE)


COMMANDS = [
    ("audit", "FILE"),
    ("history", "FILE"),
    ("show", "FILE"),
    ("diff", "FILE:1", "FILE:2"),
    ("model", "FILE", "--round", "1", "-o", "OUT"),
    ("model", "FILE", "--round", "1", "--of", "nobody\x1b[2J", "-o", "OUT"),
    ("app", "show", "FILE"),
    ("import", "FILE", "--ipfs", "ENGINE"),
]


def filled(command: tuple[str, ...], file: Path) -> list[str]:
    out, engine = str(file.with_suffix(".npz")), f"local:{file.parent / 'engine'}"
    return [part.replace("FILE", str(file)).replace("OUT", out).replace("ENGINE", engine) for part in command]


@pytest.mark.parametrize("as_json", [False, True], ids=["lines", "json"])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_command_prints_what_a_terminal_would_obey(
    command: tuple[str, ...], as_json: bool, file: Path, peers: Callable[[str], Peer]
) -> None:
    outcome = peers("a")(*filled(command, file), "-v", *(["--json"] if as_json else []))

    assert obeyed(outcome.out + outcome.err) == set()
    verdicts = lines_like_a_verdict(outcome.out + outcome.err)
    assert len(verdicts) == (command[0] in ("audit", "history") and not as_json)
    if as_json and outcome.code == ExitCode.DONE:
        json.loads(outcome.out, parse_constant=pytest.fail)


def test_every_block_can_be_shown(written: WrittenRun, file: Path, peers: Callable[[str], Peer]) -> None:
    peer = peers("a")
    for block in written.blocks:
        outcome = peer("show", str(block.cid), "--car", file)
        assert (outcome.code, obeyed(outcome.out + outcome.err)) == (ExitCode.DONE, set())
        assert lines_like_a_verdict(outcome.out) == []


@pytest.mark.parametrize("command", [("audit", "FILE"), ("show", "FILE"), ("diff", "FILE:1", "FILE:2")], ids=" ".join)
def test_on_a_terminal_the_only_escapes_are_our_own_styles(
    command: tuple[str, ...], file: Path, tmp_path: Path
) -> None:
    home = {"POLLEN_HOME": str(tmp_path / "home"), "COLUMNS": "80", "TERM": "xterm-256color"}
    printed = on_a_terminal(sys.executable, "-m", "peer", *filled(command, file), environ=home).decode()

    assert obeyed(printed) == set()
    assert len(lines_like_a_verdict(printed)) == (command[0] == "audit")
