"""``peer keys rotate`` and ``peer keys revoke``: new keys in place of old ones, and keys that never count again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from peer.cli.options import (
    DEFAULT_HOME,
    EngineOption,
    FederationOption,
    HomeOption,
    IdentityOption,
    JsonOption,
    NameArgument,
    PassphraseFileOption,
)
from peer.cli.output import put_json

if TYPE_CHECKING:
    from crypto.identity import Identity
    from peer.federation import FederationStore, StoredFederation


def rotate(
    name: NameArgument = None,
    passphrase_file: PassphraseFileOption = None,
    home: HomeOption = DEFAULT_HOME,
    json_output: JsonOption = False,
) -> None:
    """Make new keys for an identity. It stays the same member; what was signed before stays valid."""
    from crypto.keys import VerifyKey
    from peer.federation import FederationStore
    from peer.home import Home
    from peer.keystore import KeyStore
    from peer.passphrase import Passphrases

    keys = KeyStore(home)
    identity, passphrase = keys.load_with_passphrase(name, Passphrases.of_process(passphrase_file))
    identity = identity.rotated()
    keys.replace(identity, passphrase)  # first: whoever hears of the new keys finds them in this home
    store = FederationStore(Home(home))
    changed, pending = [], []
    for stored in store.all():
        newer = _take_into(store, stored, identity)
        if newer is not None:
            changed.append(newer)
        elif identity.id in stored.manifest.members:
            pending.append(stored)
    if json_output:
        put_json(_facts(identity, changed, pending))
        return
    typer.echo(f"{identity.name} has new keys, and is the same member: {VerifyKey(identity.id).did}")
    for newer in changed:
        typer.echo(f"{newer.manifest.title} has them from version {newer.manifest.version} on")
    for stored in pending:
        typer.echo(f"{stored.manifest.title}: send this KEY to an admin, who runs: peer federation add KEY")
    if not (pending or changed):
        typer.echo("no federation of this home has it as a member; its KEY:")
    if pending or not changed:
        typer.echo(identity.public.key_text())
    typer.echo("backups made before do not hold them: peer keys backup FILE")


def revoke(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A member's name, or its did:key.")],
    ipfs: EngineOption = None,
    identity: IdentityOption = None,
    passphrase_file: PassphraseFileOption = None,
    federation: FederationOption = None,
    home: HomeOption = DEFAULT_HOME,
    json_output: JsonOption = False,
) -> None:
    """Take out a member whose key was stolen: from there on nothing signed with it counts. Admins only."""
    from crypto.keys import VerifyKey
    from peer.cli.proposals import Admin, change
    from peer.membership import revoke_member

    def revoked(stored: StoredFederation, by: Identity) -> StoredFederation:
        return revoke_member(stored, by, name, time=time.time())

    def facts(stored: StoredFederation) -> dict[str, object]:
        keys = [VerifyKey(key).did for key in stored.manifest.revoked]
        return {"federation": str(stored.id), "version": stored.manifest.version, "revoked": keys}

    said = f"{name} is out, and nothing counts that a run takes from its keys after this version is in force"
    change(Admin(home, federation, identity, passphrase_file, ipfs), revoked, json_output, facts, lambda _: said)


def _take_into(store: FederationStore, stored: StoredFederation, identity: Identity) -> StoredFederation | None:
    from peer.membership import rotate_in

    with store.changing():
        newer = rotate_in(store.current(str(stored.id)), identity, time=time.time())
        if newer is not None:
            store.save(newer)
    return newer


def _facts(identity: Identity, changed: list[StoredFederation], pending: list[StoredFederation]) -> dict[str, object]:
    return {
        "name": identity.name,
        "did": identity.public.signing.did,
        "key": identity.public.key_text(),
        "federations": {str(stored.id): stored.manifest.version for stored in changed},
        "pending": [str(stored.id) for stored in pending],
    }
