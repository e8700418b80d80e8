"""Makes the unit of a peer from what is on this machine, and puts it where systemd looks."""

from __future__ import annotations

import os
import shlex
import stat
import sys
from pathlib import Path
from typing import Final

from peer.base import posix
from peer.base.errors import PeerError
from peer.engine.interface import EngineError
from peer.engine.kubo.program import INSTALL, find_ipfs
from peer.home.home import Home
from peer.home.keystore import KeyStore
from peer.service.unit import NAME, Unit

_SYSTEM: Final = Path("/etc/systemd/system")


def _check_name(name: str) -> None:
    if NAME.fullmatch(name) is None:
        raise PeerError(f"a unit cannot be called {name!r}", fix="take letters, digits and dashes: --name pollen")


def unit_of(home: Path, arguments: tuple[str, ...], *, name: str, system: bool, passphrase: Path | None) -> Unit:
    """The unit of a peer with this home, which runs ``peer`` with these arguments.

    A system's unit runs as whoever the home belongs to.

    Raises:
        PeerError: if it could not run: no identity, a locked one without a passphrase, a program that its user cannot
            reach, a name that is none.
    """
    names = KeyStore(home).names() if home.is_dir() else []
    if not names:
        raise PeerError(
            f"there is no identity in {home}", fix=f"peer keys init --name NAME --home {shlex.quote(str(home))}"
        )
    user = _owner(home) if system else None
    program = _program()
    _check_within_reach(program, user, "install Pollen where all may read: python3 -m venv /opt/pollen")
    locked = [each for each in names if KeyStore(home).public(each).locked]
    if locked and passphrase is None:
        raise PeerError(
            f"the identity {locked[0]} has a passphrase, and nobody types it at a service's start",
            fix="--passphrase-file FILE, with the passphrase in its first line, mode 0600",
        )
    if passphrase is not None and not passphrase.is_file():
        raise PeerError(f"there is no file {passphrase}", fix="write the passphrase into its first line, mode 0600")
    _check_name(name)
    kubo = _kubo(user)
    try:
        unit = Unit(name, (str(program), *arguments), home, user, kubo, passphrase)
        unit.text()
    except ValueError as error:
        raise PeerError(str(error), fix="give it another name") from error
    return unit


def place_of(name: str, *, system: bool) -> Path:
    """Where systemd looks for the unit.

    Raises:
        PeerError: if the name is none of a unit.
    """
    _check_name(name)
    if system:
        return _SYSTEM / f"{name}.service"
    configuration = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(configuration) / "systemd" / "user" / f"{name}.service"


def next_commands(name: str, *, system: bool) -> tuple[str, ...]:
    """What starts it, now and with the machine, and what shows its log."""
    if system:
        return ("systemctl daemon-reload", f"systemctl enable --now {name}", f"journalctl -u {name} -f")
    return (
        "systemctl --user daemon-reload",
        f"systemctl --user enable --now {name}",
        "loginctl enable-linger",
        f"journalctl --user -u {name} -f",
    )


def _owner(home: Path) -> str:
    number = home.stat().st_uid
    try:
        return posix.name_of_user(number)
    except KeyError:
        raise PeerError(
            f"{home} belongs to user {number}, who has no name here", fix=f"chown -R USER {shlex.quote(str(home))}"
        ) from None


def _program() -> Path:
    """The ``peer`` beside the Python that runs this."""
    program = Path(sys.executable).with_name("peer")
    if not program.is_file():
        raise PeerError(f"there is no program {program}", fix="install Pollen into the environment of this Python")
    return program


def _kubo(user: str | None) -> Path | None:
    """The ``ipfs`` program that the service will run; None if it does without."""
    try:
        program = find_ipfs()
    except EngineError:
        return None  # the service says so, if its engine is a node of its own
    _check_within_reach(program, user, f"{INSTALL} --all-users")
    return program


def _check_within_reach(program: Path, user: str | None, fix: str) -> None:
    """Check that another user can run a program."""
    if user is None or posix.number_of_user(user) in (0, posix.own_user()):
        return
    for place in {program, program.resolve()}:
        closed = [folder for folder in place.parents if not folder.stat().st_mode & stat.S_IXOTH]
        if closed:
            raise PeerError(f"{user} cannot run {program}: {closed[-1]} is closed to others", fix=fix)


def install(unit: Unit, place: Path) -> None:
    """Write the unit file.

    Raises:
        PeerError: if that is not allowed.
    """
    Home(unit.home).create()
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(unit.text(), "utf-8")
    except OSError as error:
        raise PeerError(
            f"{place} cannot be written: {error.strerror}",
            fix="run it as root, or print the unit with --print; without --system it is a unit of your own",
        ) from error


def remove(place: Path) -> None:
    """Delete the unit file.

    Raises:
        PeerError: if there is none, or that is not allowed.
    """
    try:
        place.unlink()
    except FileNotFoundError:
        raise PeerError(f"there is no {place}", fix="name it with --name, or a system's with --system") from None
    except OSError as error:
        raise PeerError(f"{place} cannot be deleted: {error.strerror}", fix="run it as root") from error
