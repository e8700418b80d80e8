"""``peer keys rotate`` and ``peer keys revoke``: new keys in place of old ones, and keys that never count again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from peer.base.errors import ExitCode
from peer.base.terminal import put, say
from peer.cli.options import EngineOption, JsonOption, KeyOptions, MemberArgument, MemberOptions, NameArgument
from peer.cli.output import put_json
from protocol.visible import named

if TYPE_CHECKING:  # they import slowly, and the other commands about keys do not need them
    from crypto.identity import Identity
    from peer.membership.rotating import NotRotated, RotatedIn
    from protocol.blocks.cid import CID
    from protocol.federation.manifest import Manifest


def rotate(
    options: KeyOptions,
    name: NameArgument = None,
    ipfs: EngineOption = None,
    json: JsonOption = False,
) -> ExitCode:
    """Make new keys for an identity. It stays the same member, and what it has signed stays valid.

    If it is an admin, its federations get the new keys at once, or a proposal if more admins have to sign. If it is not
    an admin, an admin has to add the new KEY.
    """
    from peer.home.home import Home
    from peer.membership.rotating import NotRotated, rotate_keys

    keys, passphrases = options.opened()
    identity, outcomes = rotate_keys(Home(options.home), keys, name, passphrases, ipfs)
    if json:
        put_json(_value(identity, outcomes))
    else:
        _put(identity, outcomes)
    failed = any(isinstance(outcome, NotRotated) and outcome.why for outcome in outcomes)
    return ExitCode.UNFINISHED if failed else ExitCode.DONE


def revoke(
    name: MemberArgument,
    *,
    options: MemberOptions,
    json: JsonOption = False,
) -> None:
    """Take out a member whose key was stolen. From then on nothing signed with it counts. Admins only."""
    from peer.cli.federation.proposals import change
    from peer.membership.changes import revoke_member

    change(
        options,
        lambda stored, by: revoke_member(stored, by, name, time=time.time()),
        json,
        lambda _: f"{named(name)} is out, and no run takes its signatures once this version is in force",
    )


def _put(identity: Identity, outcomes: list[RotatedIn]) -> None:
    from crypto.keys import VerifyKey
    from peer.cli.federation.proposals import put_proposal
    from peer.membership.rotating import NotRotated
    from protocol.federation.proposals import Proposal

    put(f"{identity.name} has new keys, and is the same member: {VerifyKey(identity.id).did}")
    for outcome in outcomes:
        match outcome:
            case Proposal():
                put(f"{outcome.base.title}: more admins have to sign")
                put_proposal(outcome, json=False)
                put(f"if another change comes first: {_add_command(identity, outcome.base.federation)}")
            case NotRotated():
                _put_not_rotated(identity, outcome)
            case _:
                put(f"{outcome.manifest.title} has them from version {outcome.manifest.version} on")
    if not outcomes:
        put("it is a member in no federation of this home")
    put("older backups do not hold the new keys: peer keys backup FILE")


def _put_not_rotated(identity: Identity, left: NotRotated) -> None:
    from peer.engine.interface import EngineError

    title, command = left.stored.manifest.title, _add_command(identity, left.stored.id)
    if left.why is None:
        put(f"{title} has the old keys until an admin ({_admins(left.stored.manifest)}) runs this:")
        put(command)
        return
    if isinstance(left.why, EngineError):  # the proposal is in this home, but nobody else can fetch it
        command = "peer federation sign CID (peer federation proposals lists it)"
    say(f"error: {title} has the old keys: {left.why}")
    say(f"  fix: {left.why.fix or 'remove the cause'}; then run: {command}")


def _add_command(identity: Identity, federation: CID) -> str:
    return f"peer federation add {identity.public_for(bytes(federation)).key_text()}"


def _admins(manifest: Manifest) -> str:
    from crypto.keys import VerifyKey

    members = ((key, manifest.member_by_key(key)) for key in manifest.admins)
    return " or ".join(manifest.called(member.id) if member else VerifyKey(key).did for key, member in members)


def _value(identity: Identity, outcomes: list[RotatedIn]) -> dict[str, object]:
    from peer.cli.federation.proposals import proposal_value
    from peer.membership.rotating import NotRotated
    from protocol.federation.proposals import Proposal

    federations, proposals, pending = {}, {}, {}
    for outcome in outcomes:
        match outcome:
            case Proposal():
                proposals[str(outcome.base.federation)] = proposal_value(outcome)
            case NotRotated(stored):
                pending[str(stored.id)] = identity.public_for(bytes(stored.id)).key_text()
            case _:
                federations[str(outcome.id)] = outcome.manifest.version
    return {
        "name": identity.name,
        "did": identity.public.signing.did,
        "federations": federations,
        "proposals": proposals,
        "pending": pending,
    }
