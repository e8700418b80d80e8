"""``peer federation set witnesses``: how many servers vouch for what clients train on."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Annotated

import typer

from crypto.identity import Identity
from peer.base.errors import PeerError
from peer.cli.federation.proposals import change
from peer.cli.options import JsonOption, MemberOptions
from peer.cli.output import counted
from peer.home.federations import StoredFederation
from peer.membership.changes import change_settings
from protocol.records.bodies import MAX_WITNESSES, Role


def set_witnesses(
    count: Annotated[int, typer.Argument(metavar="N", min=0, max=MAX_WITNESSES, help="How many other servers.")],
    *,
    options: MemberOptions,
    json: JsonOption = False,
) -> None:
    """Set how many servers besides the leader must have recomputed a model before a client trains on it. Admins only.

    Those servers stand by (`peer start --role server --standby`). A run may ask for more (`--witnesses`), never for
    fewer. Runs that go on take it up with the new manifest.
    """

    def changed(stored: StoredFederation, by: Identity) -> StoredFederation:
        servers = len(stored.manifest.nodes_of(Role.SERVER))
        if count >= max(servers, 1):
            raise PeerError(
                f"{stored.manifest.title} has {counted(servers, 'server')}, so at most {max(servers - 1, 0)} of them "
                "can be witnesses of a run that another leads",
                fix="add one first: peer federation invite --name NAME --role server; then "
                f"peer federation set witnesses {count}",
            )
        settings = replace(stored.manifest.settings, witnesses=count)
        return change_settings(stored, by, settings, time=time.time())

    change(options, changed, json, lambda _: f"clients train on what {servers(count)}")


def servers(count: int) -> str:
    """By whom a model is vouched for, as a sentence ends."""
    match count:
        case 0:
            return "the leader alone vouches for"
        case 1:
            return "1 server besides the leader has recomputed"
        case _:
            return f"{count} servers besides the leader have recomputed"
