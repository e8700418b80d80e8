"""The tables and diagrams of states in ``docs/protocol.md`` are those of the code."""

from __future__ import annotations

from pathlib import Path

import pytest
from attacked import leading, listening
from chains import begun

from protocol.roles import events
from protocol.roles.table import Table

SPECIFICATION = Path(__file__).parents[3] / "docs" / "protocol.md"
EVENTS = events.Event.__args__
TABLES: dict[str, Table] = {
    "server": leading().machine._machine._table,
    "client": listening(begun()).machine._machine._table,
}


def printed(table: Table) -> str:
    """The table as the specification has it: the function that takes an event, and the next state if it is another."""
    header = ["event", *(state.name.lower() for state in table.rows)]
    rows = [[f"`{kind.__name__}`", *(cell(rules.get(kind)) for rules in table.rows.values())] for kind in EVENTS]
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, ["---"] * len(header), *rows))


def cell(rule: object) -> str:
    if rule is None:
        return ""
    then = f" → {rule.to.name.lower()}" if rule.to else ""
    return f"`{rule.do.__qualname__}`{then}"


@pytest.mark.parametrize("role", TABLES)
def test_the_specification_prints_the_table_of_the_code(role: str) -> None:
    assert printed(TABLES[role]) in SPECIFICATION.read_text()


if __name__ == "__main__":
    print(*(printed(table) for table in TABLES.values()), sep="\n\n")  # noqa: T201  # to be pasted into it
