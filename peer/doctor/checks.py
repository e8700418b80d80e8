"""The checks of ``peer doctor``: everything that a peer needs, one thing at a time. A check never raises."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from crypto.errors import CryptoError
from peer.base.errors import PeerError
from peer.base.installed_versions import INSTALL_TORCH, absent_for_training, installed, unmet
from peer.confinement.landlock import interface
from peer.confinement.means import INSTALL, tried
from peer.doctor.pubsub import hearers, why_not_asked, why_refused
from peer.engine import without_credentials
from peer.engine.chosen_engine import MANAGED, chosen, owners_engine, running_node
from peer.engine.interface import Engine, EngineError, EngineStatus, Streams
from peer.engine.kubo.program import UPDATE, find_ipfs, version_of, why_outdated
from peer.home.federations import FederationStore, StoredFederation
from peer.home.home import Home
from peer.home.keystore import KeyStore
from peer.reach.reachability import both_ways, channels_to
from peer.reach.words import inward_words, outward_words
from protocol.records.bodies import Role

LITTLE_SPACE: Final = 2 << 30
"""With fewer free bytes, a check warns."""
NO_SPACE: Final = 100 << 20
"""With fewer free bytes, a check fails, because nothing works reliably."""


class State(StrEnum):
    """The result of a check."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Check:
    """One check, with its result."""

    name: str
    state: State
    what: str
    fix: str = ""


def all_checks(home: Home, ipfs: str | None) -> Iterator[Check]:
    """All checks, in the order in which problems should be fixed."""
    engine, unknown = _chosen(home, ipfs)
    checks: list[Callable[[], Check]] = [
        _python,
        _packages,
        _torch,
        lambda: _home(home),
        lambda: _space(home),
        lambda: _keys(home),
        lambda: _federation(home),
        lambda: _program(needed=engine == MANAGED),
        _confinement,
    ]
    for check in checks:
        yield check()
    if unknown is not None:
        yield unknown
    else:
        yield from _engine_checks(home, engine)


def _chosen(home: Home, ipfs: str | None) -> tuple[str, Check | None]:
    """The engine, or a failed check if this home does not name one."""
    try:
        return chosen(home, ipfs), None
    except PeerError as error:
        return "", Check("engine", State.FAIL, str(error), error.fix)


def _python() -> Check:
    return Check("python", State.OK, f"{platform.python_version()} at {sys.executable}")


def _packages() -> Check:
    """What our own package requires, but for extras."""
    wrong = list(unmet())
    if wrong:
        fix = "pip install " + " ".join(f"'{requirement}'" for requirement, _ in wrong)
        what = ", ".join(f"{requirement} ({found})" for requirement, found in wrong)
        return Check("packages", State.FAIL, f"Pollen needs {what}", fix)
    return Check("packages", State.OK, f"flwr {installed('flwr')}, numpy {installed('numpy')}")


def _torch() -> Check:
    """Only the built-in app needs it, so its absence is no fault."""
    if absent := absent_for_training():
        return Check(
            "built-in app",
            State.OK,
            f"{absent} is not installed; other apps do without it. To have it: {INSTALL_TORCH}",
        )
    return Check("built-in app", State.OK, f"torch {installed('torch')}, torchvision {installed('torchvision')}")


def _home(home: Home) -> Check:
    if not home.path.exists():
        return Check("home", State.WARN, f"{home.path} does not exist yet", "peer keys init --name NAME")
    if not os.access(home.path, os.W_OK | os.X_OK):
        return Check("home", State.FAIL, f"{home.path} cannot be written", "name another home with --home DIR")
    if home.open_to_others:
        return Check("home", State.WARN, f"others on this machine may open {home.path}", f"chmod 700 {home.path}")
    return Check("home", State.OK, str(home.path))


def _space(home: Home) -> Check:
    place = next(path for path in (home.path, *home.path.parents) if path.exists())
    free = shutil.disk_usage(place).free
    what = f"{free / 1e9:.1f} GB free at {place}"
    if free < NO_SPACE:
        return Check("disk", State.FAIL, what, "free some space")
    return Check("disk", State.WARN if free < LITTLE_SPACE else State.OK, what)


def _keys(home: Home) -> Check:
    store = KeyStore(home.path)
    try:
        found = [store.public(name) for name in store.names()]
    except (PeerError, CryptoError) as error:
        return Check("keys", State.FAIL, str(error), error.fix)
    if not found:
        return Check("keys", State.FAIL, "there is no identity in this home", "peer keys init --name NAME")
    unlocked = [identity.name for identity in found if not identity.locked]
    if unlocked:
        what = f"stored without a passphrase: {', '.join(unlocked)}"
        return Check("keys", State.WARN, what, f"peer keys passwd {unlocked[0]}")
    return Check("keys", State.OK, ", ".join(identity.name for identity in found))


def _federation(home: Home) -> Check:
    try:
        known = FederationStore(home).all()
        keys = KeyStore(home.path)
        ids = [keys.public(name).public.id for name in keys.names()]
    except PeerError as error:
        return Check("federation", State.FAIL, str(error), error.fix)
    if not known:
        fix = "join one with a ticket (peer join), or found one: peer federation init NAME"
        return Check("federation", State.FAIL, "this home is in no federation", fix)
    strange = [stored.manifest.title for stored in known if not any(each in stored.manifest.members for each in ids)]
    if strange:
        fix = "send an admin what `peer keys show --federation ID` prints, then join again with a new export"
        return Check("federation", State.WARN, f"no identity of this home is a member of {', '.join(strange)}", fix)
    names = (f"{stored.manifest.title} (version {stored.manifest.version})" for stored in known)
    return Check("federation", State.OK, ", ".join(names))


