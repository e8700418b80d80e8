"""The tables of threats in docs/threats.md: every claim names a test, and the tests are there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ATTACKERS = (
    "Outsider on the wire",
    "Another user of a peer's machine",
    "IPFS node operator",
    "Curious client",
    "Malicious client",
    "Malicious server",
    "Keeper",
    "Stolen key",
    "Hostile app",
)
SECTION = (ROOT / "docs" / "threats.md").read_text().partition("## Who can do what\n")[2].partition("\n## ")[0]
ROWS = [line[1:-1].split("|") for line in SECTION.splitlines() if line.startswith("|") and "---" not in line]
CELLS = [cell.strip() for _, *claims in ROWS for cell in claims if cell.strip() not in ("", "can", "cannot")]
LONGEST = 320
"""Characters of a cell, the addresses of its tests included."""
CLAIMS = re.compile(r"\]\(\.\./(tests/[^)#]+)#(\w+)\)")


def functions_of(file: Path) -> set[str]:
    """Those that the ordinary run runs: neither they nor their module are marked for ``--all`` alone."""
    module = ast.parse(file.read_text())
    marks = [node.value for node in module.body if isinstance(node, ast.Assign) and "pytestmark" in ast.dump(node)]
    return {
        node.name
        for node in ast.walk(module)
        if isinstance(node, ast.FunctionDef) and not any(map(_is_for_all, (*marks, *node.decorator_list)))
    }


def _is_for_all(mark: ast.expr) -> bool:
    """Whether ``mark`` says that a test, or one parameter of it, runs only with ``--all``."""
    return any(ast.unparse(each) == "pytest.mark.all" for each in (mark.elts if isinstance(mark, ast.List) else [mark]))


def test_every_attacker_has_a_table() -> None:
    assert tuple(re.findall(r"(?m)^\*\*([^:*]+)", SECTION)) == ATTACKERS
    assert SECTION.count("| | can | cannot |") == len(ATTACKERS)


def test_no_cell_is_longer_than_one_reads() -> None:
    assert [cell for cell in CELLS if len(cell) > LONGEST] == []


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell[:30])
def test_every_cell_names_tests_that_are_there_and_run_each_time(cell: str) -> None:
    claims = CLAIMS.findall(cell)
    assert claims
    assert len(claims) == cell.count("](")
    assert [claim for claim in claims if claim[1] not in functions_of(ROOT / claim[0])] == []
