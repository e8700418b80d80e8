"""What a standing peer's member is in the federations of its home: as it begins, and as that changes meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from crypto.identity import Identity, PublicIdentity
from peer.base.errors import PeerError
from peer.home.federations import FederationStore, StoredFederation
from peer.home.home import Home
from peer.home.key_watch import KeyWatch
from peer.home.reader_choice import reader_of
from peer.membership.changes import is_admin
from peer.membership.waiting_changes import waiting_changes
from protocol.records.bodies import Role
from protocol.visible import named


@dataclass(frozen=True, slots=True)
class StandingPart:
    """What a member is in a federation of its home."""

    stored: StoredFederation
    roles: Sequence[Role]
    is_admin: bool

    @property
    def title(self) -> str:
        """For people: "a server and an admin"."""
        parts = [role.value for role in self.roles] + (["admin"] if self.is_admin else [])
        return " and ".join(f"a {part}" if part != "admin" else "an admin" for part in parts)


def parts_to_stand(
    home: Home, person: Identity, federations: list[str] | None, wanted: Sequence[Role]
) -> list[StandingPart]:
    """The federations in which the member has a part here.

    Raises:
        PeerError: if there is none.
    """
    store = FederationStore(home)
    found = parts_now(home, federations, wanted, person.public)
    if not found:
        raise PeerError(
            f"{person.name} is neither a server nor a client nor a keeper nor an admin in a federation of this home",
            fix="peer federation show; join one with a ticket: peer join",
        )
    return [replace(each, stored=store.opened(each.stored, reader_of(person))) for each in found]


def parts_now(
    home: Home, federations: list[str] | None, wanted: Sequence[Role], member: PublicIdentity
) -> list[StandingPart]:
    """The parts that the member has, by what the home knows now."""
    store, found = FederationStore(home), list[StandingPart]()
    for stored in [store.current(name) for name in federations] if federations else store.all() or [store.current()]:
        listed = stored.manifest.members.get(member.id)
        roles = [role for role in wanted if listed is not None and role in listed.roles]
        admin = listed is not None and is_admin(stored.manifest, member)
        if roles or admin:
            found.append(StandingPart(stored, roles, admin))
    return found


def what_waits(
    home: Home, keys: KeyWatch, parts: Callable[[PublicIdentity], list[StandingPart]], served: Sequence[StandingPart]
) -> list[str]:
    """What waits for the member as an admin; and the roles that it was given since this peer began, which it takes up
    when it starts again."""
    lines, begun = list[str](), {each.stored.id: set(each.roles) for each in served}
    try:
        for each in parts(keys.newest().public):
            if not begun.get(each.stored.id, set()).issuperset(each.roles):
                title = named(each.stored.manifest.title)
                lines.append(f"its member is {each.title} of {title} now: start this peer again to take that up")
            if each.is_admin:
                lines += waiting_changes(home, each.stored, time.time())
    except (PeerError, OSError) as error:
        return [str(error)]
    return lines