def _program(*, needed: bool) -> Check:
    try:
        program = find_ipfs()
        version = ".".join(map(str, version_of(program)))
    except EngineError as error:
        return Check("ipfs program", State.FAIL if needed else State.OK, str(error), error.fix if needed else "")
    return Check("ipfs program", State.OK, f"Kubo {version} at {program}")


def _confinement() -> Check:
    """By what the apps of replays, and of peers that are started with ``--confine``, are confined."""
    found = tried()
    if found.found is None:
        return Check("confinement", State.WARN, f"nothing can confine an app: {'; '.join(found.failed)}", INSTALL)
    others = f" ({'; '.join(found.failed)})" if found.failed else ""
    scoped = "with" if interface() else "without"
    return Check("confinement", State.OK, f"apps can be confined by {found.found.name}, {scoped} Landlock{others}")


def _engine_checks(home: Home, engine: str) -> Iterator[Check]:
    try:
        opened = running_node(home) if engine == MANAGED else owners_engine(home, engine)
        if opened is None:
            fix = "peer start starts it; to start it now: peer doctor --start-daemon"
            yield Check("engine", State.WARN, "this home's Kubo node is not running", fix)
            return
        with contextlib.closing(opened):
            yield _engine_status(engine, opened.status())
            if opened.streams is not None:
                yield _pubsub(home, opened, opened.streams, is_own=engine == MANAGED)
                yield from _reach(home, opened, opened.streams)
    except EngineError as error:
        yield Check("engine", State.FAIL, str(error), error.fix)


def _pubsub(home: Home, engine: Engine, streams: Streams, *, is_own: bool) -> Check:
    """Whether others hear this node by pubsub."""
    if (refused := why_refused(engine)) is not None:
        return Check("pubsub", State.FAIL, str(refused), refused.fix)
    if (off := why_not_asked(streams)) is not None:
        return Check("pubsub", State.WARN, f"{off}: what pubsub loses for long is lost", off.fix)
    if not home.is_locked:
        return Check("pubsub", State.OK, "the node sends; whether others hear it is known only while a peer runs here")
    heard = _heard_by(home, streams)
    if heard and not any(heard):
        what = f"none of the {len(heard)} members that answer hears this node by pubsub: runs go on by asking, slowly"
        fix = "" if is_own else f", or on the machines of their nodes: {streams.how_to_hear(streams.own_name)}"
        return Check("pubsub", State.WARN, what, f"wait a minute, because managed nodes fix that by themselves{fix}")
    return Check("pubsub", State.OK, f"heard by {sum(heard)} of the {len(heard)} members that answer")


def _reach(home: Home, engine: Engine, streams: Streams) -> Iterator[Check]:
    """Whether this node reaches those of members, and they reach this one."""
    try:
        keys, known = KeyStore(home.path), FederationStore(home).all()
        own = frozenset(keys.public(name).public.id for name in keys.names())
    except (PeerError, CryptoError):  # other checks show these
        return
    channels = [channel for stored in known for channel in channels_to(stored, own)]
    found = both_ways(
        streams, engine.addresses(), dict.fromkeys(each for s in known for each in s.reached_at), channels
    )
    what, fix = outward_words(found)
    yield Check("reaching members", State.OK if found.gets_out else State.WARN, what, fix)
    what, fix = inward_words(found)
    dials_out = not found.inward and not any(_awaits_others(stored, own) for stored in known)
    if found.is_reached or dials_out:
        yield Check("reached by members", State.OK, what)
    else:
        yield Check("reached by members", State.WARN, what, fix)


def _awaits_others(stored: StoredFederation, own: frozenset[bytes]) -> bool:
    """Whether others dial a member of this home: a server, or an admin, whose peer lets newcomers in."""
    members = stored.manifest.members
    ours = [members[each] for each in own if each in members]
    return any(Role.SERVER in each.roles or each.signing in stored.manifest.admins for each in ours)


def _heard_by(home: Home, streams: Streams) -> list[bool]:
    """For each member that answers, whether it hears this node."""
    try:
        keys = KeyStore(home.path)
        own = frozenset(keys.public(name).public.id for name in keys.names())
        return [heard for stored in FederationStore(home).all() for heard in hearers(streams, stored, own)]
    except (PeerError, CryptoError):  # other checks show these
        return []


def _engine_status(engine: str, status: EngineStatus) -> Check:
    named = f"{without_credentials(engine)}: {status.kind} {status.version}"
    what = f"{named}, {status.peers} peers, {status.bytes_stored / 1e6:.1f} MB stored"
    if not status.pubsub:
        fix = "ipfs config --json Pubsub.Enabled true, then restart that node"
        return Check("engine", State.FAIL, f"{what}; its pubsub is off", fix)
    if status.kind == MANAGED and (outdated := why_outdated(status.version)):
        return Check("engine", State.WARN, f"{what}; {outdated}", UPDATE)
    return Check("engine", State.OK, what)
