"""What the owner of a standby has chosen, and what its home has of a run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from protocol.blocks.cid import CID, Block
from protocol.records.bodies import Ack, Comparison, RecomputedAck, RunConfig, RunPrivate
from protocol.roles.following.told_acks import NONE, AckedTo
from protocol.votes.silence import LEAST_SILENCE
from protocol.wire.announcements import Position


@dataclass(frozen=True, slots=True)
class RunToReplay:
    """A run to begin with: its leader may be gone."""

    position: Position
    leader: bytes
    """The member that leads it."""
    announced: Position | None = None
    """A newer head that it has announced, and that is not verified."""


@dataclass(frozen=True, slots=True)
class StandbyPlan:
    """The owner's choices."""

    app: CID | None
    """The app (its id) whose files are here; None for none."""
    replay_format: int
    """The one that this version replays."""
    node_config: RunConfig = ()
    any_model: bool = False
    """Whether its app may go on with a model with NaN or infinities that its first model did not have, if it leads."""
    once: bool = False
    """Stop after the first run that closes."""
    approved: frozenset[CID] | None = None
    """The apps that may run besides; others wait for approval. None if the owner lets ``app`` alone run."""
    unfit: Callable[[CID, RunConfig], str] = lambda _app, _config: ""
    """Why an app cannot run here in a run with those settings; empty if it can."""
    files: Sequence[tuple[str, bytes]] = field(default=(), repr=False)
    """Of ``app``, the paths and bytes: if a run is of another, it is said in which files."""
    run: RunToReplay | None = None
    remembers: Callable[[CID], bool] = lambda _run: True
    """Whether this home has forgotten nothing that it signed in a run: it is where it always was."""
    least_silence: float = LEAST_SILENCE
    """Seconds that a leader may be silent at least before this standby would lead."""

    def why_not(self, app: CID, private: RunPrivate) -> str:
        """Why an app cannot run here as its run record says; empty if it can."""
        if private.replay_format != self.replay_format:
            return f"it is in replay format {private.replay_format}, and this version replays {self.replay_format}"
        return self.unfit(app, private.config)


@dataclass(slots=True)
class SignedAcks:
    """What a home has of its own acks of one run."""

    acked: AckedTo = NONE
    newest: Block | None = None
    """The newest that says what our app made of it."""
    contradicted: CID | None = None
    """The record from which on one of them says that the run diverged: nothing else is said of a run that has it."""
    disputes: list[Block] = field(default_factory=list)
    """The acks by which servers have contradicted the run, of all of them."""

    def keep(self, ack: Ack, block: Block | None = None) -> None:
        """Note an ack that is on disk, or about to be; its ``block`` if that is here."""
        place = ack.term, ack.height
        if isinstance(ack, RecomputedAck) and block is not None and place >= self.acked:
            self.newest = block
        self.acked = max(self.acked, place)
        if isinstance(ack, RecomputedAck) and ack.recomputed.comparison is Comparison.DIVERGED:
            self.contradicted = ack.head
