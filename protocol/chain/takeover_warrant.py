"""The chain rule of a takeover by warrant (`protocol.chain.rules` 49), by which voters judge a warrant too.

It takes the votes in any case. What is shown is by whose order they were asked for, although the leader was heard.
"""

from __future__ import annotations

from typing import Final

from protocol.blocks.cid import CID, BlockSource
from protocol.chain import rules
from protocol.chain.exchange import InForce
from protocol.federation.manifest import Manifest
from protocol.records.bodies import Takeover, TakeoverCause, Warrant
from protocol.records.signed_records import Record, WellSigned, checked_record

LONGEST_WARRANT: Final = 600.0
"""Seconds from when a warrant is signed until it expires, at most: one that is stolen is good for no longer."""


def warrant_of(body: Takeover, term: int, in_force: InForce, source: BlockSource) -> tuple[Record, ...]:
    """The warrant of ``body``; nothing if it has none. The run was led in ``term`` before.

    Raises:
        protocol.chain.rules.BrokenRule: if it does not count.
    """
    if body.warrant is None:
        return ()
    if body.cause is not TakeoverCause.HANDOVER:
        raise rules.TakeoverWarrant(f"its cause is {body.cause}, and it has a warrant")
    warrant = checked_record(body.warrant, source)
    said = check_warrant(warrant, in_force.run, term, in_force.manifest, in_force.well_signed)
    if said.candidate != body.by:
        raise rules.TakeoverWarrant(f"{warrant.cid} is for another server")
    if body.time >= said.expires:
        raise rules.TakeoverWarrant(f"{warrant.cid} had expired")
    return (warrant,)


def check_warrant(
    warrant: Record, run: CID, term: int, manifest: Manifest, well_signed: WellSigned = frozenset()
) -> Warrant:
    """Check a warrant for a run that is led in ``term``, by the manifest in force. The cheap checks come first. When it
    expires, and for whom it is, its reader has to see.

    Raises:
        protocol.chain.rules.BrokenRule: if it means nothing there.
    """
    said = warrant.body
    if not isinstance(said, Warrant):
        raise rules.TakeoverWarrant(f"{warrant.cid} is a {said.TYPE}")
    if said.epoch is not None or said.private:
        raise rules.PrivatePart("a warrant has nothing private")
    if (said.run, said.term) != (run, term):
        raise rules.TakeoverWarrant(f"{warrant.cid} is for another run, or ends another term")
    if not said.expires - said.time <= LONGEST_WARRANT:
        raise rules.TakeoverWarrant(f"{warrant.cid} is good for more than {LONGEST_WARRANT:g} s")
    if said.by not in manifest.admins or warrant.signers != (said.by,):
        raise rules.TakeoverWarrant(f"{warrant.cid} is not signed by an admin in manifest {manifest.cid}")
    rules.check_signed(warrant, well_signed)
    return said
