"""The invitations of a home, in a file for each federation: ``federations/<federation id>.invitations``, mode 0600.

The file has the keys that open newcomers' messages, but not the tickets. Those are printed once and not kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from crypto.errors import BadKeyText
from peer.base.errors import PeerError
from peer.home.home import PRIVATE_FOLDER, Home, replace_file
from protocol.blocks.cid import CID, BlockError, decode_cbor, encode_cbor
from protocol.blocks.typed import ShapeError, from_plain, to_plain
from protocol.federation.manifest import Manifest
from protocol.joining.tickets import Invitation, InvitationState

FORMAT: Final = "pollen invitations 1"
KEPT: Final = 30 * 24 * 3600.0
"""Seconds that an invitation is kept after it has expired, so that a newcomer who is late is told why."""

_BY_SOMEBODY: Final = frozenset((InvitationState.PENDING, InvitationState.USED))


@dataclass(frozen=True, slots=True)
class InvitationsFile:
    """The contents of the file."""

    format: str
    invitations: tuple[Invitation, ...]


class Invitations:
    """The invitations to one federation. To change them, hold `peer.home.federations.FederationStore.changing`."""

    def __init__(self, home: Home, federation: CID) -> None:
        self.path = home.federations / f"{federation}.invitations"

    def all(self) -> tuple[Invitation, ...]:
        """All invitations, the oldest first.

        Raises:
            PeerError: if the file is damaged.
        """
        return tuple(map(self._checked, self._read()))

    def get(self, tag: bytes) -> Invitation | None:
        """The invitation that a message names. Raises as `all` does, but checks only this invitation's KEY, because
        that takes time, and anybody may send messages."""
        found = next((each for each in self._read() if each.keys.tag == tag), None)
        return None if found is None else self._checked(found)

    def _read(self) -> tuple[Invitation, ...]:
        try:
            file = from_plain(decode_cbor(self.path.read_bytes()), InvitationsFile)
            if file.format != FORMAT:
                raise BlockError(f"it is in the format {file.format!r:.60}, not {FORMAT!r}")
        except FileNotFoundError:
            return ()
        except (BlockError, ShapeError) as error:
            raise self._damaged(error) from error
        return file.invitations

    def _checked(self, invitation: Invitation) -> Invitation:
        try:
            if invitation.newcomer is not None or invitation.state not in _BY_SOMEBODY:
                return invitation
        except BadKeyText as error:
            raise self._damaged(error) from error
        raise self._damaged(f"the invitation of {invitation.name} is {invitation.state}, but names no newcomer")

    def _damaged(self, why: object) -> PeerError:
        return PeerError(
            f"{self.path} is damaged: {why}",
            fix=f"remove {self.path}, and invite newcomers again if they have not joined",
        )

    def issue(self, invitation: Invitation, now: float) -> None:
        """Add an invitation. An open one with the same name ends: its ticket was lost, or went to somebody else."""
        for each in self.all():
            if each.name == invitation.name and each.state is InvitationState.OPEN and now < each.expires:
                self.keep(replace(each, expires=int(now)), now)
        self.keep(invitation, now)

    def keep(self, invitation: Invitation, now: float) -> None:
        """Add an invitation, or replace the one with its tag; on disk at return. Forgets those long expired."""
        others = [each for each in self.all() if each.keys.tag != invitation.keys.tag and not _is_over(each, now)]
        self._save([*others, invitation])

    def end_of_those_who_left(self, before: Manifest, after: Manifest, now: float) -> None:
        """End the invitations of members, by id or name, that ``before`` lists and ``after`` does not."""
        left = before.members.keys() - after.members.keys()
        names = {before.names[member_id] for member_id in left if member_id in before.names}
        for each in self.all() if left else ():
            newcomer = each.newcomer
            if each.name in names if newcomer is None else newcomer.id in left:
                self.keep(each.ended(), now)

    def _save(self, invitations: Iterable[Invitation]) -> None:
        self.path.parent.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        replace_file(self.path, [encode_cbor(to_plain(InvitationsFile(FORMAT, tuple(invitations))))])


def _is_over(invitation: Invitation, now: float) -> bool:
    return now >= invitation.expires + KEPT
