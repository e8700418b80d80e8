"""Two threads may read one type for the first time, because all of our code has it described first."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from crypto.described_types import described

ROOT = Path(__file__).parents[2]
PACKAGES = ("crypto", "protocol", "strategy", "peer")

TWO_THREADS = """
from __future__ import annotations
import threading
from dataclasses import dataclass
import msgspec
from protocol.blocks.packing import packed, unpacked
from protocol.blocks.typed import from_plain

read = []
def beside():
    read.append(READ)
def slow():  # msgspec evaluates it to learn the type of a field, when it has the type of which that is a part
    threads.append(threading.Thread(target=beside))
    threads[0].start()
    threads[0].join(0.3)
    return int
threads = []

KIND
class Inner(BASE):
    part: slow()
KIND
class Outer(BASE):
    inner: Inner
    number: int

read.append(READ)
threads[0].join()
assert [outer.number for outer in read] == [1, 1], read
print("both")
"""


@pytest.mark.parametrize(
    ("kind", "base", "reads"),
    [
        ("@dataclass(frozen=True)", "", "from_plain({'inner': {'part': 2}, 'number': 1}, Outer)"),
        ("", "msgspec.Struct, array_like=True", "unpacked(packed([[2], 1]), Outer)"),
    ],
    ids=["dataclass", "struct"],
)
def test_a_type_can_be_read_while_another_thread_reads_it_for_the_first_time(kind: str, base: str, reads: str) -> None:
    text = TWO_THREADS.replace("KIND", kind).replace("BASE", base).replace("READ", reads)
    process = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", text], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (process.returncode, process.stdout) == (0, "both\n"), process.stderr


def test_a_type_that_cannot_be_read_is_refused_each_time() -> None:
    for _ in range(2):
        with pytest.raises(TypeError):
            described(Path | int)


def test_our_code_reads_nothing_but_described_types() -> None:
    undescribed = [
        f"{path.relative_to(ROOT)}:{call.lineno}: {ast.unparse(call)}"
        for path, tree in modules().items()
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and (kind := kind_read_in(call)) and not kind.startswith("described(")
    ]
    assert undescribed == ["crypto/described_types.py:34: msgspec.msgpack.Decoder(kind)"]


def test_our_code_names_the_functions_of_msgspec_in_full() -> None:
    imported = {
        name.name
        for tree in modules().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("msgspec")
        for name in node.names
    }
    assert imported == {"Meta"}


@cache
def modules() -> dict[Path, ast.Module]:
    """Those of our modules that name msgspec."""
    texts = {path: path.read_text() for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    return {path: ast.parse(text) for path, text in texts.items() if "msgspec" in text}


def kind_read_in(call: ast.Call) -> str:
    """The type that msgspec is given to read in this call; empty if it is given none."""
    named = [each.value for each in call.keywords if each.arg == "type"]
    match ast.unparse(call.func).split("."):
        case ["msgspec", "convert"]:
            kinds = call.args[1:] + named
        case ["msgspec", "json" | "msgpack", "decode"]:
            kinds = named
        case ["msgspec", "json" | "msgpack", "Decoder"]:
            kinds = call.args[:1] + named
        case _:
            kinds = []
    return "".join(map(ast.unparse, kinds[:1]))
