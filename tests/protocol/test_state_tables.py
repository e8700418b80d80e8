"""The tables of states by events in ``protocol/README.md`` are those of the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from protocol import events
from protocol.client import Client
from protocol.leader import Leader
from protocol.machine import Machine

README = Path(__file__).parents[2] / "protocol" / "README.md"
EVENTS = [kind.__name__ for kind in events.Event.__args__]


def table(machine: type[Machine]) -> str:
    """The table as the README has it: the method that takes an event, or nothing where it may not come."""
    rows = [
        [
            event,
            *(
                by_type.get(getattr(events, event), "").lstrip("_").replace("_", " ")
                for by_type in machine.TABLE.values()
            ),
        ]
        for event in EVENTS
    ]
    header = ["event", *(state.name.lower() for state in machine.TABLE)]
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


@pytest.mark.parametrize("machine", [Leader, Client], ids=["server", "client"])
def test_the_readme_prints_the_table_of_the_code(machine: type[Machine]) -> None:
    assert table(machine) in README.read_text()


@pytest.mark.parametrize("machine", [Leader, Client], ids=["server", "client"])
def test_every_event_is_taken_by_a_method_there_is(machine: type[Machine]) -> None:
    methods = {method for by_type in machine.TABLE.values() for method in by_type.values()}
    assert all(callable(getattr(machine, method, None)) for method in methods)


if __name__ == "__main__":
    print(table(Leader), table(Client), sep="\n\n")  # noqa: T201  # to be pasted into the README
