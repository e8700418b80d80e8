"""A home belongs to one running peer, and its files are replaced whole."""

from __future__ import annotations

import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from peer.base.errors import ExitCode, PeerError
from peer.home.home import Home, replace_file

HOLDER = """
import sys
from pathlib import Path
from peer.home.home import Home
with Home(Path(sys.argv[1])).lock():
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the home."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


def test_a_home_is_its_owners_alone(tmp_path: Path) -> None:
    home = Home(tmp_path / "a" / "home").create()
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700
    assert not home.open_to_others


def test_a_home_that_others_may_open_says_so(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    assert Home(tmp_path).open_to_others


def test_a_home_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PeerError, match="cannot be made"):
        Home(tmp_path / "file" / "home").create()


def test_a_second_peer_is_refused_with_the_process_of_the_first(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(PeerError, match=f"process {holder.pid}") as raised, Home(tmp_path).lock():
        pass
    assert raised.value.exit_code is ExitCode.WRONG_USE
    assert "--home" in raised.value.fix


def test_a_killed_peer_frees_its_home(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    with Home(tmp_path).lock():
        pass


def test_a_child_process_does_not_keep_the_home(tmp_path: Path) -> None:
    with Home(tmp_path).lock():
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with Home(tmp_path).lock():
        pass
    child.kill()
    child.communicate()


def test_a_file_is_replaced_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    replace_file(path, [b"n", b"ew"])
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_whose_parts_fail_is_left_as_it_was(tmp_path: Path) -> None:
    def parts() -> Iterator[bytes]:
        yield b"half"
        raise KeyboardInterrupt

    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        replace_file(path, parts())
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("file", b"old")]
