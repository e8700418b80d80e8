"""Statuses of peers, as tests show them."""

from __future__ import annotations

from typing import Any

from peer.status.peer_status import EngineHealth, FederationStatus, Happening, Health, Part, PeerStatus
from protocol.blocks.cid import cbor_block
from protocol.records.bodies import Role
from protocol.status.role_status import Answers, Doing, Lack, MemberStatus, RoleStatus, RunStatus, Wait

NOW = 1_795_000_000.0
RUN = cbor_block("a run").cid
HEAD = cbor_block("its head").cid


def client(name: str, doing: Doing = Doing.HERE, **changes: Any) -> MemberStatus:
    return MemberStatus(name, Role.CLIENT, doing, NOW - 3, **changes)


def a_status(*members: MemberStatus, waits: tuple[Wait, ...] = (), **changes: Any) -> PeerStatus:
    """A server's, in round 2 of 5."""
    run = RunStatus(RUN, HEAD, 7, False, "fedavg", 2, 5)
    role = RoleStatus(
        Role.SERVER,
        "leading",
        run,
        members or (client("alice", Doing.WORKING, answer_by=NOW + 60, answers=Answers(2, 1.5, (("loss", 0.25),))),),
        waits or (Wait(Lack.REPLIES, ("alice",), NOW + 60),),
        means=(("loss", 0.25),),
        here=1,
        of=len(members) or 1,
        manifest_version=3,
    )
    trouble = (Happening(NOW - 60, "reply-refused", "a reply of bob is not taken: no"),)
    part = Part("hospital-a", FederationStatus(cbor_block("trial").cid, "trial", 3), role, NOW - 600, trouble)
    engine = EngineHealth("kubo", "0.43.0", 4, 1_000_000, 230_000)
    health = Health(NOW - 5, engine, "", 12_000_000_000, NOW - 3605, 500_000)
    given: dict[str, Any] = {
        "home": "/home",
        "at": NOW,
        "running": True,
        "pid": 7,
        "since": NOW - 600,
        "engine": "kubo",
        "parts": (part,),
        "health": health,
    }
    return PeerStatus(**given | changes)
