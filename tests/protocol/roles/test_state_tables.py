"""The tables and diagrams of states in ``docs/protocol.md`` are those of the code."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

import pytest
from attacked import keeping, leading, listening, standing_by
from chains import begun

from protocol.roles import events
from protocol.roles.state_table import Rule, StateTable

SPECIFICATION = Path(__file__).parents[3] / "docs" / "protocol.md"
EVENTS = events.Event.__args__
TABLES: dict[str, StateTable] = {
    "server": leading().machine.machine.table,
    "client": listening(begun()).machine.machine.table,
    "standby": standing_by(begun()).machine.machine.table,
    "keeper": keeping(begun()).machine.machine.table,
}


def printed(table: StateTable) -> str:
    """The table as the specification has it: the function that takes an event, and the next state if it is another."""
    header = ["event", *(state.name.lower() for state in table.rows)]
    rows = [[f"`{kind.__name__}`", *(cell(rules.get(kind)) for rules in table.rows.values())] for kind in EVENTS]
    then = ["after each", *(name_of(table.settle.get(state)) for state in table.rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, ["---"] * len(header), *rows, then))


def cell(rule: Rule | None) -> str:
    """What a rule does: a function's name, and the next state."""
    if rule is None:
        return ""
    then = f" → {rule.to.name.lower()}" if rule.to else ""
    return (name_of(rule.do) or "ignored") + then


def name_of(function: object) -> str:
    """The class and the function."""
    return f"`{function.__qualname__}`" if function is not None else ""


def drawn(table: StateTable) -> str:
    """The diagram as the specification has it: a role that cannot go on is in its last state from anywhere."""
    lines = ["stateDiagram-v2", f"    [*] --> {table.first.name.lower()}"]
    for state, rules in table.rows.items():
        for rule in rules.values():
            if rule.to is not None and rule.to is not state:
                label = rule.on.value if isinstance(rule.on, Enum) else rule.on.__name__
                lines.append(f"    {state.name.lower()} --> {rule.to.name.lower()}: {label}")
    return "\n".join([*lines, f"    {table.last.name.lower()} --> [*]"])


@pytest.mark.parametrize("role", TABLES)
def test_the_specification_prints_the_table_of_the_code(role: str) -> None:
    assert printed(TABLES[role]) in SPECIFICATION.read_text()


@pytest.mark.parametrize("role", TABLES)
def test_the_specification_draws_the_diagram_of_the_code(role: str) -> None:
    assert drawn(TABLES[role]) in SPECIFICATION.read_text()


@pytest.mark.parametrize("role", TABLES)
def test_every_state_but_the_last_leads_to_another(role: str) -> None:
    table = TABLES[role]
    for state, rules in table.rows.items():
        assert any(rule.to not in (None, state) for rule in rules.values()) or state is table.last


if __name__ == "__main__":  # to be pasted into the specification
    for table in TABLES.values():
        print(f"```mermaid\n{drawn(table)}\n```\n\n{printed(table)}\n")  # noqa: T201
