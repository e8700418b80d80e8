"""Makes .venv as requirements/ pins it. scripts/setup runs this with a Python that fits.

It uses only the standard library, because it runs before anything is installed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
UV = VENV / "bin" / "uv"
REQUIREMENTS = ROOT / "requirements"
GROUPS = ("run", "dev")
"""Each group includes the ones before it."""
SEE_ABOVE = "see its message above, then call it again"


class SetupError(Exception):
    """What happened and, after a newline, the command that fixes it."""


def main(arguments: list[str]) -> int:
    """Make `.venv` for the group in the arguments. Returns the exit code."""
    if len(arguments) != 1 or arguments[0] not in GROUPS:
        print(f"usage: scripts/setup [{'|'.join(GROUPS)}]", file=sys.stderr)
        return 2
    group = max(arguments[0], group_of(read_stamp()), key=GROUPS.index)
    try:
        if not is_made(group):
            with alone():
                if not is_made(group):  # another process may have made it while this one waited
                    make(group)
                    say(f"done; source {VENV}/bin/activate gives you the peer command")
    except SetupError as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    return 0


def group_of(text: str) -> str:
    """The group that `.venv` was made for, maybe with other pins. It stays: a benchmark must not remove test tools."""
    return next((group for group in GROUPS if f"\n{group} " in text), GROUPS[0])


def is_made(group: str) -> bool:
    """Whether `.venv` has this group, or one that includes it, as it is pinned now."""
    wider = GROUPS[GROUPS.index(group) :]
    return PYTHON.exists() and read_stamp() in {stamp(each) for each in wider}


def make(group: str) -> None:
    """Install a group: the interpreter, uv, the pinned requirements, then this checkout."""
    told = "" if sys.stdout.isatty() else "--quiet"
    if not read_stamp().startswith(f"{ROOT}\n") or not works(PYTHON):
        say(f"making {VENV}")
        make_empty()
    write_stamp(f"{ROOT}\nunfinished\n")
    say(f"installing requirements/{group}.txt (the first time several GB are fetched, most of it torch)")
    uv("pip", "sync", told, "--require-hashes", "--compile-bytecode", "--build-constraints",
       str(REQUIREMENTS / "build.txt"), str(REQUIREMENTS / f"{group}.txt"), fix=fix_of_a_build())  # fmt: skip
    uv("pip", "install", told, "--no-deps", "--no-build-isolation", "--editable", str(ROOT))
    write_stamp(stamp(group))


def make_empty() -> None:
    """Make a virtual environment with only the pinned uv."""
    fix = f"apt install python3-venv python3-dev gcc (Debian), or POLLEN_PYTHON=/path/to/python3 {ROOT}/scripts/setup"
    run(sys.executable, "-m", "venv", "--clear", str(VENV), fix=fix)
    run(str(PYTHON), "-m", "pip", "install", "--quiet", "--require-hashes", "--no-deps",
        "-r", str(REQUIREMENTS / "uv.txt"))  # fmt: skip


def fix_of_a_build() -> str:
    """What to do if the requirements cannot be installed. cbrrr comes as C source only, so it needs a compiler."""
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) and (Path(sysconfig.get_path("include")) / "Python.h").exists():
        return SEE_ABOVE
    return (
        f"{SEE_ABOVE}. If it could not build cbrrr: that comes as C source, but {compiler} or\n"
        "       Python.h is missing: apt install gcc python3-dev (Debian, Ubuntu), xcode-select --install (macOS)"
    )


def uv(*arguments: str, fix: str = SEE_ABOVE) -> None:
    """Run the pinned uv on `.venv`, whichever environment is active."""
    run(str(UV), *(each for each in arguments if each), "--python", str(PYTHON), fix=fix)


def run(*command: str, fix: str = SEE_ABOVE) -> None:
    """Run a command to its end."""
    try:
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise SetupError(f"cannot start {command[0]}: {error.strerror}\nfix:   {fix}") from None
    except subprocess.CalledProcessError as error:
        what = f"{shlex.join(command)}\n       ended with exit code {error.returncode}"
        raise SetupError(f"{VENV} could not be set up:\n       {what}\nfix:   {fix}") from None


def works(python: Path) -> bool:
    """Whether this interpreter still starts. An upgrade of the system may have broken it."""
    return python.exists() and subprocess.run([python, "-I", "-c", ""], check=False).returncode == 0


def stamp(group: str) -> str:
    """What `.venv` is made from: this folder, which its scripts name, and the contents of the files that matter."""
    digest = hashlib.sha256()
    for path in (REQUIREMENTS / "build.txt", REQUIREMENTS / f"{group}.txt", ROOT / "pyproject.toml", Path(__file__)):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return f"{ROOT}\n{group} {digest.hexdigest()}\n"


def read_stamp() -> str:
    """What `.venv` was made from; empty if nothing tells."""
    path = VENV / "pollen-stamp"
    return path.read_text() if path.exists() else ""


def write_stamp(text: str) -> None:
    """Write the stamp atomically."""
    new = VENV / "pollen-stamp.new"
    new.write_text(text)
    new.replace(VENV / "pollen-stamp")


@contextmanager
def alone() -> Iterator[None]:
    """Allow one setup of a checkout at a time. The lock is on the folder requirements/, and ends with the process."""
    folder = os.open(REQUIREMENTS, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another setup of this checkout")
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def say(text: str) -> None:
    """Tell people the progress. Stdout stays free for the output of scripts."""
    print(f"setup: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
