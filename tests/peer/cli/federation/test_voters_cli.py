"""``peer federation set voters`` and ``peer federation voters``: who votes for the leader of a run."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from command_line import Peer

from peer.base.errors import ExitCode
from peer.home.federations import FederationStore
from peer.home.home import Home
from protocol.blocks.cid import raw_block
from protocol.federation.voters import Voting

RUN = str(raw_block(b"a run").cid)


@pytest.fixture
def lab(admin: Peer, peers: Callable[[str], Peer]) -> Peer:
    """The admin of a federation with a client and a keeper."""
    for name, role in (("b", "client"), ("k", "keeper")):
        key = peers(name).named(name).key_for(admin)
        assert admin("federation", "add", key, "--name", name, "--role", role).code == ExitCode.DONE
    return admin


def test_an_admin_lets_the_servers_vote_alone_and_all_again(lab: Peer) -> None:
    outcome = lab("federation", "set", "voters", "servers")
    assert (
        outcome.code,
        "the servers (1 of 1 make a leader: if one is away for good, no other server can lead)" in outcome.out,
    ) == (ExitCode.DONE, True)
    assert FederationStore(Home(lab.home)).current().manifest.voting is Voting.SERVERS
    assert lab("federation", "set", "voters", "servers").code == ExitCode.WRONG_USE
    assert lab("federation", "set", "voters", "all").code == ExitCode.DONE
    assert lab("federation", "show", "--json").json["voting"] == "servers-and-clients"


def test_an_admin_names_the_voters_of_a_run_and_takes_the_names_back(lab: Peer) -> None:
    assert lab("federation", "voters", RUN, "b").code == ExitCode.DONE
    shown = lab("federation", "voters", RUN, "--json").json
    member = next(each for each in lab("federation", "show", "--json").json["members"] if each["name"] == "b")
    assert (shown["named"], shown["voters"], shown["majority"]) == (True, [member["did"]], 1)
    assert (
        f"of run {RUN}: b (1 of 1 make a leader: if one is away for good, no other server can lead)"
        in lab("federation", "show").out
    )
    assert lab("federation", "voters", RUN, "--remove").code == ExitCode.DONE
    again = lab("federation", "voters", RUN, "--json").json
    assert (again["named"], len(again["voters"]), again["majority"]) == (False, 2, 2)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["k"], "only servers and clients vote"),
        (["nobody"], "nobody in the federation"),
        (["--remove"], "nobody is named"),
        (["b", "--remove"], "two different things"),
    ],
)
def test_what_cannot_be_is_refused_with_its_reason(lab: Peer, arguments: list[str], why: str) -> None:
    outcome = lab("federation", "voters", RUN, *arguments)
    assert (outcome.code, why in outcome.err) == (ExitCode.WRONG_USE, True), outcome.err
