"""What a test tells of a process that broke in native code."""

from __future__ import annotations

from pathlib import Path

import processes_said
import pytest
from federation import PeerProcess


class Crashing(PeerProcess):
    """A process that follows a null pointer."""

    module = "timeit"

    def __init__(self, log: Path) -> None:
        super().__init__("one", ["-n1", "import faulthandler; faulthandler._sigsegv()"], log, {})


def test_a_crash_is_told_with_the_place_whatever_code_is_expected(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=r"(?s)^one crashed with SIGSEGV.*Current thread.*timeit"):
        Crashing(tmp_path / "one.log").code()


def test_a_failure_tells_what_each_process_said_at_last(tmp_path: Path) -> None:
    Crashing(tmp_path / "one-0.log").process.wait()

    ((title, said),) = processes_said.sections()

    assert title == "one said at last (one-0.log)"
    assert "Current thread" in said
