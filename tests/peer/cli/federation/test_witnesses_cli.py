"""``peer federation set witnesses``: how many servers vouch for what clients train on."""

from __future__ import annotations

from collections.abc import Callable

from command_line import Peer

from peer.base.errors import ExitCode


def test_a_federation_asks_for_witnesses_as_far_as_it_has_other_servers(peers: Callable[[str], Peer]) -> None:
    founder, other = peers("founder").named("founder"), peers("other").named("other")
    assert founder("federation", "init", "trial", "--no-encrypt").code == ExitCode.DONE
    refused = founder("federation", "set", "witnesses", "1")
    assert refused.code == ExitCode.WRONG_USE
    assert "peer federation invite --name NAME --role server" in refused.err

    added = founder("federation", "add", other.key_for(founder), "--name", "other", "--role", "server")
    assert added.code == ExitCode.DONE, added.err
    assert founder("federation", "set", "witnesses", "1", "--json").json["witnesses"] == 1
    assert "1 server besides the leader has recomputed" in founder("federation", "show").out
    assert founder("federation", "set", "witnesses", "0").code == ExitCode.DONE
    assert "witnesses" not in founder("federation", "show").out
