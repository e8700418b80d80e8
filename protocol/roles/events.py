"""What happens to a role state machine. Time is handed in beside each event. What its app process says of itself, and
of an `protocol.app.calls.Examine`, is an event as it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from crypto.keys import DecryptionKey, SigningKey
from protocol.app.calls import Answered, AppReady, Examined, Failed, ServerCall
from protocol.blocks.cid import CID
from protocol.records.bodies import Grant


@dataclass(frozen=True, slots=True)
class Started:
    """The first event of a machine, once the engine is there and its topics are subscribed to.

    ``addresses`` is where other engines reach ours.
    """

    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Received:
    """An announcement arrived: bytes from anybody."""

    data: bytes


@dataclass(frozen=True, slots=True)
class EngineAnswered:
    """Our engine answered just now, and all announcements that it had brought before are handed in. It comes every
    second: as long as it does not, nothing can reach us (`protocol.roles.offline_times`)."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A `FetchRecord` found the record; ``blocks`` holds it and all that is needed to verify it."""

    effect: int
    blocks: Mapping[CID, bytes]


@dataclass(frozen=True, slots=True)
class Done:
    """An effect is carried out; what it stores is on disk."""

    effect: int


@dataclass(frozen=True, slots=True)
class AppCalled:
    """The ServerApp's Grid asked for something, or the ServerApp ended."""

    call: ServerCall


@dataclass(frozen=True, slots=True)
class AppLost:
    """The app process ended without being asked to."""

    why: str


@dataclass(frozen=True, slots=True)
class AppsApproved:
    """The owner approved an app, or took an approval back; ``apps`` is all that are approved now."""

    apps: frozenset[CID]


@dataclass(frozen=True, slots=True)
class Due:
    """A moment asked for with `protocol.roles.effects.WakeAt` has come."""


@dataclass(frozen=True, slots=True)
class ManifestChanged:
    """The owner of this peer changed the manifest or was handed a newer one."""

    cid: CID
    blocks: Mapping[CID, bytes]


@dataclass(frozen=True, slots=True)
class KeysChanged:
    """The owner of this peer rotated its keys. It comes before any manifest that names the new ones.

    Both are all that there are, the newest first.
    """

    signing: tuple[SigningKey, ...]
    decryption: tuple[DecryptionKey, ...]
    kept: tuple[Grant, ...] = ()
    """The keys of epochs that were sealed for older decryption keys, as the owner keeps them under these."""


@dataclass(frozen=True, slots=True)
class RoomChanged:
    """Whether the disk has room for another exchange (`protocol.keeping.budget`). ``why`` says why it has none; it is
    empty if it has."""

    why: str


@dataclass(frozen=True, slots=True)
class ToClose:
    """The owner of a server wants its run closed now, although the app has not ended. ``why`` goes into the record."""

    why: str


@dataclass(frozen=True, slots=True)
class ToHandOver:
    """The owner of a server wants another server to lead the run that this one leads."""

    to: bytes
    """Its member id."""


@dataclass(frozen=True, slots=True)
class Stopping:
    """The owner asked for a clean stop; the machine says goodbye and takes no further event."""


Event = (
    Started
    | Received
    | EngineAnswered
    | Fetched
    | Examined
    | Done
    | Failed
    | AppReady
    | AppCalled
    | Answered
    | AppLost
    | AppsApproved
    | Due
    | ManifestChanged
    | KeysChanged
    | RoomChanged
    | ToClose
    | ToHandOver
    | Stopping
)
