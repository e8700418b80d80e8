"""`peer.apps.child_processes`: no process of an app is missed because it is just starting, or already ending."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from peer.apps import child_processes
from peer.apps.child_processes import MARK, Marked

OURS = f"A=1\0{MARK}=one\0".encode()


class Shown:
    """A real process, and what the system shows of it meanwhile."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(["sleep", "600"])
        self.folder = folder / str(self.process.pid)
        self.folder.mkdir()
        (self.folder / "exe").symlink_to("/bin/sleep")
        self.show("R", b"", b"")

    def show(self, state: str, environment: bytes, command: bytes) -> None:
        (self.folder / "stat").write_text(f"{self.process.pid} (a) b) {state} 1 1 1")
        (self.folder / "environ").write_bytes(environment)
        (self.folder / "cmdline").write_bytes(command)


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shown]:
    monkeypatch.setattr(child_processes, "_PROCESSES", tmp_path)
    shown = Shown(tmp_path)
    yield shown
    shown.process.kill()
    shown.process.wait()


def test_a_process_that_is_just_starting_may_be_one_of_the_apps_and_is_signalled_once_that_shows(shown: Shown) -> None:
    marked = Marked("one")

    assert marked.signal(signal.SIGKILL)
    assert shown.process.poll() is None
    shown.show("R", OURS, b"sleep")
    assert marked.signal(signal.SIGKILL)
    assert shown.process.wait() == -signal.SIGKILL


def test_one_that_is_ending_has_no_mark_any_more_and_counts_until_it_has_ended(shown: Shown) -> None:
    marked = Marked("one")
    shown.show("S", OURS, b"sleep")
    assert marked.signal(signal.SIGTERM)

    (shown.folder / "exe").unlink()
    shown.show("R", b"", b"")
    assert marked.signal(0)

    shown.show("Z", b"", b"")
    assert not marked.signal(0)


@pytest.mark.parametrize(
    ("environment", "command", "has_program"),
    [(b"", b"sleep", True), (b"", b"", False), (OURS.replace(b"one", b"two"), b"sleep", True)],
    ids=["without an environment", "the kernel's", "another app's"],
)
def test_no_other_process_is_waited_for_or_signalled(
    environment: bytes, command: bytes, has_program: bool, shown: Shown
) -> None:
    shown.show("S", environment, command)
    if not has_program:
        (shown.folder / "exe").unlink()

    assert not Marked("one").signal(signal.SIGKILL)
    assert shown.process.poll() is None
