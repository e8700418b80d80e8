"""``peer ls`` and ``peer log``: the runs of a home, and what their apps print."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Peer

from peer.base.errors import ExitCode
from peer.home.home import Home
from peer.home.journal import Journal, RunHead
from peer.home.kept_jobs import CANCELLED
from protocol.blocks.cid import CID, cbor_block
from protocol.records.bodies import Role

RUN, OTHER = cbor_block(1).cid, cbor_block(2).cid


def add(home: Home, run: CID, app: str, *, closed: bool, began: float) -> None:
    federation, head = cbor_block(0).cid, cbor_block(str(run)).cid
    with Journal(home.journal) as journal:
        journal.keep_head(RunHead(run, federation, head, 3, 1, closed, Role.CLIENT, "local:x", began))
        journal.name_run(run, app, began)


@pytest.fixture
def peer(peers: Callable[[str], Peer]) -> Peer:
    """A home with a run of which an app printed something, and a newer one."""
    peer = peers("one")
    home = Home(peer.home).create()
    add(home, RUN, "digits", closed=True, began=1.0)
    add(home, OTHER, "\x1b[31mevil\x1b[0m", closed=False, began=2.0)
    home.run_log(RUN).parent.mkdir(parents=True)
    home.run_log(RUN).write_text("2026-01-01T00:00:00.000+00:00 \x1b[2Jloss 0.5\n")
    return peer


def test_runs_are_listed_by_name_and_state(peer: Peer) -> None:
    runs = peer("ls", "--json").json["runs"]
    assert [(run["name"], run["state"]) for run in runs] == [("31mevil-0m-1", "open"), ("digits-1", "closed")]


def test_what_others_called_their_app_is_escaped(peer: Peer) -> None:
    assert "\x1b" not in peer("ls").out


def test_the_output_of_a_runs_app_is_shown_with_the_time_and_escaped(peer: Peer) -> None:
    shown = peer("log", "digits-1", "--follow")  # it is closed, so there is nothing to wait for
    assert (shown.code, shown.out) == (ExitCode.DONE, "| 2026-01-01T00:00:00.000+00:00 \\x1b[2Jloss 0.5\n")


def test_a_run_that_nobody_printed_in_leads_to_its_rounds(peer: Peer) -> None:
    shown = peer("log", "latest")
    assert shown.code == ExitCode.UNFINISHED
    assert f"peer history {OTHER}" in shown.err


def test_a_job_that_waits_has_printed_nothing_yet(peer: Peer) -> None:
    with Journal(Home(peer.home).journal) as journal:
        journal.jobs.accept(b"k" * 16, b"o" * 32, RUN, RUN, "digits", "queued", b"{}", 1.0)
    shown = peer("log", "queued")
    assert shown.code == ExitCode.UNFINISHED
    assert "waits for its turn" in shown.err


def test_the_old_word_lists_runs_and_says_the_new_one(peer: Peer) -> None:
    listed = peer("log", "--json")
    assert listed.json == peer("ls", "--json").json
    assert "peer ls" in listed.err


@pytest.mark.parametrize(
    ("named", "why"), [("nothing", "no run of this home is called nothing"), ("bafyrei", "may be any of")]
)
def test_a_name_of_none_or_of_several_runs_is_refused(peer: Peer, named: str, why: str) -> None:
    for command in ("log", "history", "audit"):
        refused = peer(command, named)
        assert refused.code == ExitCode.WRONG_USE
        assert why in refused.err


def test_a_job_that_waits_is_given_up_and_taken_up_again_while_no_peer_runs(peer: Peer) -> None:
    with Journal(Home(peer.home).journal) as journal:
        journal.jobs.accept(b"k" * 16, b"o" * 32, RUN, RUN, "digits", "queued", b"{}", 1.0)
    assert peer("stop", "queued").code == ExitCode.DONE
    with Journal(Home(peer.home).journal) as journal:
        assert [job.why for job in journal.jobs.all()] == [CANCELLED]
    resumed = peer("resume", "queued")
    assert resumed.code == ExitCode.DONE
    assert f"peer serve --home {peer.home}" in resumed.out + resumed.err
    with Journal(Home(peer.home).journal) as journal:
        assert [job.ended for job in journal.jobs.all()] == [None]


def test_a_run_that_was_left_open_waits_in_the_queue_while_no_peer_runs(peers: Callable[[str], Peer]) -> None:
    peer = peers("server").named("hospital-a")
    assert peer("federation", "init", "trial").code == 0
    home = Home(peer.home)
    federation = CID.parse(peer("federation", "show", "--json").json["federation"])
    with Journal(home.journal) as journal:
        journal.keep_own([cbor_block(1)])
        journal.keep_head(RunHead(RUN, federation, OTHER, 3, 1, False, Role.SERVER, "local:x", 1.0))
    assert peer("resume", str(RUN)).code == ExitCode.DONE
    with Journal(home.journal) as journal:
        assert [(job.run, job.ended) for job in journal.jobs.all()] == [(RUN, None)]


def test_only_the_home_that_led_a_run_closes_it(peer: Peer) -> None:
    refused = peer("stop", str(OTHER)[:20])
    assert refused.code == ExitCode.WRONG_USE
    assert "has not led the run" in refused.err


def test_an_error_shows_the_first_characters_of_an_id_and_its_command_the_whole(peer: Peer) -> None:
    said, fix = peer("log", "latest").err.splitlines()
    assert (str(OTHER) in said, OTHER.label in said, str(OTHER) in fix) == (False, True, True)


@pytest.mark.parametrize(("words", "all_of_it"), [(("log", "latest"), "-v"), (("export", "latest", "r.car"), "--full")])
def test_an_error_shows_whole_ids_if_asked(peer: Peer, tmp_path: Path, words: tuple[str, ...], all_of_it: str) -> None:
    at = ("--ipfs", f"local:{tmp_path}") if all_of_it == "--full" else ()
    short, whole = (peer(*words, *at, *more).err.splitlines() for more in ((), (all_of_it,)))
    error = next(line for line in whole if line.startswith("error: "))
    assert re.search(r"baf[a-z2-7]{56}", error)
    assert not re.search(r"baf[a-z2-7]{56}", short[0])


@pytest.mark.parametrize("words", [("keep",), ("keep", "models=last:1", "updates=last:1", "--dry-run")])
def test_what_is_kept_is_said_in_80_columns(peer: Peer, tmp_path: Path, words: tuple[str, ...]) -> None:
    shown = peer(*words, "--ipfs", f"local:{tmp_path / 'engine'}").out
    assert max(map(len, shown.splitlines())) <= 80


def test_a_run_that_cannot_be_counted_is_named_by_its_first_characters(peer: Peer, tmp_path: Path) -> None:
    said = peer("du", "--ipfs", f"local:{tmp_path / 'engine'}").err
    assert (RUN.label in said, str(RUN) in said) == (True, False)


@pytest.mark.parametrize("command", [["audit"], ["show"], ["export"]], ids=lambda words: words[0])
def test_a_directory_that_is_not_there_is_no_engine_to_read_from(
    peer: Peer, tmp_path: Path, command: list[str]
) -> None:
    absent, more = tmp_path / "absent", [tmp_path / "run.car"] if command == ["export"] else []
    refused = peer(*command, str(cbor_block("nowhere").cid), *more, "--ipfs", f"local:{absent}")
    assert (refused.code, absent.exists()) == (ExitCode.WRONG_USE, False)
    assert f"there is no engine at {absent}" in refused.err
