"""``peer federation grant``: let a later auditor read runs that are over."""

from __future__ import annotations

from typing import Annotated

import typer

from peer.cli.options import FullOption, JsonOption, MemberOptions
from peer.cli.output import put_result
from peer.engine.chosen_engine import borrowed
from peer.home.home import Home
from peer.home.journal import Journal
from peer.membership.changes import find_member, require_role
from peer.membership.granting import grants_of
from protocol.blocks.cid import CID, Block
from protocol.records.bodies import Role


def grant(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The auditor's name, or its did:key.")],
    *,
    options: MemberOptions,
    full: FullOption = False,  # noqa: ARG001  # its callback does what it says
    json: JsonOption = False,
) -> None:
    """Let a member read older runs. It gets the keys of the runs that were led here before it joined. Servers only.

    Open runs give their keys to new members by themselves. The grants are beside the runs, so export the runs again.
    """
    place = Home(options.home)
    person, stored = options.unlocked()
    require_role(stored.manifest, person.public, Role.SERVER)
    find_member(stored.manifest, name)
    granted, led = [], set[CID]()
    shredded = {each.run for each in stored.manifest.shredded}
    with Journal(place.journal) as journal, borrowed(place, options.ipfs, stored) as engine:
        for head in journal.heads():
            if head.role is Role.SERVER and head.federation == stored.id:
                led.add(head.run)
                blocks = grants_of(head, stored, person, name, engine, journal.beside(head.run), place)
                manifests = [Block(cid, data) for cid, data in stored.blocks.items()]
                engine.put([*manifests, *blocks], pin=[block.cid for block in (*manifests, *blocks)])
                journal.keep_beside(head.run, blocks)
                granted += [head] if blocks else []
    lines = [f"{name} may read run {head.run}; hand it over: peer export {head.head} FILE.car" for head in granted]
    lines += [f"run {run} was shredded: nobody is given its keys any more" for run in sorted(shredded & led)]
    put_result(
        {"granted": [{"run": str(head.run), "head": str(head.head)} for head in granted]},
        json,
        *(lines or ["no encrypted run was led here"]),
    )
