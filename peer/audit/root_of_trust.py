"""The root of trust of an audit: the federation whose members' keys the verdict rests on.

A run names its own federation. So a stranger's run, in a federation with the same name as ours, is just as sound. Only
an id that the auditor has from elsewhere tells the two apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from peer.base.errors import PeerError
from peer.home.federations import StoredFederation, newer_of, read_federation
from protocol.blocks.cid import CID, MalformedCid


class Root(StrEnum):
    """Where the id of the run's federation comes from."""

    GIVEN = "given"
    """The auditor named it."""
    JOINED = "joined"
    """This home has joined it."""
    RUN = "run"
    """Only the run itself names it."""


@dataclass(frozen=True, slots=True)
class GivenRoot:
    """The federation that an auditor named."""

    federation: CID
    known: tuple[StoredFederation, ...]
    """The federations of the home, and the given one if it came as a file: each in the newest version that is here."""


def given_root(named: str, known: Sequence[StoredFederation]) -> GivenRoot:
    """The federation that ``named`` gives: its id, its file, or its name among those of the home, which are ``known``.

    Raises:
        PeerError: if it is none of these, or the file and this home have two branches of the manifest.
    """
    path = Path(named).expanduser()
    if path.is_file():
        return _with_file(read_federation(path), known)
    try:
        return GivenRoot(CID.parse(named), tuple(known))  # before names: a stranger may name its federation by our id
    except MalformedCid as error:
        for stored in known:
            if named == stored.manifest.name:
                return GivenRoot(stored.id, tuple(known))
        raise PeerError(
            f"--federation {named!r} is neither a federation's id, nor a file, nor the name of one of this home's",
            fix="ask a member for the id (peer federation show) or the file (peer federation export FILE)",
        ) from error


def trusted_federations(named: str | None, joined: Sequence[StoredFederation]) -> list[StoredFederation]:
    """The federations that tell whose a key is: those that the home has joined, or only the one that somebody named.

    Raises:
        PeerError: as `given_root`.
    """
    if named is None:
        return list(joined)
    given = given_root(named, joined)
    return [stored for stored in given.known if stored.id == given.federation]


def _with_file(offered: StoredFederation, known: Sequence[StoredFederation]) -> GivenRoot:
    ours = next((stored for stored in known if stored.id == offered.id), offered)
    others = (stored for stored in known if stored.id != offered.id)
    return GivenRoot(offered.id, (*others, newer_of(ours, offered)))
