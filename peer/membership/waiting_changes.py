"""What waits for an admin: proposals that lack signatures, and newcomers whose tickets let them in only by hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from peer.home.federations import StoredFederation
from peer.home.home import Home
from peer.home.invitations import Invitations
from peer.membership.proposing import ProposalStore
from protocol.joining.tickets import InvitationState
from protocol.visible import named, quoted

_WHAT_SHOWN: Final = 60
"""Characters of what a change is about."""


def waiting_changes(home: Home, stored: StoredFederation, now: float) -> Iterator[str]:
    """A line for people about each, with the command that settles it. ``now`` is in seconds since 1970.

    Raises:
        PeerError: if a file of the home is damaged.
    """
    title = named(stored.manifest.title)
    for pending in ProposalStore(home, stored).all():
        shown, proposal = pending.record.cid.label, pending.proposal
        if proposal is None:
            yield f"a change of {title} is outdated; make it again, or give it up: peer federation reject {shown}"
            continue
        count = "1 more admin" if proposal.lacking == 1 else f"{proposal.lacking} more admins"
        what = quoted(", ".join(each.what for each in proposal.changes()), _WHAT_SHOWN)
        yield (
            f"a change of {title} ({what}) waits for {count}: peer federation sign {shown}, "
            f"or peer federation reject {shown}"
        )
    for invitation in Invitations(home, stored.id).all():
        if invitation.state_at(now) is InvitationState.PENDING:
            name = named(invitation.name)
            yield f"{name} waits to be let into {title}: peer federation approve {name}"
