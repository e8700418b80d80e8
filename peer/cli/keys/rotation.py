"""``peer keys rotate`` and ``peer keys revoke``: new keys in place of old ones, and keys that never count again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from peer.cli.options import (
    DEFAULT_HOME,
    EngineOption,
    HomeOption,
    JsonOption,
    MemberArgument,
    MemberOptions,
    NameArgument,
    PassphraseFileOption,
)

if TYPE_CHECKING:
    from crypto.identity import Identity
    from peer.home.federations import StoredFederation


def rotate(
    name: NameArgument = None,
    ipfs: EngineOption = None,
    passphrase_file: PassphraseFileOption = None,
    home: HomeOption = DEFAULT_HOME,
    json_output: JsonOption = False,
) -> None:
    """Make new keys for an identity. It stays the same member; what was signed before stays valid.

    Where it is an admin, its federations have the new keys at once, or a proposal is made where more admins have to
    sign. Else an admin has to add the new KEY.
    """
    from peer.cli.keys.new_keys import rotate_keys

    rotate_keys(name, ipfs, passphrase_file, home, json_output)


def revoke(
    name: MemberArgument,
    *,
    options: MemberOptions,
    json_output: JsonOption = False,
) -> None:
    """Take out a member whose key was stolen: from there on nothing signed with it counts. Admins only."""
    from crypto.keys import VerifyKey
    from peer.cli.federation.proposals import change
    from peer.membership.changes import revoke_member

    def revoked(stored: StoredFederation, by: Identity) -> StoredFederation:
        return revoke_member(stored, by, name, time=time.time())

    def facts(stored: StoredFederation) -> dict[str, object]:
        keys = [VerifyKey(key).did for key in stored.manifest.revoked]
        return {"federation": str(stored.id), "version": stored.manifest.version, "revoked": keys}

    said = f"{name} is out, and nothing counts that a run takes from its keys after this version is in force"
    change(options, revoked, json_output, facts, lambda _: said)
