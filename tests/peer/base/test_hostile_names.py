"""A federation whose admin gives it, and its members, names that read as lines or commands of our own: no command that
shows them prints what a terminal would obey, and each name can be told from our words."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Outcome, Peer
from terminals import ROOT, obeyed, on_a_terminal, unstyled

from peer.base.errors import ExitCode

Peers = Callable[[str], Peer]

TITLE = "verified: every record keeps every rule"
MEMBER = "ok; peer keys revoke x; joined"
"""Both are allowed: printable, of at most 64 characters."""


class Federation:
    """What a founder with such names makes, and a member of it."""

    def __init__(self, peers: Peers, folder: Path) -> None:
        self.engine = f"local:{folder / 'engine'}"
        self.admin, self.member = peers("admin").named("admin"), peers("member").named("member")
        self.file = folder / "f.federation"
        init = ("init", TITLE, "--name", MEMBER.upper(), "--no-encrypt")
        self.said = [
            self.admin("federation", *init),
            self.admin("federation", "add", self.member.key, "--name", MEMBER, "--role", "client", "--admin"),
            self.admin("federation", "export", self.file, "--ipfs", self.engine),
            self.member("federation", "join", self.file),
        ]
        assert {outcome.code for outcome in self.said} == {ExitCode.DONE}


@pytest.fixture
def federation(peers: Peers, tmp_path: Path) -> Federation:
    return Federation(peers, tmp_path)


def check(outcome: Outcome) -> Outcome:
    """Look for what no command may print."""
    printed = outcome.out + outcome.err
    assert obeyed(printed) == set()
    if outcome.out.startswith("{"):
        json.loads(outcome.out, parse_constant=pytest.fail)
        return outcome
    for name in (TITLE, MEMBER, MEMBER.upper()):
        for at in (found.start() for found in re.finditer(re.escape(name), printed)):
            assert printed[at - 1] in "\"'", printed  # otherwise it reads as our own words
    return outcome


COMMANDS = [
    ("federation", "show"),
    ("federation", "members"),
    ("federation", "proposals"),
    ("federation", "export", "FILE"),
    ("federation", "join", "FILE"),
    ("federation", "remove", "nobody"),
    ("federation", "invite", "--name", "x", "--role", "client", "--ipfs", "ENGINE"),
    ("app", "list"),
    ("ls",),
    ("doctor", "--ipfs", "ENGINE"),
    ("keys", "show"),
    ("start", "--role", "server", "--ipfs", "ENGINE"),
    ("start", "--role", "client", "--federation", "other", "--ipfs", "ENGINE"),
]


@pytest.mark.parametrize("as_json", [[], ["--json"]], ids=["lines", "json"])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_names_stand_in_quotation_marks(command: tuple[str, ...], as_json: list[str], federation: Federation) -> None:
    filled = [{"FILE": str(federation.file), "ENGINE": federation.engine}.get(part, part) for part in command]
    outcome = check(federation.member(*filled, *as_json))
    assert "run it with -v" not in outcome.err


def test_founding_and_joining_tell_names_apart(federation: Federation) -> None:
    for outcome in federation.said[1:]:  # what the founder typed itself is its own word
        check(outcome)


def test_a_command_to_paste_holds_a_name_as_one_word(federation: Federation) -> None:
    """Otherwise a user that follows the advice runs what an admin called a member."""
    outcome = federation.member("start", "--role", "server", "--ipfs", federation.engine)

    advice = next(line for line in outcome.err.splitlines() if "peer federation add KEY" in line)
    words = shlex.split(advice.partition("peer federation add KEY")[2].partition("; then join")[0])
    assert words == ["--name", MEMBER, "--role", "server"]


def test_a_proposal_is_shown_and_its_question_asked(federation: Federation, peers: Peers) -> None:
    assert federation.admin("federation", "threshold", "2", "--ipfs", federation.engine).code == ExitCode.DONE
    (listed,) = federation.admin("federation", "proposals", "--json").json["proposals"]
    cid = listed["cid"]
    assert federation.member("federation", "sign", cid, "--yes", "--ipfs", federation.engine).code == ExitCode.DONE
    check(federation.member("federation", "proposals"))
    made = federation.member("federation", "remove", MEMBER.upper(), "--ipfs", federation.engine, "--json")
    cid = made.json["proposal"]["cid"]
    assert federation.admin("federation", "export", federation.file, "--ipfs", federation.engine).code == ExitCode.DONE

    shown = check(federation.member("federation", "sign", cid, "--ipfs", federation.engine))
    assert MEMBER.upper() in shown.out
    check(federation.member("federation", "proposals"))


def test_on_a_terminal_no_name_begins_a_line(federation: Federation) -> None:
    home = {"POLLEN_HOME": str(federation.member.home), "COLUMNS": "80", "TERM": "xterm-256color"}
    printed = on_a_terminal(sys.executable, "-m", "peer", "federation", "show", environ=home).decode()

    assert obeyed(printed) == set()
    assert TITLE in unstyled(printed)
    assert not re.findall(r"^ ?(verified|joined)\b", unstyled(printed), re.MULTILINE)


@pytest.mark.parametrize("name", ["../../up", "/tmp/up", "..", "a/b", "con", ".hidden", "-x"])
def test_a_name_that_a_ticket_gives_becomes_no_path(
    name: str, federation: Federation, peers: Peers, tmp_path: Path
) -> None:
    """A newcomer's key file is called as the ticket says, if that may be the name of an identity."""
    invite = ("invite", f"--name={name}", "--role", "client", "--ipfs", federation.engine)
    ticket = federation.admin("federation", *invite, "--json").json["ticket"]
    before = set(tmp_path.rglob("*"))
    new = peers("new")

    outcome = new("join", ticket, "--no-passphrase", "--wait", "0.1", "--ipfs", federation.engine)

    made = {path for path in tmp_path.rglob("*") if path.is_file()} - before
    keys = {path for path in made if path.parent == new.home / "keys"}
    assert outcome.code in (ExitCode.WRONG_USE, ExitCode.UNFINISHED)
    assert {path.stem for path in keys} == ({name} if outcome.code == ExitCode.UNFINISHED else set())
    assert all(path.is_relative_to(new.home) or path.is_relative_to(tmp_path / "engine") for path in made)
    assert not (tmp_path.parent / "up").exists()


def test_a_peer_that_runs_says_whose_it_is_in_quotation_marks(federation: Federation) -> None:
    command = [sys.executable, "-m", "peer", "start", "--role", "client", "--ipfs", federation.engine]
    home = {**os.environ, "POLLEN_HOME": str(federation.member.home)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=home) as peer:
        assert peer.stderr is not None
        first = peer.stderr.readline()
        peer.terminate()
        rest = peer.stderr.read()

    assert f'starts as a client of "{TITLE}" over' in first
    check(Outcome(0, "", first + rest))
