"""Runs into which a roster has brought another version of the federation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chains import ADMIN, MEMBERS, TIME, Scribe, begun, id_of, rotated

from crypto.keys import SigningKey
from protocol.federation.unsigned_versions import UnsignedVersion, next_version, without_member

Start = Callable[[], Scribe]


def bring(scribe: Scribe, unsigned: UnsignedVersion) -> Scribe:
    """A roster brings this version, which the admin signs."""
    scribe.add(scribe.roster(scribe.next_manifest(unsigned).cid))
    return scribe


def change(scribe: Scribe, **changes: Any) -> Scribe:
    """A roster brings a version that has these ``changes``; without any, one that is newer and says the same."""
    return bring(scribe, next_version(scribe.chain.manifest, by=id_of(ADMIN), time=TIME, **changes))


def remove(scribe: Scribe, removed: SigningKey) -> Scribe:
    """A roster brings a version without this member."""
    return bring(scribe, without_member(scribe.manifest, id_of(removed), by=id_of(ADMIN), time=TIME))


def changed() -> Scribe:
    """A run whose roster brings a newer version that says the same."""
    return change(begun())


def without(removed: SigningKey) -> Start:
    """A run whose roster removes a member."""
    return lambda: remove(begun(), removed)


def rekeyed(name: str, before: SigningKey, now: SigningKey) -> Start:
    """A run whose roster gives the member of that name another key."""

    def start() -> Scribe:
        scribe = begun()
        of_now = rotated(MEMBERS[name], before, now, place=scribe.first.cid)
        return change(scribe, members=(MEMBERS | {name: of_now}).values())

    return start


def naming(*voters: SigningKey) -> Start:
    """A run whose roster names its voters."""

    def start() -> Scribe:
        scribe = begun()
        return change(scribe, voters={scribe.chain.run: [id_of(each) for each in voters]})

    return start
