"""The memory of a process that has keys is its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PRIVATE = "from peer.base.secrecy import keep_memory_private; keep_memory_private(); "


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux has this, and tests of it")
@pytest.mark.parametrize(("before", "dumpable"), [(PRIVATE, "0"), ("", "1")], ids=["private", "else"])
def test_a_process_is_not_dumpable(before: str, dumpable: str) -> None:
    assert python(before + "import ctypes; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))").stdout.strip() == dumpable


def test_a_crash_leaves_no_core_file(tmp_path: Path) -> None:
    code = PRIVATE + f"import os; os.chdir({str(tmp_path)!r}); os.abort()"
    process = os.posix_spawn(sys.executable, [sys.executable, "-c", code], {**os.environ, "PYTHONPATH": str(ROOT)})
    _, status = os.waitpid(process, 0)
    assert os.WIFSIGNALED(status)
    assert not os.WCOREDUMP(status)
    assert list(tmp_path.iterdir()) == []


def test_the_program_begins_with_it() -> None:
    code = (
        "import sys, peer.cli.main as program; sys.argv = ['peer', '--help']\n"
        "try:\n    program.main()\nexcept SystemExit:\n    import ctypes; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    )
    assert python(code).stdout.rstrip().endswith("\n0")
