"""What the owner of a client has chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from protocol.blocks.cid import CID
from protocol.records.bodies import RunConfig, RunPrivate


@dataclass(frozen=True, slots=True)
class ClientPlan:
    """The owner's choices. ``secret`` (32 bytes) seeds the app and stays with this peer."""

    app: CID | None
    """The app (its id, `protocol.blocks.bundle`) that is started at once, before a run is known; None for none."""
    secret: bytes = field(repr=False)
    node_config: RunConfig = ()
    once: bool = False
    """Stop after the first run that closes."""
    approved: frozenset[CID] | None = None
    """The apps that may run besides; others wait for approval. None if the owner lets ``app`` alone run."""
    unfit: Callable[[CID, RunConfig], str] = lambda _app, _config: ""
    """Why an app cannot run here, with this ``node_config``, in a run with those settings; empty if it can."""
    files: Sequence[tuple[str, bytes]] = field(default=(), repr=False)
    """Of ``app``, the paths and bytes: if a run is of another, it is said in which files."""

    remembers: Callable[[CID], bool] = lambda _run: True
    """Whether this home has forgotten nothing that it signed in a run: it is where it always was."""

    def why_not(self, app: CID, private: RunPrivate) -> str:
        """Why an app cannot run here as its run record says; empty if it can."""
        return self.unfit(app, private.config)
