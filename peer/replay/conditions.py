"""The app of a run that is replayed, and under which conditions it runs here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from peer.apps.app_python import OUR_PYTHON
from peer.confinement.confined import Confiner
from protocol.blocks.bundle import BundledFile
from protocol.blocks.cid import CID, BlockSource
from protocol.records.bodies import RunConfig


@dataclass(frozen=True, slots=True)
class Conditions:
    """Under which conditions an app runs here, whichever it is."""

    confiner: Confiner | None
    """What confines it; None if it may do all that the auditor may."""
    python: tuple[str, ...] = OUR_PYTHON
    """The command of the Python that runs it."""


@dataclass(frozen=True, slots=True)
class AuditedApp:
    """An app that the auditor lets run."""

    where: str
    """Its folder or its content, in words."""
    id: CID
    files: Sequence[BundledFile]
    source: BlockSource
    """Where the files' chunks are."""
    conditions: Conditions
    node_config: RunConfig = ()
    """Settings of this machine, such as the folder with its data."""


@dataclass(frozen=True, slots=True)
class ReplayToCome:
    """The replay that will follow an audit."""

    conditions: Conditions
    app: Callable[[], AuditedApp]
    """Chooses the app, once the run record is verified; the same one each time. Raises PeerError or BlockError if it
    cannot run here."""
