"""Whether a run could go on without the server that leads it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class TakeoverLack(StrEnum):
    """What there is none of."""

    OTHER_SERVER = "other-server"
    """No other member is a server, by the manifest in force."""
    STANDBY = "standby"
    """No other server is here that follows the run."""
    VOTERS = "voters"
    """Too few voters are here besides the leader."""
    FITNESS = "fitness"
    """This standby could not lead the run."""


@dataclass(frozen=True, slots=True)
class TakeoverStatus:
    """Whether another server could take a run over now, as far as this peer hears."""

    lack: TakeoverLack | None
    """None: it could."""
    here: int
    """How many voters are here besides the leader."""
    of: int
    """How many voters there are."""
    needed: int
    """How many of them have to vote for a leader."""
    why: str = ""
    """Why this standby could not lead the run."""

    @property
    def in_words(self) -> str:
        """Why none is possible; empty if one is."""
        match self.lack:
            case None:
                return ""
            case TakeoverLack.OTHER_SERVER:
                return "the federation has no other server (peer federation invite --name NAME --role server)"
            case TakeoverLack.STANDBY:
                return "no other server stands by (peer start --role server --standby)"
            case TakeoverLack.VOTERS:
                return (
                    f"besides the leader, {self.here} of {self.of} voters are here, and {self.needed} are needed (an "
                    "admin may name the voters of a run: peer federation voters RUN NAME...)"
                )
            case TakeoverLack.FITNESS:
                return f"this server could not lead the run: {self.why}"
