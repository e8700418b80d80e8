"""What the machines of one process share that act for one member in one federation: several runs, or two roles.

To everybody else they are one author. So they count their announcements together, and only the last of them says
goodbye.
"""

from __future__ import annotations

from collections.abc import Mapping

from protocol.blocks.cid import CID
from protocol.roles.electing.own_votes import NONE, OwnVotes
from protocol.votes.promise import KeptVote


class Acting:
    """Shared by the machines of one author."""

    def __init__(self, first_counter: int, votes: Mapping[CID, KeptVote] = NONE) -> None:
        """``votes`` are the newest of earlier processes of the member, by run."""
        self.counter = first_counter
        """Of the next announcement."""
        self.votes = OwnVotes(votes)
        self._runs: dict[object, CID] = {}
        """The runs that are led or followed now, by the machine that does."""
        self._known: set[CID] = set()
        """The runs that any of them ever led or followed."""
        self._machines: set[object] = set()

    def come(self, machine: object) -> None:
        """A machine can be heard from now on."""
        self._machines.add(machine)

    def leave(self, machine: object) -> None:
        """A machine has stopped."""
        self._machines.discard(machine)
        self.lay_down(machine)

    def is_alone(self, machine: object) -> bool:
        """Whether no other machine acts for the member."""
        return self._machines <= {machine}

    def take_up(self, run: CID, machine: object) -> None:
        """A machine leads or follows this run from now on, and no other."""
        self._runs[machine] = run
        self._known.add(run)

    def lay_down(self, machine: object) -> None:
        """A machine leads and follows no run any more."""
        self._runs.pop(machine, None)

    def is_of_another(self, run: CID, machine: object) -> bool:
        """Whether another machine leads or follows this run."""
        return any(other is not machine and theirs == run for other, theirs in self._runs.items())

    def knows(self, run: CID) -> bool:
        """Whether one of the machines led or followed this run."""
        return run in self._known
