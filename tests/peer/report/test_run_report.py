"""``peer report``: the facts of a run, in each of the three forms."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chains import ALICE, BOB, ENVIRONMENT, SECOND, Scribe
from command_line import Peer
from inspected_runs import WrittenRun, finished_run

from peer import api
from protocol.blocks.car import write_car


def write(written: WrittenRun, folder: Path) -> Path:
    path = folder / "run.car"
    path.write_bytes(b"".join(write_car([written.head], written.blocks)))
    return path


@pytest.fixture(scope="module")
def written() -> WrittenRun:
    """Two rounds: Alice answers in both, Bob in the first."""
    return finished_run()


@pytest.fixture
def report(peers: Callable[[str], Peer], tmp_path: Path) -> Callable[..., Any]:
    """The report of a run, as data."""

    def make(written: WrittenRun, *options: str) -> Any:
        done = peers("auditor")("report", write(written, tmp_path), "-o", tmp_path / "report.json", *options)
        assert done.code in (0, 1, 3), done.err
        return json.loads((tmp_path / "report.json").read_text())

    return make


def test_it_says_what_came_out_and_on_whose_word(report: Callable[..., Any], written: WrittenRun) -> None:
    found = report(written)
    assert (found["format"], found["version"]) == ("pollen-report", 1)
    assert (found["judgement"]["verdict"], found["judgement"]["root"]) == ("verified", "run")
    assert found["about"]["head"] == str(written.head)


def test_it_says_that_an_app_which_may_not_run_here_was_not_run(
    report: Callable[..., Any], written: WrittenRun
) -> None:
    found = report(written)
    assert any("its app was not run again" in line for line in found["judgement"]["not_checked"])
    assert not found["replayed"]


def test_the_command_says_why_the_app_was_not_run_again(
    peers: Callable[[str], Peer], written: WrittenRun, tmp_path: Path
) -> None:
    done = peers("auditor")("report", write(written, tmp_path), "-o", tmp_path / "report.md", "--no-replay")
    assert "not replayed: as --no-replay says" in done.out


def test_it_says_which_command_made_it_with_all_that_the_replay_was_told(
    report: Callable[..., Any], written: WrittenRun
) -> None:
    given = "--to-round", "1", "--app-python", f"{sys.executable} -X utf8", "--unconfined"
    command = report(written, *given)["made"]["command"]
    words = shlex.split(command)
    assert words[:2] == ["peer", "report"]
    assert [words[words.index(name) + 1] for name in ("--to-round", "--app-python")] == [given[1], given[3]]
    assert "--unconfined" in words


def test_it_says_who_took_part_and_what_each_gave(report: Callable[..., Any], written: WrittenRun) -> None:
    members = {each["name"]: each for each in report(written)["participants"]}
    assert members["bob"]["roles"] == ["client"]
    assert (members["bob"]["asked"], members["bob"]["answered"], members["bob"]["errors"]) == (2, 1, 1)
    assert members["carol"]["asked"] == 0


def test_it_says_who_was_admitted_and_when(report: Callable[..., Any]) -> None:
    run = WrittenRun()
    run.scribe.add(run.scribe.roster(run.scribe.with_dave().cid))
    found = report(run)
    (change,) = found["changes"]
    assert (change["place"]["height"], change["words"]) == (1, "dave was admitted as client")


@pytest.mark.parametrize("form", ["md", "html"])
def test_it_says_in_which_other_environment_the_server_went_on_and_from_where(
    peers: Callable[[str], Peer], tmp_path: Path, form: str
) -> None:
    run = WrittenRun()
    run.exchange(1)
    run.scribe.add(run.scribe.environment(replace(ENVIRONMENT, libc="glibc 2.41")))
    written = tmp_path / f"report.{form}"
    assert peers("auditor")("report", write(run, tmp_path), "-o", written).code == 0
    assert re.search(r"from height 3 on.*libc.*glibc 2\.36.*glibc 2\.41", written.read_text(), re.DOTALL | re.I)


@pytest.mark.parametrize("form", ["md", "html", "json"])
def test_it_says_who_led_when_and_why_that_changed(peers: Callable[[str], Peer], tmp_path: Path, form: str) -> None:
    run = WrittenRun()
    run.exchange(1)
    run.scribe.lead(leader=SECOND)
    written = tmp_path / f"report.{form}"
    assert peers("auditor")("report", write(run, tmp_path), "-o", written).code == 0
    text = written.read_text()
    if form == "json":
        reigns = [(each["leader"], each["since"], each["cause"]) for each in json.loads(text)["reigns"]]
        assert reigns == [("server", 0, None), ("second server", 3, "silence")]
    else:
        assert "Who led, and why that changed" in text
        assert re.search(r"took over from server at height 3 .*nothing known", text, re.DOTALL)
        assert "voters for the newest record is here, and it takes" in text


def test_a_run_of_one_leader_has_no_table_of_leaders(
    peers: Callable[[str], Peer], written: WrittenRun, tmp_path: Path
) -> None:
    page = tmp_path / "report.html"
    assert peers("auditor")("report", write(written, tmp_path), "-o", page, "--no-replay").code == 0
    assert "Who led" not in page.read_text()


def test_a_round_has_its_answers_and_its_weighted_mean(report: Callable[..., Any], written: WrittenRun) -> None:
    first, second = report(written)["rounds"]
    assert first["means"]["loss"] == pytest.approx((0.5 * 30 + 1.0 * 10) / 40)
    assert first["weighted"]
    assert [answer["code"] is None for answer in second["answers"]] == [True, False]


def test_an_answer_that_the_app_did_not_get_has_its_reason(report: Callable[..., Any], written: WrittenRun) -> None:
    (error,) = report(written)["errors"]
    assert (error["round"], error["name"], error["reason"]) == ("round 2", "bob", "no answer in time")
    assert not error["refused"]


def test_a_curve_has_a_line_for_each_client_and_one_for_the_mean(
    report: Callable[..., Any], written: WrittenRun
) -> None:
    loss = next(curve for curve in report(written)["curves"] if curve["name"] == "loss")
    assert [line["name"] for line in loss["clients"]] == ["alice", "bob"]
    assert loss["clients"][0]["points"] == [[1, 0.5], [2, 0.5]]
    assert loss["mean"]["points"] == [[1, pytest.approx(0.625)], [2, 0.5]]


def test_updates_without_arrays_have_no_distance(report: Callable[..., Any], written: WrittenRun) -> None:
    assert {row["why_not"] for row in report(written)["distances"]} == {"the updates hold no arrays"}


def test_an_exchange_that_nobody_has_answered_yet_has_no_distance(report: Callable[..., Any]) -> None:
    run = WrittenRun()
    run.scribe.add(run.scribe.dispatch(run.scribe.group(ALICE, BOB, content=run.model(1))))
    (row,) = report(run)["distances"]
    assert (row["updates"], row["why_not"]) == ([], "nobody sent an update")


def test_updates_have_their_distance_from_the_mean(report: Callable[..., Any]) -> None:
    run = WrittenRun()
    scribe = run.scribe
    scribe.add(scribe.dispatch(scribe.group(ALICE, BOB, content=run.model(1))))
    scribe.add(scribe.collect(scribe.taken(ALICE, content=run.model(2)), scribe.taken(BOB, content=run.model(4))))
    (row,) = report(run)["distances"]
    norm = 300_000**0.5  # each number of Alice's update is 1 away from what was sent, each of Bob's 3
    assert row["mean_norm"] == pytest.approx(2 * norm)
    assert [each["norm"] for each in row["updates"]] == pytest.approx([norm, 3 * norm])
    assert [each["apart"] for each in row["updates"]] == pytest.approx([norm, norm])
    assert [each["cosine"] for each in row["updates"]] == pytest.approx([1.0, 1.0])


def test_every_cid_is_in_it(report: Callable[..., Any], written: WrittenRun) -> None:
    found = report(written)
    ids = {each["id"] for table in ("ids", "record_ids", "content_ids") for each in found[table]}
    assert {str(written.head), str(written.run), str(written.app), *map(str, written.sent)} <= ids
    assert len(found["record_ids"]) == written.height + 1


def test_no_content_is_told_with_all_the_types_of_a_dispatch(report: Callable[..., Any]) -> None:
    run = WrittenRun()
    scribe, count = run.scribe, 30
    types = [f"train.{at}{'x' * 100}" for at in range(count)]
    contents = [run.answer(loss=float(at), examples=1) for at in range(count)]
    groups = [
        scribe.group(ALICE, content=content, type=type, kind=at, after=[ALICE] * at)
        for at, (content, type) in enumerate(zip(contents, types, strict=True))
    ]
    scribe.add(scribe.dispatch(*groups, kinds=[(type, "1") for type in types]))
    found = report(run)
    assert len(found["content_ids"]) == count
    assert max(len(each["label"]) for each in found["content_ids"]) < 500


def test_an_encrypted_run_without_a_key_says_what_it_cannot_show(report: Callable[..., Any]) -> None:
    run = WrittenRun(Scribe(encrypted=True))
    run.exchange(1)
    found = report(run)
    assert [each["types"] for each in found["rounds"]] == [[]]
    assert (found["about"]["encrypted"], found["about"]["readable"], found["app"]) == (True, False, None)
    assert {each["name"] for each in found["participants"]} == {f"M{number}" for number in range(1, 6)}
    assert any("encrypted" in line for line in found["judgement"]["not_checked"])


def test_a_run_that_is_not_sound_is_reported_as_far_as_it_is(report: Callable[..., Any], written: WrittenRun) -> None:
    found = report(written, "--federation", str(written.app))
    assert found["judgement"]["verdict"] == "failed"
    assert [finding["rule"] for finding in found["judgement"]["findings"]] == ["other-federation"]


def test_what_is_not_here_is_not_said_to_be_checked(peers: Callable[[str], Peer], tmp_path: Path) -> None:
    run, car = finished_run(), tmp_path / "run.car"
    car.write_bytes(b"".join(write_car([run.head], (block for block in run.blocks if block.cid != run.sent[0]))))
    assert peers("auditor")("report", car, "-o", tmp_path / "report.json").code == 3
    judgement = json.loads((tmp_path / "report.json").read_text())["judgement"]
    (contents,) = (line for line in judgement["checked"] if "that it is here" in line)
    assert contents.endswith("but for what the findings name")


def test_what_was_not_read_is_not_said_to_be_checked(written: WrittenRun, tmp_path: Path) -> None:
    with api.open_run(write(written, tmp_path), contents=False) as opened:
        opened.write_report(tmp_path / "report.json")
    judgement = json.loads((tmp_path / "report.json").read_text())["judgement"]
    assert "its contents were not checked" in judgement["words"]
    assert not any("that it is here" in line for line in judgement["checked"])
    assert any("whether it is here" in line for line in judgement["not_checked"])


def test_the_same_run_gives_the_same_page_but_for_the_time(
    peers: Callable[[str], Peer], written: WrittenRun, tmp_path: Path
) -> None:
    car, pages = write(written, tmp_path), []
    for _ in range(2):
        assert peers("auditor")("report", car, "-o", tmp_path / "report.html").code == 0
        pages.append((tmp_path / "report.html").read_text().splitlines())
    different = [one for one, other in zip(*pages, strict=True) if one != other]
    assert all(line.startswith("<p>With Pollen ") for line in different)


def test_a_file_whose_name_says_no_form_is_refused(
    peers: Callable[[str], Peer], written: WrittenRun, tmp_path: Path
) -> None:
    done = peers("auditor")("report", write(written, tmp_path), "-o", tmp_path / "report.pdf")
    assert done.code == 2
    assert ".html, .md, .json" in done.err
