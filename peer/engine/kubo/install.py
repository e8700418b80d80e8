"""Installing Kubo: built with Go, whose checksum database vouches for the source. Without Go, or if that fails, the
official release, checked against the SHA-512 that both of its places publish.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import tarfile
import tempfile
import urllib.request
from pathlib import Path
from typing import Final

from peer.base import posix
from peer.base.errors import ExitCode, PeerError
from peer.base.terminal import say
from peer.engine.interface import EngineError
from peer.engine.kubo.program import BUILT_VERSION, new_enough

MODULE: Final = f"github.com/ipfs/kubo@v{BUILT_VERSION}"
RELEASES: Final = (
    f"https://dist.ipfs.tech/kubo/v{BUILT_VERSION}",
    f"https://github.com/ipfs/kubo/releases/download/v{BUILT_VERSION}",
)
"""The same files at two places: the archive comes from the first that has it, and all SHA-512s must agree."""
_ARCHITECTURES: Final = {
    "x86_64": "amd64",
    "amd64": "amd64",
    "aarch64": "arm64",
    "arm64": "arm64",
    "riscv64": "riscv64",
}
_SYSTEMS: Final = ("linux", "darwin", "freebsd")
_MAX_ARCHIVE: Final = 200 << 20
_MAX_DIGEST: Final = 4096
_SECONDS: Final = 60

BY_HAND: Final = (
    "install Kubo yourself (https://docs.ipfs.tech/install/command-line/) and name it: "
    "export POLLEN_KUBO=/path/to/ipfs; or use no IPFS: --ipfs local:DIR"
)


class _Failure(Exception):
    """One way to get the program did not work. The message says why."""


def install(target: Path) -> None:
    """Put the program at ``target``, whole or not at all. If another process does the same, wait, and find it there.

    Raises:
        PeerError: if there is no way to get it here, or the place cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with (target.parent / "lock").open("w") as lock:
            posix.lock(lock)
            if _why_unusable(target):
                with tempfile.TemporaryDirectory(dir=target.parent, prefix="unfinished-") as work:
                    fresh = _obtain(Path(work))
                    if why := _why_unusable(fresh):
                        raise _Failure(f"the new program is not a working Kubo {BUILT_VERSION} on this machine: {why}")
                    fresh.replace(target)
                say(f"installed {target}")
    except _Failure as failure:
        raise PeerError(str(failure), fix=BY_HAND, code=ExitCode.UNFINISHED) from None
    except OSError as error:
        raise PeerError(f"cannot write to {target.parent}: {error}", fix=BY_HAND, code=ExitCode.UNFINISHED) from error


def _why_unusable(program: Path) -> str:
    """Why a program will not do; empty if it will."""
    try:
        new_enough(program)
    except EngineError as error:
        return str(error)
    return ""


def _obtain(work: Path) -> Path:
    """Make a program in the folder ``work``, by the first way that works."""
    whys = []
    for way in (_build, _download):
        try:
            return way(work)
        except _Failure as failure:
            say(str(failure))
            whys.append(str(failure))
    raise _Failure(f"there is no ipfs program, and none could be installed: {'; '.join(whys)}")


def _build(work: Path) -> Path:
    """Build it with Go, in a copy of the source, because the module cache is read-only."""
    if not shutil.which("go"):
        raise _Failure("Go is not installed, so Kubo cannot be built")
    say(f"building Kubo {BUILT_VERSION} with Go (about two minutes, once)")
    module = json.loads(_run_go("mod", "download", "-json", MODULE, cwd=work) or "{}")
    if "Dir" not in module:
        raise _Failure(f"Go has no {MODULE}: {module.get('Error', 'no folder')}")
    source = work / "source"
    shutil.copytree(module["Dir"], source, copy_function=_copy_writable)
    for folder, _, _ in os.walk(source):
        os.chmod(folder, 0o755)
    program = work / "ipfs"
    _run_go("build", "-trimpath", "-o", str(program), "./cmd/ipfs", cwd=source)
    return program


def _copy_writable(source: str, target: str) -> None:
    """Copy one file so that it can be removed."""
    shutil.copyfile(source, target)
    os.chmod(target, 0o644)


def _run_go(*arguments: str, cwd: Path) -> str:
    """What ``go`` prints. If it fails, its last line is the reason."""
    environment = {**os.environ, "CGO_ENABLED": "0"}
    done = subprocess.run(["go", *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()[-1]
        raise _Failure(f"go {arguments[0]} failed: {last}")
    return done.stdout


def _download(work: Path) -> Path:
    """Download the official release for this machine."""
    system, machine = platform.system().lower(), platform.machine().lower()
    if system not in _SYSTEMS or machine not in _ARCHITECTURES:
        raise _Failure(f"there is no official Kubo for {platform.system()} on {platform.machine()}")
    name = f"kubo_v{BUILT_VERSION}_{system}-{_ARCHITECTURES[machine]}.tar.gz"
    expected = _published_sha512(name)
    archive = work / name
    archive.write_bytes(_archive_bytes(name))
    found = hashlib.sha512(archive.read_bytes()).hexdigest()
    if found != expected:
        raise _Failure(f"{name} has the SHA-512 {found}, but {expected} is published: not installed")
    return _unpack(archive, work / "ipfs")


def _archive_bytes(name: str) -> bytes:
    """The archive, from the first place that has it."""
    whys = []
    for place in RELEASES:
        say(f"downloading {place}/{name}")
        try:
            return _fetch(f"{place}/{name}", _MAX_ARCHIVE)
        except _Failure as failure:
            whys.append(str(failure))
    raise _Failure("; ".join(whys))


def _published_sha512(name: str) -> str:
    """The SHA-512 that the places of the release publish. One must answer, and all that answer must agree."""
    digests, whys = set(), []
    for place in RELEASES:
        try:
            words = _fetch(f"{place}/{name}.sha512", _MAX_DIGEST).decode("ascii", "replace").split()
        except _Failure as failure:
            whys.append(str(failure))
            continue
        if not words or not re.fullmatch("[0-9a-f]{128}", words[0]):
            raise _Failure(f"{place}/{name}.sha512 holds no SHA-512")
        digests.add(words[0])
    if not digests:
        raise _Failure("; ".join(whys))
    if len(digests) > 1:
        raise _Failure(f"{' and '.join(RELEASES)} publish different SHA-512s for {name}: not installed")
    return digests.pop()


def _fetch(url: str, limit: int) -> bytes:
    """Download the bytes at ``url``, at most ``limit``."""
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS) as answer:
            data: bytes = answer.read(limit + 1)
    except (OSError, ValueError) as error:  # URLError and time-outs are OSErrors
        raise _Failure(f"cannot download {url}: {error}") from error
    if len(data) > limit:
        raise _Failure(f"{url} is larger than {limit} bytes")
    return data


def _unpack(archive: Path, program: Path) -> Path:
    """Take the program out of the archive."""
    try:
        with tarfile.open(archive) as tar:
            member = tar.extractfile("kubo/ipfs")
            if member is None:
                raise _Failure(f"{archive.name} holds no program kubo/ipfs")
            with contextlib.closing(member), program.open("wb") as out:
                shutil.copyfileobj(member, out)
    except (tarfile.TarError, KeyError) as error:
        raise _Failure(f"{archive.name} holds no program kubo/ipfs: {error}") from error
    program.chmod(0o755)
    return program
