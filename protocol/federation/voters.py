"""Who votes for the leader of a run, and how many votes it takes.

The public part of a manifest says it, because a reader without keys judges a takeover too.
"""

from __future__ import annotations

from collections.abc import Collection

from protocol.blocks.cid import CID
from protocol.federation.manifest import Manifest
from protocol.records.bodies import Member, Role
from protocol.records.bodies import Voting as Voting  # a part of the manifest, and so of bodies


def may_vote(member: Member) -> bool:
    """Whether the member's roles let it vote in any run. Auditors and keepers never do."""
    return Role.SERVER in member.roles or Role.CLIENT in member.roles


def voters_of(manifest: Manifest, run: CID) -> frozenset[bytes]:
    """The ids of the members that vote for the leader of ``run`` while ``manifest`` is in force.

    Of voters that are named for the run, those count that are servers or clients still, so there may be none.
    """
    if run not in manifest.voters:
        return voters_by_role(manifest)
    named = (manifest.members.get(member_id) for member_id in manifest.voters[run])
    return frozenset(member.id for member in named if member is not None and may_vote(member))


def voters_by_role(manifest: Manifest) -> frozenset[bytes]:
    """The voters of each run whose voters are not named."""
    servers = manifest.ids_of(Role.SERVER)
    return servers | manifest.ids_of(Role.CLIENT) if manifest.voting is Voting.ALL else servers


def voters_before(before: Manifest, after: Manifest, run: CID) -> frozenset[bytes]:
    """The voters by ``before`` of whom a majority is needed too, once a roster has brought ``after`` into force; empty
    if the voters by ``after`` decide alone.

    Members that ``after`` removes are heard by nobody, and so have no voice (`still_listed`). If those that are left
    are no majority of the voters before, a majority of them may never come together again: then they are not asked, and
    the admins' word stands by itself.
    """
    voters = voters_of(before, run)
    left = still_listed(voters, before, after)
    is_asked = len(left) >= majority_of(voters) and left != voters_of(after, run)
    return left if is_asked else frozenset()


def still_listed(voters: Collection[bytes], before: Manifest, after: Manifest) -> frozenset[bytes]:
    """Those of these voters by ``before`` that ``after`` lists as servers or clients, with a key it does not revoke."""
    return frozenset(each for each in voters if _is_still_in(before.members[each], after))


def _is_still_in(voter: Member, after: Manifest) -> bool:
    now = after.members.get(voter.id)
    return now is not None and may_vote(now) and voter.signing not in after.revoked


def majority_of(voters: Collection[bytes]) -> int:
    """How many votes of these voters make a leader: more than half of them, and never none."""
    return len(voters) // 2 + 1
