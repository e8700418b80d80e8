"""Federations with several admins: what one proposes, the others sign; three homes and a local engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import Outcome, Peer

from crypto.identity import PublicIdentity
from peer.base.errors import ExitCode
from peer.home.federations import FederationStore, StoredFederation
from peer.home.home import Home
from peer.home.keystore import KeyStore
from peer.membership.waiting_changes import waiting_changes

Peers = Callable[[str], Peer]


class Board:
    """Three homes, whose identities are admins; two of them have to sign."""

    def __init__(self, peers: Peers, folder: Path) -> None:
        self.folder = folder
        self.engine = f"local:{folder / 'engine'}"
        self.one, self.two, self.three = (peers(name).named(name) for name in ("one", "two", "three"))
        assert self.one("federation", "init", "trial").code == 0
        for each, name in ((self.two, "two"), (self.three, "three")):
            added = self.one("federation", "add", each.key_for(self.one), "--name", name, "--role", "client", "--admin")
            assert added.code == 0, added.err
        self.tell(self.one, self.two, self.three)

    def tell(self, who: Peer, *others: Peer) -> None:
        """Hand the newest version over."""
        assert who("federation", "export", self.folder / "file", "--ipfs", self.engine).code == 0
        for other in others:
            assert other("federation", "join", self.folder / "file").code == 0

    def __call__(self, who: Peer, *command: str) -> Outcome:
        return who("federation", *command, "--ipfs", self.engine)

    def propose(self, who: Peer, *command: str) -> str:
        """The CID of what is proposed."""
        outcome = self(who, *command, "--json")
        assert outcome.code == 0, outcome.err
        return str(outcome.json["proposal"]["cid"])

    def sign(self, who: Peer, cid: str) -> Any:
        outcome = self(who, "sign", cid, "--yes", "--json")
        assert outcome.code == 0, outcome.err
        return outcome.json


@pytest.fixture
def board(peers: Peers, tmp_path: Path) -> Board:
    made = Board(peers, tmp_path)
    cid = made.propose(made.one, "threshold", "2")
    assert made.sign(made.two, cid)["threshold"] == 2
    made.tell(made.two, made.one, made.three)
    return made


def stored(peer: Peer) -> StoredFederation:
    return FederationStore(Home(peer.home)).current()


def member_id(peer: Peer) -> bytes:
    return KeyStore(peer.home).public().public.id


def test_an_admin_is_told_what_waits_for_signatures_until_it_is_in_force(board: Board) -> None:
    cid = board.propose(board.one, "threshold", "1")
    (line,) = waiting_changes(Home(board.one.home), stored(board.one), 0.0)
    assert f"peer federation sign {cid[:14]}" in line
    board.sign(board.two, cid)
    assert list(waiting_changes(Home(board.two.home), stored(board.two), 0.0)) == []


def test_more_signatures_than_one_are_needed_as_soon_as_the_next_version_says_so(peers: Peers, tmp_path: Path) -> None:
    board = Board(peers, tmp_path)
    outcome = board(board.one, "threshold", "2")
    assert "1 more admin must sign" in outcome.out
    assert stored(board.one).manifest.threshold == 1


def test_no_second_version_is_made_beside_a_proposal_that_others_may_complete(peers: Peers, tmp_path: Path) -> None:
    board = Board(peers, tmp_path)
    cid = board.propose(board.one, "threshold", "2")

    outcome = board(board.one, "remove", "three")

    assert outcome.code == ExitCode.WRONG_USE
    assert f"peer federation reject {cid}" in outcome.err
    assert board.one("federation", "reject", cid).code == 0
    assert board(board.one, "remove", "three").code == 0


def test_a_change_waits_until_enough_admins_have_signed(board: Board) -> None:
    version = stored(board.one).manifest.version
    cid = board.propose(board.one, "remove", "three")
    assert stored(board.one).manifest.version == version
    signed = board.sign(board.two, cid)
    assert (signed["version"], {each["name"] for each in signed["members"]}) == (version + 1, {"one", "two"})
    board.tell(board.two, board.one)
    assert stored(board.one).manifest == stored(board.two).manifest


def test_an_admin_is_shown_what_changes_before_it_signs(board: Board, peers: Peers) -> None:
    key = peers("four").named("d").key_for(board.one)
    cid = board.propose(board.one, "add", key, "--name", "four", "--role", "client")
    shown = board(board.two, "sign", cid)
    did = PublicIdentity.parse_key_text(key).signing.did  # the name is what the proposer calls it
    assert (shown.code, "--yes" in shown.err) == (ExitCode.WRONG_USE, True)
    assert [line.split() for line in shown.out.splitlines() if line.startswith("member")] == [
        ["member", "four", "-", "four,", "client,", did]
    ]
    assert "signed by   one" in shown.out
    assert stored(board.two).manifest.version == stored(board.one).manifest.version


def test_proposals_are_listed_until_they_are_in_force(board: Board) -> None:
    cid = board.propose(board.one, "threshold", "3")
    (listed,) = board.one("federation", "proposals", "--json").json["proposals"]
    assert (listed["cid"], listed["lacking"], listed["signed_by"]) == (cid, 2, ["one"])
    assert listed["changes"] == [{"what": "admins who must sign", "before": "2 of 3", "after": "3 of 3"}]
    further = board.sign(board.two, cid)["proposal"]
    assert (further["id"], further["lacking"], further["cid"] != cid) == (listed["id"], 1, True)
    assert board.sign(board.three, further["cid"])["threshold"] == 3
    board.tell(board.three, board.one, board.two)
    for each in (board.one, board.two, board.three):
        assert each("federation", "proposals", "--json").json == {"proposals": []}


def test_signatures_made_side_by_side_are_put_together(board: Board) -> None:
    cid = board.propose(board.one, "threshold", "3")
    by_two, by_three = (board.sign(each, cid)["proposal"]["cid"] for each in (board.two, board.three))
    assert by_two != by_three
    assert board.sign(board.two, by_three)["threshold"] == 3


def test_versions_that_differ_in_signatures_alone_are_one_version(board: Board) -> None:
    cid = board.propose(board.one, "threshold", "1")
    board.sign(board.two, cid)
    board.sign(board.three, cid)
    assert stored(board.two).manifest.cid != stored(board.three).manifest.cid
    board.tell(board.two, board.three, board.one)
    assert board(board.three, "remove", "one").code == 0
    board.tell(board.three, board.two)
    assert stored(board.two).manifest.members == stored(board.three).manifest.members


def test_the_second_of_two_proposals_for_one_version_has_to_be_made_again(board: Board) -> None:
    first, second = board.propose(board.one, "remove", "three"), board.propose(board.one, "threshold", "3")
    board.sign(board.two, first)
    refused = board(board.two, "sign", second, "--yes")
    assert (refused.code, "make it again" in refused.err) == (ExitCode.WRONG_USE, True)
    board.tell(board.two, board.one)
    (listed,) = board.one("federation", "proposals", "--json").json["proposals"]
    assert (listed["cid"], listed["outdated"]) == (second, True)


def test_an_admin_that_is_behind_is_told_to_catch_up_first(board: Board) -> None:
    board.sign(board.two, board.propose(board.one, "threshold", "1"))
    assert board(board.two, "threshold", "2").code == 0
    cid = str(board.two("federation", "proposals", "--json").json["proposals"][0]["cid"])
    refused = board(board.three, "sign", cid, "--yes")
    assert (refused.code, "peer federation join FILE" in refused.err) == (ExitCode.WRONG_USE, True)


def test_a_member_that_is_no_admin_does_not_sign(board: Board, peers: Peers) -> None:
    other = peers("four").named("four")
    board.sign(
        board.two, board.propose(board.one, "add", other.key_for(board.one), "--name", "four", "--role", "client")
    )
    board.tell(board.two, board.one, other)
    refused = board(other, "sign", board.propose(board.one, "threshold", "3"), "--yes")
    assert (refused.code, "no admin" in refused.err) == (ExitCode.WRONG_USE, True)


def test_what_is_no_proposal_is_not_signed(board: Board) -> None:
    refused = board(board.two, "sign", "not-a-cid", "--yes")
    assert refused.code == ExitCode.WRONG_USE


def test_revoking_takes_as_many_admins(board: Board) -> None:
    outcome = board.one("keys", "revoke", "three", "--ipfs", board.engine, "--json")
    signed = board.sign(board.two, outcome.json["proposal"]["cid"])
    assert {each["name"] for each in signed["members"]} == {"one", "two"}
    assert signed["threshold"] == 2


def test_an_admin_is_made_and_unmade(board: Board) -> None:
    signed = board.sign(board.two, board.propose(board.one, "admin", "three", "--no-admin"))
    assert {each["name"]: each["admin"] for each in signed["members"]} == {"one": True, "two": True, "three": False}


def test_no_admin_takes_itself_out(board: Board) -> None:
    refused = board(board.one, "remove", "one")
    assert (refused.code, "another admin" in refused.err) == (ExitCode.WRONG_USE, True)


def test_no_more_admins_can_have_to_sign_than_there_are(board: Board) -> None:
    refused = board(board.one, "threshold", "4")
    assert (refused.code, "there are 3" in refused.err) == (ExitCode.WRONG_USE, True)


def test_a_member_that_was_away_follows_through_every_version(board: Board) -> None:
    away = board.three
    board.sign(board.two, board.propose(board.one, "add", away.key_for(board.one), "--no-admin"))
    board.tell(board.two, board.one)
    board.sign(board.one, board.propose(board.two, "threshold", "1"))
    board.tell(board.one, board.two)
    assert board(board.two, "admin", "one", "--no-admin").code == 0
    version = stored(away).manifest.version
    board.tell(board.two, away)
    assert stored(away).manifest == stored(board.two).manifest
    assert (stored(away).manifest.version, stored(away).manifest.threshold) == (version + 3, 1)
    assert [each["name"] for each in away("federation", "members", "--json").json["members"] if each["admin"]] == [
        "two"
    ]


def test_an_admin_that_rotates_proposes_its_new_keys_and_the_others_only_sign(board: Board) -> None:
    before = stored(board.one).manifest
    rotated = board.one("keys", "rotate", "--ipfs", board.engine, "--json")
    (proposal,) = rotated.json["proposals"].values()
    assert (rotated.code, proposal["lacking"], rotated.json["pending"]) == (0, 1, {})

    board.sign(board.two, proposal["cid"])
    board.tell(board.two, board.one, board.three)

    after = stored(board.one).manifest
    was, now = (manifest.members[member_id(board.one)] for manifest in (before, after))
    assert set(after.admins) - set(before.admins) == {now.signing} != {was.signing}
    assert board.propose(board.one, "remove", "three")  # it is the same admin


def test_rotating_says_what_the_others_run(board: Board) -> None:
    said = board.one("keys", "rotate", "--ipfs", board.engine).out
    (proposal,) = board.one("federation", "proposals", "--json").json["proposals"]
    assert "trial: more admins have to sign" in said
    assert f"peer federation sign {proposal['cid']}" in said


def test_rotating_while_a_proposal_waits_that_it_may_not_overtake_says_what_to_do_first(
    peers: Peers, tmp_path: Path
) -> None:
    board = Board(peers, tmp_path)
    cid = board.propose(board.one, "threshold", "2")
    rotated = board.one("keys", "rotate", "--ipfs", board.engine)
    assert rotated.code == ExitCode.UNFINISHED
    assert f"peer federation reject {cid}" in rotated.err
    assert f"peer federation add {board.one.key_for(board.one)}" in rotated.err

    board.one("federation", "reject", cid)
    assert board(board.one, "add", board.one.key_for(board.one)).code == 0
    assert stored(board.one).manifest.members[member_id(board.one)].signing != member_id(board.one)


def test_new_keys_that_another_change_came_before_are_proposed_again_with_add(board: Board) -> None:
    board.one("keys", "rotate", "--ipfs", board.engine)
    board.sign(board.three, board.propose(board.two, "threshold", "3"))
    board.tell(board.three, board.one)
    assert board.propose(board.one, "add", board.one.key_for(board.one))


def test_new_keys_that_no_engine_takes_are_kept_as_a_proposal(board: Board) -> None:
    rotated = board.one("keys", "rotate", "--ipfs", "http://127.0.0.1:9")
    assert (rotated.code, "peer federation sign" in rotated.err) == (ExitCode.UNFINISHED, True)
    (proposal,) = board.one("federation", "proposals", "--json").json["proposals"]
    assert board.sign(board.one, proposal["cid"])["proposal"]["lacking"] == 1
    board.sign(board.two, proposal["cid"])


def test_a_proposal_on_the_same_version_with_other_signatures_waits_too(board: Board) -> None:
    """Otherwise an admin that has signed it could make a second version with its number."""
    cid = board.propose(board.one, "threshold", "1")
    board.sign(board.two, cid)
    board.sign(board.three, cid)
    board.sign(board.two, board.propose(board.three, "threshold", "3"))
    refused = board(board.two, "remove", "one")
    assert (refused.code, "waits" in refused.err) == (ExitCode.WRONG_USE, True)


def test_a_damaged_proposal_is_named(board: Board) -> None:
    board.propose(board.one, "threshold", "3")
    for file in (board.one.home / "proposals").glob("*/*.car"):
        file.write_bytes(file.read_bytes()[:-1])
    refused = board.one("federation", "proposals")
    assert (refused.code, "is no proposal, or was damaged" in refused.err) == (ExitCode.WRONG_USE, True)
