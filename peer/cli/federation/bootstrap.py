"""``peer federation bootstrap``: the addresses in the manifest, by which members find each other again."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from peer.base.errors import PeerError
from peer.cli.federation.proposals import change
from peer.cli.options import JsonOption, MemberOptions, ReachOptions
from peer.cli.output import Table, put_list
from peer.engine.addresses_for_others import addresses_for_others, is_only_here, parsed_addresses
from peer.home.home import Home
from peer.membership.changes import change_addresses


def bootstrap(
    add: Annotated[
        list[str],
        typer.Option(
            "--add",
            metavar="ADDRESS",
            help="Name this address too: a multiaddr with /p2p/PEERID, or HOST:PORT for this home's own node.",
        ),
    ] = [],  # noqa: B006  # typer copies it
    add_own: Annotated[bool, typer.Option("--add-own", help="Name the addresses of this home's own node.")] = False,
    remove: Annotated[list[str], typer.Option("--remove", metavar="ADDRESS", help="Take this address out.")] = [],  # noqa: B006
    *,
    options: MemberOptions,
    reach: ReachOptions,
    json: JsonOption = False,
) -> None:
    """List, or change, the addresses of members' nodes in the manifest.

    Every member dials them, so members find each other after all other addresses have changed. Only admins change them.
    """
    stored = options.stored()
    if not (add or add_own or remove):
        rows = [[address] for address in stored.manifest.addresses]
        table = Table("bootstrap", ["address"], rows)
        none = "the manifest names no address; to name this home's: peer federation bootstrap --add-own"
        put_list([{"address": address} for address in stored.manifest.addresses], json, table, none)
        return
    added: tuple[str, ...] = ()
    if add:
        added = addresses_for_others(Home(options.home), stored, options.ipfs, reach.asked(), add)
    if add_own:
        own = addresses_for_others(Home(options.home), stored, options.ipfs, reach.asked())
        if is_only_here(own):
            raise PeerError(
                "this home's node listens where this machine alone reaches it",
                fix="stop what runs with this home, and start it with --listen IP:PORT; behind a router or a web "
                "server also with --announce HOST:PORT",
            )
        added += own
    if local := [each for each in added if each.startswith("local:")]:
        raise PeerError(
            f"a directory is no address that members can dial: {local[0]}",
            fix="members with --ipfs local:DIR need none",
        )
    taken_out = parsed_addresses(remove)
    change(
        options,
        lambda before, by: change_addresses(before, by, add=added, remove=taken_out, time=time.time()),
        json,
        lambda after: f"{len(after.manifest.addresses)} addresses are in the manifest",
    )
