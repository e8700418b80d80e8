"""``peer federation shred``: what an admin orders, and how members without a running peer carry it out by hand."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Peer

from peer.base.errors import ExitCode
from peer.home.federations import FederationStore
from peer.home.home import Home
from peer.home.journal import Journal, RunHead
from peer.home.keystore import KeyStore
from peer.home.passphrase import Passphrases
from peer.home.reader_choice import ReaderChoice
from peer.web.board import Board
from protocol.blocks.cid import CID, raw_block
from protocol.records.bodies import Role

Peers = Callable[[str], Peer]
RUN, HEAD = raw_block(b"a run").cid, raw_block(b"its head").cid


def has_run(peer: Peer, *, closed: bool = True) -> CID:
    """A run in its home. A shredded one is never read, so it needs no blocks."""
    home = Home(peer.home)
    federation = FederationStore(home).current().id
    with Journal(home.journal) as journal:
        journal.keep_head(RunHead(RUN, federation, HEAD, 1, 1, closed, Role.SERVER, "local:/nowhere", 1.0))
    return RUN


def hand_over(admin: Peer, peer: Peer, folder: Path) -> None:
    assert admin("federation", "export", folder / "file", "--address", "local:/engine").code == 0
    assert peer("federation", "join", folder / "file").code == 0


@pytest.fixture
def admin(peers: Peers) -> Peer:
    founder = peers("admin").named("a")
    assert founder("federation", "init", "trial").code == 0
    return founder


@pytest.fixture
def member(admin: Peer, peers: Peers, tmp_path: Path) -> Peer:
    peer = peers("member").named("b")
    assert admin("federation", "add", peer.key_for(admin), "--name", "b", "--role", "auditor").code == 0
    hand_over(admin, peer, tmp_path)
    return peer


def test_members_without_a_running_peer_carry_it_out_by_hand(admin: Peer, member: Peer, tmp_path: Path) -> None:
    has_run(admin)
    has_run(member)
    assert admin("federation", "shred", str(RUN), "--yes").code == ExitCode.DONE
    first = admin("federation", "shred", "--carry-out", "--json")
    assert (first.code, first.json["step"]) == (ExitCode.DONE, "nothing")
    hand_over(admin, member, tmp_path)
    waits = member("federation", "shred", "--carry-out", "--json")
    assert (waits.code, waits.json["step"]) == (ExitCode.UNFINISHED, "wait")
    (word,) = waits.json["words"].values()
    assert admin("federation", "shred", "--take", word).code == ExitCode.DONE
    hand_over(admin, member, tmp_path)
    done = member("federation", "shred", "--carry-out", "--json").json
    assert (done["step"], done["shredded"]) == ("nothing", [{"run": str(RUN), "epoch": 1}])
    (word,) = done["words"].values()
    taken = admin("federation", "shred", "--take", word, "--json").json
    assert taken == {"member": "b", "destroyed": True}
    (shown,) = admin("federation", "shred", "--status", "--json").json["shredded"]
    assert {each["name"]: each["destroyed"] for each in shown["members"]} == {"a": True, "b": True}
    assert KeyStore(member.home).public().lacks_decryption


def test_the_command_says_what_copies_keep(admin: Peer) -> None:
    has_run(admin)
    said = admin("federation", "shred", str(RUN), "--yes").out
    assert "Whoever has copied keys keeps them" in said
    assert "peer keys backup" in said


def test_the_status_fits_a_line_and_shows_whole_ids_if_asked(admin: Peer) -> None:
    has_run(admin)
    admin("federation", "shred", str(RUN), "--yes")
    short, whole = (admin("federation", "shred", "--status", *words).out for words in ((), ("--full",)))
    assert (str(RUN) in short, RUN.label in short, str(RUN) in whole) == (False, True, True)
    assert max(map(len, short.splitlines()[:-1])) <= 80


def test_the_page_says_what_is_shredded_and_how_many_say_that_they_did_it(admin: Peer, member: Peer) -> None:
    has_run(admin)
    admin("federation", "shred", str(RUN), "--yes", "--reason", "asked for")
    readers = ReaderChoice(None, Passphrases.of_process(None), needed=False)
    with Board(Home(admin.home), None, readers).watching() as board:
        ((federation,), (run,)) = board.federations(), board.runs()
    (shredding,) = federation["shredded"]
    assert (shredding["run"], shredding["destroyed"], shredding["of"]) == (str(RUN), 0, 2)
    assert shredding["what"].endswith('by a ("asked for")')
    assert (run["shredded"], run["state"]) == (True, "closed")


def test_a_home_that_has_an_older_manifest_is_told_what_it_lacks(admin: Peer, member: Peer) -> None:
    has_run(admin)
    admin("federation", "shred", str(RUN), "--yes")
    said = member("federation", "shred", "--carry-out").out
    assert "by version 2 of trial" in said
    assert "peer federation join FILE" in said


def test_a_run_that_is_given_up_is_named_as_people_are_shown_it(admin: Peer) -> None:
    has_run(admin)
    admin("federation", "shred", str(RUN), "--yes")
    carried_out = admin("federation", "shred", "--carry-out", "--without", RUN.label, "--yes", "--json")
    assert carried_out.json["step"] == admin("federation", "shred", "--carry-out", "--json").json["step"]


@pytest.mark.parametrize("runs", [True, False])
def test_a_word_is_printed_to_be_copied_only_if_no_peer_tells_it(admin: Peer, runs: bool) -> None:
    has_run(admin)
    admin("federation", "shred", str(RUN), "--yes")
    with Home(admin.home).lock() if runs else contextlib.nullcontext():
        said = admin("federation", "shred", "--carry-out").out
    assert ("--take" in said, "the running peer tells" in said) == (not runs, runs)


@pytest.mark.parametrize(
    ("words", "why"),
    [((str(RUN), "--yes"), "is open"), ((str(RUN),), "nobody was asked"), ((str(RUN), "--status"), "different things")],
)
def test_what_is_not_shredded(admin: Peer, words: tuple[str, ...], why: str) -> None:
    has_run(admin, closed=why != "is open")
    refused = admin("federation", "shred", *words)
    assert (refused.code, why in refused.err) == (ExitCode.WRONG_USE, True)


def test_a_federation_that_does_not_encrypt_has_nothing_to_shred(peers: Peers) -> None:
    founder = peers("open").named("a")
    founder("federation", "init", "trial", "--no-encrypt")
    has_run(founder)
    refused = founder("federation", "shred", str(RUN), "--yes")
    assert (refused.code, "does not encrypt" in refused.err) == (ExitCode.WRONG_USE, True)


def test_nobody_is_granted_the_keys_of_a_shredded_run(admin: Peer, member: Peer, tmp_path: Path) -> None:
    has_run(admin)
    admin("federation", "shred", str(RUN), "--yes")
    granted = admin("federation", "grant", "b", "--ipfs", f"local:{tmp_path / 'engine'}")
    assert (granted.code, "was shredded" in granted.out) == (ExitCode.DONE, True), granted.err


def test_two_admins_sign_a_shredding_and_that_new_keys_are_listed(admin: Peer, member: Peer, tmp_path: Path) -> None:
    engine = ("--ipfs", f"local:{tmp_path / 'engine'}")

    def agree(*words: str) -> str:
        """Let the first admin propose a change and the second one sign it. Returns what was printed first."""
        said = admin("federation", *words, "--json", *engine).out
        (cid,) = [pending["cid"] for pending in admin("federation", "proposals", "--json").json["proposals"]]
        assert member("federation", "sign", cid, "--yes", *engine).code == ExitCode.DONE
        hand_over(member, admin, tmp_path)
        return said

    admin("federation", "admin", "b")
    hand_over(admin, member, tmp_path)
    has_run(admin)
    agree("threshold", "2")
    assert "shredded from epoch 1 on, for ever" in agree("shred", str(RUN), "--yes")
    assert '"wait"' in agree("shred", "--carry-out")
    assert admin("federation", "shred", "--carry-out", "--json", *engine).json["step"] == "nothing"
