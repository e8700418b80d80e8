"""Each means of confinement refuses a process all that it was not granted, whoever runs it."""

from __future__ import annotations

import errno
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

from peer.apps.app_python import OUR_PYTHON, with_another_id
from peer.confinement.machine import OUR_ROOT, existing
from peer.confinement.means import ALL, Means, words_before, works_not
from peer.confinement.rules import SYSTEM, Confinement
from peer.confinement.system_calls import ABSENT, FORBIDDEN, PROCESSORS

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
        yield World(
            root, {**places, "calls": {}, "home": f"{root}/home", "read": f"{root}/read", "peer": victim.pid}, victim
        )


def confinement(world: World, *, network: bool = False) -> Confinement:
    read = (*existing(SYSTEM), world.root / "read", ATTACK, OUR_ROOT, *map(Path, (sys.prefix, sys.base_prefix)))
    return Confinement(read, (world.own[1],), memory=1 << 30, disk=1 << 30, network=network)


def attacked(world: World, before: list[str], python: str = sys.executable) -> dict[str, str]:
    """What became of each attack of a process that is started by the words ``before``."""
    command = [*before, python, "-I", "-S", str(ATTACK), json.dumps(world.places)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=world.own[1], check=False, timeout=60)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def calls() -> dict[str, int]:
    """The number of each call that is refused."""
    column = PROCESSORS[os.uname().machine].column
    return {name: number for name, both in (FORBIDDEN | ABSENT).items() if (number := both[column]) is not None}


def assert_is_confined(found: dict[str, str]) -> None:
    assert {name for name, said in found.items() if said == "done"} == ALLOWED, found
    assert {found[name] for name in calls() if name in FORBIDDEN} == {f"refused: {os.strerror(errno.EPERM)}"}, found
    assert {found[name] for name in calls() if name in ABSENT} == {f"refused: {os.strerror(errno.ENOSYS)}"}, found


def skip_unless(means: Means) -> None:
    if why := works_not(means):
        pytest.skip(why)


@every_means
def test_a_confined_process_reaches_what_it_is_granted_and_nothing_else(means: Means, world: World) -> None:
    skip_unless(means)

    world.places["calls"] = calls()

    found = attacked(world, words_before(means, confinement(world), *world.own))

    assert_is_confined(found)
    assert world.victim.poll() is None


@every_means
def test_one_that_another_user_runs_neither(means: Means, world: World) -> None:
    skip_unless(means)
    if os.getuid() != 0 or shutil.which("setpriv") is None or not Path(SYSTEM_PYTHON).exists():
        pytest.skip("takes root, setpriv and a Python that all may run")
    world.places["calls"] = calls()
    readable = tuple(world.root / name for name in ("read", "attack.py", "peer"))
    allowed = Confinement((*existing(SYSTEM), *readable), (world.own[1],), memory=1 << 30, disk=1 << 30)
    shutil.copy(ATTACK, world.root / "attack.py")
    for source in (OUR_ROOT / "peer" / "__init__.py", *(OUR_ROOT / "peer" / "confinement").glob("*.py")):
        copy = world.root / source.relative_to(OUR_ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, copy)
    before = [SYSTEM_PYTHON if word == sys.executable else word for word in words_before(means, allowed, *world.own)]
    before = [word.replace(str(OUR_ROOT), str(world.root)) for word in before]

    command = [*NOBODY, *before, SYSTEM_PYTHON, "-I", str(world.root / "attack.py"), json.dumps(world.places)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=world.own[1], check=False, timeout=60)

    assert done.stdout, done.stderr
    assert_is_confined(json.loads(done.stdout))


@every_means
def test_the_ids_of_confined_processes_are_the_same_each_time_unless_others_are_asked_for(
    means: Means, world: World
) -> None:
    skip_unless(means)
    says = ("-I", "-S", "-c", "import os; print(os.getpid(), flush=True); os.kill(os.getpid(), 6)")
    before = words_before(means, confinement(world), *world.own)

    def ended(python: tuple[str, ...]) -> tuple[str, int]:
        done = subprocess.run([*before, *python, *says], capture_output=True, text=True, check=False, timeout=60)
        return done.stdout, done.returncode

    first, again, others = map(ended, (OUR_PYTHON, OUR_PYTHON, with_another_id(OUR_PYTHON)))

    assert first == again
    assert int(first[0]) != int(others[0])
    assert others[1] == 128 + 6


def test_without_confinement_the_same_process_does_all_that_its_user_may(world: World) -> None:
    done = {name for name, said in attacked(world, []).items() if said == "done"}

    assert done >= ALLOWED | {"read ~/.ssh", "write outside", "connect to an abstract socket", "signal the peer"}
