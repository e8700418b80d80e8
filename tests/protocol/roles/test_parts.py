"""A role holds its parts: none of them inherits from another, and none leaves a method for a subclass."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import protocol.roles

ROLES = Path(protocol.roles.__file__).parent
FILES = sorted(ROLES.rglob("*.py"))
MAY_BE_BASES = {"Enum", "StrEnum", "Exception", "Lost", "Generic", "MemoryBlocks", "Protocol"}


def names_of(path: Path) -> str:
    return str(path.relative_to(ROLES))


def bases(path: Path) -> set[str]:
    """What the classes in a file inherit from."""
    classes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef)]
    named = (base.value if isinstance(base, ast.Subscript) else base for each in classes for base in each.bases)
    return {ast.unparse(base) for base in named}


@pytest.mark.parametrize("path", FILES, ids=names_of)
def test_no_part_inherits_from_another(path: Path) -> None:
    assert bases(path) <= MAY_BE_BASES


@pytest.mark.parametrize("path", FILES, ids=names_of)
def test_no_method_is_left_to_be_filled_in(path: Path) -> None:
    assert "NotImplementedError" not in path.read_text()


@pytest.mark.parametrize("path", [path for path in FILES if path.name != "machine.py"], ids=names_of)
def test_the_machine_alone_assigns_the_state(path: Path) -> None:
    assigned = [
        target
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Assign)
        for target in node.targets
    ]
    assert not [each for each in assigned if ast.unparse(each).endswith("machine.state")]
