"""The search: every state that can be reached, breadth first, so that what is found is found by the shortest way.

``.venv/bin/python tests/model/election_search.py`` searches for some time, and goes on the next time it is called.
"""

from __future__ import annotations

import argparse
import marshal
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from election_model import Ballot, Bounds, Label, Model, Peer, State, Violation


class Found(AssertionError):
    """A violation, with the steps that lead to it."""

    def __init__(self, why: str, steps: list[str]) -> None:
        super().__init__("\n".join([why, *steps]))
        self.why = why
        self.steps = steps


@dataclass
class Search:
    """A search that can be stopped and gone on with. It keeps the states ahead, and of all others a 64-bit hash and
    that of the state before: two of a million states have one hash by chance once in 10 million searches."""

    model: Model
    start: State | None = None
    """Where it begins; None: where the model does."""
    ahead: deque[State] = field(default_factory=deque)
    before: dict[int, int] = field(default_factory=dict)
    """Of each state that was seen, by its hash: the hash of the one from which it was reached."""
    steps: int = 0

    def __post_init__(self) -> None:
        if not self.before:
            start = self.model.canonical(self.start or self.model.start)
            self.before[hash(start)] = 0
            self.ahead.append(start)

    @property
    def seen(self) -> int:
        """States found so far, those that are the same but for names once."""
        return len(self.before)

    def go_on(self, states: int) -> bool:
        """Look at ``states`` more, or all; whether that was all.

        Raises:
            Found: if something happens that must not.
        """
        for _ in range(states):
            if not self.ahead:
                return True
            state = self.ahead.popleft()
            here = hash(state)
            try:
                for _, after in self.model.steps(state):
                    self.steps += 1
                    after = self.model.canonical(after)
                    if (there := hash(after)) not in self.before:
                        self.before[there] = here
                        self.ahead.append(after)
            except Violation:
                raise self._found(here) from None
        return not self.ahead

    def _found(self, last: int) -> Found:
        """What comes of the state ``last``, with the steps from the start, by numbers that do not change on the way."""
        way = [last]
        while self.before[way[-1]]:
            way.append(self.before[way[-1]])
        state, steps = self.start or self.model.start, list[str]()
        for there in way[-2::-1]:
            label, state = self._step_to(state, there)
            steps.append(" ".join(map(str, label)))
        try:
            deque(self.model.steps(state), maxlen=0)
        except Violation as violation:
            return Found(str(violation), [*steps, str(violation)])
        raise AssertionError("the same state, by other numbers, breaks nothing")

    def _step_to(self, state: State, there: int) -> tuple[Label, State]:
        steps = self.model.steps(state)
        return next((label, after) for label, after in steps if hash(self.model.canonical(after)) == there)


SEARCHES: Final = {
    "three servers": Bounds(clients=0, terms=3, height=3),
    "three servers, slow disks": Bounds(clients=0, terms=2, height=3, slow_disk=True, crashes=1),
    "three servers, four terms": Bounds(clients=0, terms=4, height=3, ballots=4),
    "three servers, four terms, four records": Bounds(clients=0, terms=4, height=4, ballots=4),
    "two clients": Bounds(terms=2, height=3),
    "two clients, three terms": Bounds(terms=3, height=3, ballots=3),
    "two clients, slow disks": Bounds(terms=2, height=3, slow_disk=True, crashes=1),
    "two clients, a restored home": Bounds(terms=2, height=2, restores=True),
    "a candidacy under way": Bounds(clients=0, terms=3, height=3, candidacies=True, crashes=1),
    "a candidacy under way, slow disks": Bounds(
        clients=0, terms=2, height=3, candidacies=True, slow_disk=True, crashes=1
    ),
    "a candidacy under way, two clients": Bounds(terms=2, height=3, candidacies=True, crashes=1),
    "a candidacy under way, four terms": Bounds(clients=0, terms=4, height=2, ballots=4, candidacies=True),
    "other voters": Bounds(terms=2, height=3, voters=(frozenset({0, 1, 3}), frozenset({0, 2, 4}))),
    "one voter more": Bounds(
        terms=3, height=3, ballots=3, voters=(frozenset({0, 1, 2, 3}), frozenset({0, 1, 2, 3, 4}))
    ),
    "a contradicted record": Bounds(clients=0, terms=3, height=3, contradicted=(1, 1)),
    "a contradicted record, two clients": Bounds(terms=2, height=3, contradicted=(1, 1)),
    "a contradicted record, after another": Bounds(clients=0, terms=3, height=4, ballots=3, contradicted=(1, 1, 1)),
}
"""What is searched."""

BEGUN: Final = {
    "three servers, four terms, four records",
    "two clients, three terms",
    "two clients, slow disks",
    "two clients, a restored home",
    "one voter more",
}
"""Those that nobody has searched to the end yet."""


def save(search: Search, file: Path) -> None:
    """Keep a search for another day."""
    kept = search.steps, [*search.before.items()], [_plain(state) for state in search.ahead]
    whole = file.with_suffix(".new")
    whole.write_bytes(marshal.dumps(kept))
    whole.replace(file)


def load(model: Model, file: Path) -> Search:
    """The search that was kept; a new one if there is none."""
    if not file.exists():
        return Search(model)
    steps, before, ahead = marshal.loads(file.read_bytes())  # noqa: S302  # our own file, and data alone
    return Search(model, ahead=deque(map(_state, ahead)), before=dict(before), steps=steps)


def _plain(state: State) -> tuple[Any, ...]:
    peers = tuple(map(tuple, state.peers))
    return (peers, tuple(map(tuple, state.ballots)), *state[2:])


def _state(plain: tuple[Any, ...]) -> State:
    peers, ballots, *rest = plain
    return State(tuple(Peer(*each) for each in peers), tuple(Ballot(*each) for each in ballots), *rest)


def main() -> int:
    """Search for some time; what was not looked at by then is looked at the next time."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("searches", nargs="*", metavar="SEARCH", help=f"all, or some of: {', '.join(SEARCHES)}")
    parser.add_argument("--seconds", type=float, default=60.0, help="processor time for each, at most (60)")
    parser.add_argument(
        "--keep", type=Path, default=Path("election-searches"), help="the folder of unfinished searches"
    )
    chosen = parser.parse_args()
    chosen.keep.mkdir(exist_ok=True)
    for name in chosen.searches or SEARCHES:
        file = chosen.keep / name.replace(" ", "-").replace(",", "")
        search = load(Model(SEARCHES[name]), file)
        began = time.process_time()
        try:
            while not search.go_on(1000) and time.process_time() - began < chosen.seconds:
                pass
        except Found as found:
            sys.stdout.write(f"{name}: {found}\n")
            return 1
        save(search, file)
        done = f"{len(search.ahead):,} ahead" if search.ahead else "that is all"
        took = time.process_time() - began
        sys.stdout.write(f"{name}: {search.seen:,} states, {search.steps:,} steps, {done}; {took:.1f} s now\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
