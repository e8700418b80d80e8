"""What only POSIX has is behind one file, so that a port knows what it has to write anew."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from peer.base import posix

ROOT = Path(__file__).parents[3]
MODULES = {"fcntl", "pwd", "grp", "resource", "termios", "tty", "pty", "syslog"}
"""The standard library's that Windows does not have."""
NAMES = {
    *("os.fork", "os.getuid", "os.geteuid", "os.getgid", "os.getpgid", "os.killpg", "os.setsid", "os.umask"),
    *("os.chown", "os.mkfifo", "socket.AF_UNIX"),
}


def used(source: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(source.read_text())):
        match node:
            case ast.Import(names=names):
                yield from (each.name for each in names if each.name in MODULES)
            case ast.ImportFrom(module=str() as module) if module in MODULES:
                yield module
            case ast.Attribute(value=ast.Name(id=module), attr=name) if f"{module}.{name}" in NAMES:
                yield f"{module}.{name}"


def test_what_only_posix_has_is_used_in_one_file_and_for_the_apps_process() -> None:
    found = {
        str(source.relative_to(ROOT)): names
        for package in ("crypto", "protocol", "strategy", "peer")
        for source in (ROOT / package).rglob("*.py")
        if (names := sorted(set(used(source)))) and "confinement" not in source.parts
    }
    assert found == {
        "peer/base/posix.py": found["peer/base/posix.py"],
        # what a confined app may write, and have in memory; strategy is below peer
        "strategy/contents/array_files.py": ["resource"],
        "strategy/hosting/paged_distances.py": ["resource"],
    }


def test_windows_is_told_where_pollen_runs() -> None:
    code = "import sys; sys.platform = 'win32'; import peer.base.posix"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "fix: wsl --install" in done.stderr


def test_a_lock_that_is_held_is_not_taken(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as ours, (tmp_path / "lock").open("w") as other:
        posix.lock(ours)
        with pytest.raises(BlockingIOError):
            posix.try_lock(other)


def test_a_new_file_is_never_more_open_than_asked(tmp_path: Path) -> None:
    with posix.new_files_have(0o600):
        os.close(os.open(tmp_path / "secret", os.O_CREAT | os.O_WRONLY, 0o666))
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
