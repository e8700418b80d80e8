"""What is told of a run that did not wait for all replies: who was left out, and whose reply came late."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from chains import ALICE, BOB
from command_line import Peer
from hurried import RULE, late_reply
from inspected_runs import WrittenRun

from peer.api import open_run
from peer.base.errors import ExitCode
from protocol.blocks.car import write_car


@pytest.fixture(scope="module")
def car(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bob is left out of the first exchange. His late reply is told of in the second, which has both answers."""
    written = WrittenRun(closing=RULE)
    scribe = written.scribe
    scribe.add(scribe.dispatch(scribe.group(ALICE, BOB, content=written.model(1))))
    alice = scribe.taken(ALICE, content=written.answer(loss=0.5, examples=30))
    scribe.add(
        scribe.collect(
            alice,
            scribe.error(BOB),
            reasons=["left out: 1 of 2 replies were in"],
            messages_left_out=scribe.pack([scribe.message(BOB).id]),
        )
    )
    scribe.add(scribe.dispatch(scribe.group(ALICE, BOB, content=written.model(2))))
    answers = [scribe.taken(each, content=written.answer(loss=0.4, examples=10)) for each in (ALICE, BOB)]
    late = scribe.pack([late_reply(scribe)])
    scribe.add(scribe.collect(*answers, late_replies=late))
    scribe.add(scribe.close(model=written.model(3)))
    file = tmp_path_factory.mktemp("left-out") / "run.car"
    file.write_bytes(b"".join(write_car([written.head], written.blocks)))
    return file


@pytest.fixture
def peer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Peer:
    return Peer(tmp_path / "home", capsys)


def test_an_audit_counts_who_was_left_out_and_whose_reply_was_late(car: Path, peer: Peer) -> None:
    report = peer("audit", car, "--json").json
    assert report["closing"] == RULE
    assert report["participants"]["bob"] == {"asked": 2, "answered": 1, "errors": 0, "left_out": 1, "late": 1}
    first, second = report["exchanges"]
    assert [(answer["name"], answer["left_out"]) for answer in first["answers"]] == [("alice", False), ("bob", True)]
    assert [(late["name"], late["exchange"]) for late in second["late"]] == [("bob", 1)]


def test_people_see_it_in_the_table_of_rounds(car: Path, peer: Peer) -> None:
    told = peer("audit", car)
    assert told.code == ExitCode.DONE
    assert 'closed without bob: "1 of 2 replies were in"' in told.out
    assert "bob came late to exchange 1" in told.out
    assert "an exchange closes once 50% of the replies are in, 30 s after its dispatch at the earliest" in told.out


def test_a_report_says_it_and_what_nobody_can_check(car: Path, peer: Peer, tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    peer("report", car, "-o", file)
    report = json.loads(file.read_text("utf-8"))
    assert [(each["errors"], each["left_out"]) for each in report["participants"] if each["name"] == "bob"] == [(0, 1)]
    assert [error["left_out"] for error in report["errors"]] == [True]
    assert [[late["name"] for late in round["late"]] for round in report["rounds"]] == [[], ["bob"]]
    assert any("How long the server waited" in each for each in report["judgement"]["not_checked"])


def test_a_script_sees_who_was_left_out_and_whose_reply_was_late(car: Path) -> None:
    with open_run(car) as run:
        first, second = run.exchanges()
    assert (first.left_out, first.late) == (("bob",), ())
    assert [(late.name, late.exchange) for late in second.late] == [("bob", 1)]


def test_exported_numbers_say_who_was_left_out_and_how_late_a_reply_came(car: Path, peer: Peer) -> None:
    rows = csv.DictReader(io.StringIO(peer("metrics", car, "--csv").out))
    ours = [(row["exchange"], row["participant"], row["metric"], row["value"]) for row in rows]
    assert [row for row in ours if row[2].startswith("pollen.")] == [
        ("1", "bob", "pollen.left-out", "1.0"),
        ("2", "bob", "pollen.late", "1.0"),
    ]
