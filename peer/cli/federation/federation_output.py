"""How commands show a federation and its members."""

from __future__ import annotations

from collections.abc import Sequence

from crypto.keys import VerifyKey
from peer.base.terminal import put, put_table
from peer.cli.output import here
from peer.home.federations import StoredFederation
from protocol.blocks.cid import CID
from protocol.federation.manifest import Manifest, node_id
from protocol.federation.voters import Voting, majority_of, voters_by_role, voters_of
from protocol.records.bodies import Member, Role


def federation_value(stored: StoredFederation) -> dict[str, object]:
    """A federation for ``--json``."""
    manifest = stored.manifest
    return {
        "federation": str(stored.id),
        "name": manifest.name,
        "encrypted": manifest.encrypted,
        "version": manifest.version,
        "manifest": str(manifest.cid),
        "threshold": manifest.threshold,
        "admins": [VerifyKey.parse(admin).did for admin in manifest.admins],
        "revoked": [VerifyKey(key).did for key in manifest.revoked],
        "members": [member_value(manifest, member) for member in manifest.members.values()],
        "addresses": list(stored.addresses),
        "bootstrap": list(manifest.addresses),
        "shredded": [{"run": str(each.run), "from_epoch": each.epoch} for each in manifest.shredded],
        "voting": manifest.voting.value,
        "voters": [
            {"run": str(run), "voters": [VerifyKey(each).did for each in named]}
            for run, named in manifest.voters.items()
        ],
        "witnesses": manifest.settings.witnesses,
    }


def member_value(manifest: Manifest, member: Member) -> dict[str, object]:
    """A member for ``--json``."""
    return {
        "name": manifest.name_of(member.id),
        "did": VerifyKey.parse(member.id).did,
        "node": node_id(member.id),
        "roles": [role.value for role in member.roles],
        "admin": member.signing in manifest.admins,
    }


def voters_in_words(manifest: Manifest, run: CID | None = None) -> str:
    """Who votes for the leader of a run, and how many votes it takes; of all runs whose voters are not named, if it is
    None."""
    if run is not None and run in manifest.voters:
        who, there = ", ".join(map(manifest.called, manifest.voters[run])), voters_of(manifest, run)
    else:
        who = "the servers" if manifest.voting is Voting.SERVERS else "servers and clients"
        there = voters_by_role(manifest)
    if not there:
        return f"{who} (nobody of them can vote now, so no other server can lead)"
    if len(there) == majority_of(there):
        return f"{who} ({len(there)} of {len(there)} make a leader: if one is away for good, no other server can lead)"
    return f"{who} ({majority_of(there)} of {len(there)} make a leader)"


def put_members(manifest: Manifest) -> None:
    """Print the table of members."""
    rows = [
        [manifest.called(each.id), roles_of(manifest, each), VerifyKey.parse(each.id).did]
        for each in manifest.members.values()
    ]
    put_table("members", ["name", "roles", "did"], rows)


def roles_of(manifest: Manifest, member: Member) -> str:
    """The roles of a member, and admin if it is one."""
    return ", ".join([*member.roles, *(["admin"] if member.signing in manifest.admins else [])])


def put_joined(manifest: Manifest, members: Sequence[Member], options: str = "") -> None:
    """Print which federation this home has joined, as which ``members``, and what to do next, with which options."""
    which = f": {manifest.federation}" if manifest.name else ""  # else it is in the title
    put(f"joined {manifest.title}, version {manifest.version}{which}")
    for member in members:
        put(f"you are {manifest.called(member.id)}: {', '.join(member.roles)}")
    if members:
        role = members[0].roles[0]
        put(here("next: peer audit HEAD" if role is Role.AUDITOR else f"next: peer start --role {role}{options}"))
