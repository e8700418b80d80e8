"""What ``peer status`` shows. With `protocol.blocks.json_values` it is also what it prints with ``--json``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from protocol.blocks.cid import CID
from protocol.status.role_status import RoleStatus


@dataclass(frozen=True, slots=True)
class FederationStatus:
    """A federation of the home."""

    id: CID
    name: str
    """Empty if it is not readable here."""
    version: int
    """The newest version of the manifest that is known here."""


@dataclass(frozen=True, slots=True)
class EngineHealth:
    """How the engine was when it was last looked at."""

    kind: str
    version: str
    peers: int
    """How many other engines it is connected to."""
    bytes_stored: int
    bytes_sent: int
    """What went out to other engines since the engine started."""


@dataclass(frozen=True, slots=True)
class Health:
    """The engine and the disk, as they were at a time."""

    at: float
    """Seconds since 1970."""
    engine: EngineHealth | None
    """None if it did not answer."""
    trouble: str
    """Why it did not; empty if it did."""
    free: int
    """Bytes that the home's disk has left."""
    since: float
    """When the peer began to look."""
    grown: int
    """By how many bytes the engine's blocks have grown since then."""


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that went wrong lately, as it was told."""

    at: float
    event: str
    text: str


@dataclass(frozen=True, slots=True)
class Part:
    """A part that the home's member has in a run, or seeks."""

    identity: str
    """The member's name; empty if it is not known without asking."""
    federation: FederationStatus
    role: RoleStatus
    since: float
    """When this began; if no peer runs, when the run was changed last."""
    trouble: tuple[Happening, ...] = ()
    """The newest last."""


@dataclass(frozen=True, slots=True)
class PeerStatus:
    """The status of a home."""

    home: str
    at: float
    """Seconds since 1970."""
    running: bool
    """Whether a peer runs. If none does, the one part is what the journal says of the newest run."""
    pid: int | None
    since: float | None
    """When the running peer started."""
    engine: str
    """As ``--ipfs`` takes it, without credentials; empty if none was used yet."""
    parts: tuple[Part, ...]
    health: Health | None
    waits: tuple[str, ...] = ()
    """What waits for the owner, as an admin, with the command that settles each."""
    schema: Literal["pollen/status/1"] = "pollen/status/1"
