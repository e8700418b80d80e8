"""An admin's desk: when it tells the other admins of the proposals that wait with it, and what it looks into of theirs.

A proposal lies in the homes of admins (docs/protocol.md, section 5). Desks announce what they have, and fetch what they
lack, until all have the same signatures. Nothing is ever signed here. Pure: the caller passes the time, and does what
is decided.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from protocol.blocks.cid import CID
from protocol.federation.manifest import MAX_AHEAD, Manifest
from protocol.federation.proposals import Proposal
from protocol.pacing.at_most_every import AtMostEvery
from protocol.roles.unchecked_claims import UncheckedClaims
from protocol.wire.announcements import Announcement, Beat, Hello, ManifestRef, ProposalReady

FIRST: Final = 5.0
"""Seconds until something that did not change is told again; each time twice as long."""

LONGEST: Final = 300.0
"""The longest of these times. It bounds how long a desk lacks what others have if announcements are lost."""

AWAY: Final = 150.0
"""A desk that was silent for so many seconds has come back, and is told everything."""

MAX_OF_ONE: Final = 8
"""Proposals with one admin's signature that a desk takes from others. Nobody needs more: one can come into force."""

DEEPEST_DOUBT: Final = 3600.0
"""Seconds until an admin's word is looked into again, if it never was true."""

REMEMBERED: Final = 1024
"""Blocks of proposals that were looked into, so that none is fetched twice."""


@dataclass(frozen=True, slots=True)
class LookInto:
    """What the member ``by`` says that it has, and we have not. Tell `Desk.was_true` or `was_false` what came of it."""

    by: bytes
    what: ManifestRef | ProposalReady


@dataclass(slots=True)
class _Turn:
    """When something is told again."""

    body: ProposalReady
    at: float
    wait: float = FIRST
    said_at: float = -math.inf


class Desk:
    """What one admin's desk says, and what it looks into."""

    def __init__(self, member: bytes) -> None:
        self._member = member
        self._manifest: Manifest | None = None
        self._turns: dict[CID | None, _Turn] = {}
        """By the proposal's id; None: that the desk is here, with its manifest."""
        self._heard: dict[bytes, float] = {}
        """When each admin's desk was heard last."""
        self._claims = UncheckedClaims(1, DEEPEST_DOUBT)
        self._looked_into: OrderedDict[CID, None] = OrderedDict()
        self._may_answer = AtMostEvery(FIRST)

    # -- saying -----------------------------------------------------------------------------------------------------

    def has(self, manifest: Manifest, waiting: Mapping[CID, CID | None], now: float) -> None:
        """What the home has now: the newest manifest, and for each proposal its block, or None if its owner rejects it.
        What is new is told at once."""
        if self._manifest is not None and manifest.version > self._manifest.version:
            self._looked_into.clear()
        self._manifest = manifest
        ref = ManifestRef(manifest.cid, manifest.version)
        bodies: dict[CID | None, ProposalReady] = {None: ProposalReady(ref, None, None)}
        bodies.update((id, ProposalReady(ref, id, record)) for id, record in waiting.items())
        for gone in [id for id in self._turns if id not in bodies]:
            del self._turns[gone]
        for id, body in bodies.items():
            known = self._turns.get(id)
            if known is None or known.body != body:
                self._turns[id] = _Turn(body, now)

    def due(self, now: float) -> list[ProposalReady]:
        """What is to be announced now."""
        return list(self._take_due(now))

    def _take_due(self, now: float) -> Iterator[ProposalReady]:
        for turn in self._turns.values():
            if now >= turn.at:
                turn.said_at, turn.at = now, now + turn.wait
                turn.wait = min(2 * turn.wait, LONGEST)
                yield turn.body

    @property
    def next_due(self) -> float:
        """When something is to be announced again."""
        return min((turn.at for turn in self._turns.values()), default=math.inf)

    def _tell_soon(self, turns: Iterable[_Turn], now: float) -> None:
        for turn in turns:
            turn.at, turn.wait = min(turn.at, max(now, turn.said_at + FIRST)), FIRST

    # -- hearing ----------------------------------------------------------------------------------------------------

    def heard(self, said: Announcement, now: float) -> LookInto | None:
        """Take an announcement that the inbox has accepted. Returns what to look into, if it is worth that."""
        manifest = self._manifest
        if manifest is None or said.by == self._member or not isinstance(said.body, Hello | Beat | ProposalReady):
            return None
        newer = said.body.manifest
        if manifest.version < newer.version <= manifest.version + MAX_AHEAD:
            return self._looked_at(LookInto(said.by, newer), newer.cid, now)
        member = manifest.members.get(said.by)
        if not isinstance(said.body, ProposalReady) or member is None or member.signing not in manifest.admins:
            return None
        self._another_desk(said.by, said.body, now)
        proposal, record = said.body.proposal, said.body.record
        if proposal is None or newer.version < manifest.version or record in self._looked_into:
            return None
        ours = self._turns.get(proposal)
        if ours is not None and (ours.body.record is None or ours.body.record == record):
            return None  # rejected here, or known
        if ours is not None and self._may_answer.take(said.by, now):
            self._tell_soon([ours], now)  # it may lack signatures that we have
        if record is None:
            return LookInto(said.by, said.body) if ours is not None and self._open(said.by, now) else None
        return self._looked_at(LookInto(said.by, said.body), record, now)

    def _another_desk(self, by: bytes, body: ProposalReady, now: float) -> None:
        """An admin's desk speaks. If it has come back, or has an older manifest, it is told what we have."""
        assert self._manifest is not None
        is_back = now >= self._heard.get(by, -math.inf) + AWAY
        self._heard[by] = now
        if is_back:
            self._tell_soon(self._turns.values(), now)
        elif body.manifest.version < self._manifest.version and self._may_answer.take(by, now):
            self._tell_soon([self._turns[None]], now)

    def _looked_at(self, look: LookInto, cid: CID, now: float) -> LookInto | None:
        if not self._open(look.by, now):
            return None
        self._looked_into[cid] = None
        if len(self._looked_into) > REMEMBERED:
            self._looked_into.popitem(last=False)
        return look

    def _open(self, by: bytes, now: float) -> bool:
        if not self._claims.may_open(by, now):
            return False
        self._claims.open(by)
        return True

    def was_true(self, look: LookInto) -> None:
        """It was as the member said."""
        self._claims.held(look.by)

    def was_false(self, look: LookInto, now: float, *, came: bool) -> None:
        """It was not, or did not come: then ``came`` is False, and it is looked into again once the member may claim
        something again."""
        self._claims.failed(look.by, now)
        cid = look.what.cid if isinstance(look.what, ManifestRef) else look.what.record
        if not came and cid is not None:
            self._looked_into.pop(cid, None)


def why_not_taken(proposal: Proposal, waiting: Iterable[Proposal]) -> str:
    """Why a desk does not take another admin's proposal; empty if it does. ``waiting`` are those that it has.

    Each was signed by an admin of the version that it follows. So an admin that proposes without end fills the places
    of its own signature, and nobody else's.
    """
    admins = frozenset(proposal.base.admins)
    signed_by = proposal.signers & admins
    others = [each for each in waiting if each.id != proposal.id]
    if all(sum(signer in each.signers for each in others) >= MAX_OF_ONE for signer in signed_by):
        return f"{MAX_OF_ONE} other proposals with the same signature wait already"
    return ""
