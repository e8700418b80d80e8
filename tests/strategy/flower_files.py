"""Which files of Flower Pollen relies on, and what was in them when somebody last read them.

Pollen retells the arithmetic of Flower's strategies, to know which replies they would raise on and what rounding can
cause; and it imports some names that Flower does not promise. So each file counts: a name that stays may mean
something else.

    python tests/strategy/flower_files.py        # after reading what changed: note the installed Flower's files as read
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[2]
NOTED = Path(__file__).with_name("flower_files.json")
STRATEGIES = ("flwr.serverapp.strategy", "flwr.server.strategy")
"""Packages of which each module counts."""


@cache
def relied_on() -> dict[str, str]:
    """Each file of the installed Flower that `strategy` imports from, by its path in the package, with its SHA-256."""
    found = {path for module in {*_imported(), *STRATEGIES} for path in _files(module)}
    flower = _place("flwr").parent
    return {
        path.relative_to(flower).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(found)
    }


def noted() -> dict[str, dict[str, str]]:
    """For each file, the SHA-256s that it was read with, each with the first release that had it."""
    known: dict[str, dict[str, str]] = json.loads(NOTED.read_text())
    return known


def _imported() -> Iterator[str]:
    """The modules of Flower that `strategy` imports."""
    for source in (ROOT / "strategy").rglob("*.py"):
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "flwr":
                assert node.module is not None
                yield node.module
                for name in node.names:  # each may be a module
                    if _spec(f"{node.module}.{name.name}"):
                        yield f"{node.module}.{name.name}"


def _files(module: str) -> Iterator[Path]:
    place = _place(module)
    yield place
    if module in STRATEGIES:
        yield from (path for path in place.parent.glob("*.py") if not path.name.endswith("_test.py"))


def _place(module: str) -> Path:
    assert _spec(module), f"Flower {metadata.version('flwr')} has no {module}, which strategy imports"
    spec = find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin)


def _spec(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def note() -> None:
    """Note what the installed Flower has."""
    known = noted() if NOTED.exists() else {}
    version = metadata.version("flwr")
    for path, digest in relied_on().items():
        known.setdefault(path, {}).setdefault(digest, version)
    NOTED.write_text(json.dumps({path: known[path] for path in sorted(known)}, indent=1) + "\n")


if __name__ == "__main__":
    note()
