"""Who votes for the leader of a run, and how many votes it takes.

The public part of a manifest says it, because a reader without keys judges a takeover too.
"""

from __future__ import annotations

from collections.abc import Collection

from protocol.blocks.cid import CID
from protocol.federation.manifest import Manifest
from protocol.records.bodies import Role
from protocol.records.bodies import Voting as Voting  # a part of the manifest, and so of bodies


def voters_of(manifest: Manifest, run: CID) -> frozenset[bytes]:
    """The ids of the members that vote for the leader of ``run`` while ``manifest`` is in force.

    Auditors and keepers never vote. Of voters that were named for the run, those are left that are servers or clients
    still, so there may be none.
    """
    roles = {Role.SERVER} if manifest.voting is Voting.SERVERS and run not in manifest.voters else _ALL
    listed = manifest.voters.get(run, manifest.members)
    members = (manifest.members.get(member_id) for member_id in listed)
    return frozenset(member.id for member in members if member is not None and not roles.isdisjoint(member.roles))


_ALL = {Role.SERVER, Role.CLIENT}


def majority_of(voters: Collection[bytes]) -> int:
    """How many votes of these voters make a leader: more than half of them, and never none."""
    return len(voters) // 2 + 1
