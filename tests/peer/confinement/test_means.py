"""Each means of confinement refuses a process all that it was not granted, whoever runs it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from peer.confinement.means import ALL, Means, existing, works_not
from peer.confinement.rules import SYSTEM, Confinement

ATTACK = Path(__file__).with_name("attack.py")
NOBODY = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
SYSTEM_PYTHON = "/usr/bin/python3"
"""One that other users may run, too: the tests' own may lie in a home."""

ALLOWED = {
    "read what is granted",
    "write where it works",
    "write a temporary file",
    "share memory",
    "start a process",
    "speak to itself",
}

every_means = pytest.mark.parametrize("means", ALL, ids=[means.name for means in ALL])


@dataclass(frozen=True)
class World:
    """What a hostile process would like to reach, and the folders of its own."""

    root: Path
    places: dict[str, object]
    victim: subprocess.Popen[bytes]

    @property
    def own(self) -> tuple[Path, Path]:
        """Its ``/tmp``, and where it works."""
        return self.root / "tmp", self.root / "work"


@pytest.fixture
def world() -> Iterator[World]:
    """All of it open to every user of the machine, so that nothing but the confinement refuses it."""
    with TemporaryDirectory(prefix="pollen-world-") as folder, ExitStack() as stack:
        root = Path(folder)
        for name in ("home/.ssh/id", "home/keys/one.key", "read/data"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text("secret")
        for name in ("tmp", "work"):
            (root / name).mkdir()
        for path in (root, *root.rglob("*")):
            path.chmod(0o777)
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        for address in ("\0" + folder, str(root / "home" / "socket")):
            stack.enter_context(end := socket.socket(socket.AF_UNIX)).bind(address)
            end.listen()
        (root / "home" / "socket").chmod(0o777)
        victim = subprocess.Popen(["sleep", "600"], env={"SECRET": "passphrase"})
        stack.callback(victim.wait)
        stack.callback(victim.kill)
        places = {"port": listener.getsockname()[1], "abstract": folder, "socket": str(root / "home" / "socket")}
        yield World(root, {**places, "home": f"{root}/home", "read": f"{root}/read", "peer": victim.pid}, victim)


def confinement(world: World, *, network: bool = False) -> Confinement:
    read = (*existing(SYSTEM), world.root / "read", ATTACK, *map(Path, (sys.prefix, sys.base_prefix)))
    return Confinement(read, (world.own[1],), memory=1 << 30, network=network)


def attacked(world: World, before: list[str], python: str = sys.executable) -> dict[str, str]:
    """What became of each attack of a process that is started by the words ``before``."""
    command = [*before, python, "-I", "-S", str(ATTACK), json.dumps(world.places)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=world.own[1], check=False, timeout=60)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def skip_unless(means: Means) -> None:
    if why := works_not(means):
        pytest.skip(why)


@every_means
def test_a_confined_process_reaches_what_it_is_granted_and_nothing_else(means: Means, world: World) -> None:
    skip_unless(means)

    found = attacked(world, means.prefix(confinement(world), *world.own))

    assert {name for name, said in found.items() if said == "done"} == ALLOWED, found
    assert world.victim.poll() is None


@every_means
def test_one_that_another_user_runs_neither(means: Means, world: World) -> None:
    skip_unless(means)
    if os.getuid() != 0 or shutil.which("setpriv") is None or not Path(SYSTEM_PYTHON).exists():
        pytest.skip("takes root, setpriv and a Python that all may run")
    allowed = Confinement((*existing(SYSTEM), world.root / "read", world.root / "attack.py"), (world.own[1],), 1 << 30)
    shutil.copy(ATTACK, world.root / "attack.py")
    before = [SYSTEM_PYTHON if word == sys.executable else word for word in means.prefix(allowed, *world.own)]
    enter = Path(sys.modules["peer.confinement.namespaces"].__file__ or "").with_name("enter.py")
    shutil.copy(enter, world.root / "enter.py")
    before = [word.replace(str(enter), str(world.root / "enter.py")) for word in before]

    command = [*NOBODY, *before, SYSTEM_PYTHON, "-I", str(world.root / "attack.py"), json.dumps(world.places)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=world.own[1], check=False, timeout=60)

    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    assert {name for name, said in found.items() if said == "done"} == ALLOWED, found


def test_without_confinement_the_same_process_does_all_that_its_user_may(world: World) -> None:
    done = {name for name, said in attacked(world, []).items() if said == "done"}

    assert done >= ALLOWED | {"read ~/.ssh", "write outside", "connect to an abstract socket", "signal the peer"}
