"""``peer lead`` in a home with which no peer runs."""

from __future__ import annotations

from collections.abc import Callable

from command_line import Peer

from peer.base.errors import ExitCode
from peer.home.federations import FederationStore
from peer.home.home import Home
from protocol.blocks.cid import raw_block

RUN = str(raw_block(b"a run").cid)


def test_a_home_that_is_no_admins_is_told_who_may_say_so(admin: Peer, peers: Callable[[str], Peer]) -> None:
    other = peers("b").named("b")
    admin("federation", "add", other.key_for(admin), "--name", "b", "--role", "server")
    FederationStore(Home(other.home)).join(FederationStore(Home(admin.home)).current())
    refused = other("lead", RUN, "--to", "b")
    assert (refused.code, "is no admin of" in refused.err) == (ExitCode.WRONG_USE, True)
    assert "in any home with an admin's key: peer lead RUN --to NAME" in refused.err


def test_an_admin_is_told_if_nobody_here_knows_the_run(admin: Peer) -> None:
    nobody = admin("lead", RUN, "--ipfs", f"local:{admin.home / 'engine'}")
    assert (nobody.code, "no member that is here knows the run" in nobody.err) == (ExitCode.UNFINISHED, True)
