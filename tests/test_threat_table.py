"""The table of threats in docs/threats.md: every claim names a test, and the tests are there."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ATTACKERS = (
    "outsider on the wire",
    "another user of a peer's machine",
    "IPFS node operator",
    "curious client",
    "malicious client",
    "malicious server",
    "stolen key",
)
_SECTION = re.search(r"## Who can do what\n(.*?)\nNot protected", (ROOT / "docs" / "threats.md").read_text(), re.DOTALL)
ROWS = [line.strip("| ").split(" | ") for line in (_SECTION[1] if _SECTION else "").splitlines() if "**" in line]
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
    """Of the parameters of a test some may be."""
    return any(ast.unparse(each) == "pytest.mark.all" for each in (mark.elts if isinstance(mark, ast.List) else [mark]))


def test_every_attacker_has_a_row() -> None:
    assert tuple(re.findall(r"^\*\*([^:*]+)", row[0])[0] for row in ROWS) == ATTACKERS


@pytest.mark.parametrize("cell", [cell for row in ROWS for cell in row[1:]], ids=lambda cell: cell[:30])
def test_every_cell_names_tests_that_are_there_and_run_each_time(cell: str) -> None:
    claims = CLAIMS.findall(cell)
    assert claims
    assert len(claims) == cell.count("](")
    assert [claim for claim in claims if claim[1] not in functions_of(ROOT / claim[0])] == []
