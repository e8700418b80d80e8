"""``peer federation``: found one, say who is in it, hand it over, and join it."""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import Annotated

import typer

from crypto.identity import Identity, PublicIdentity
from crypto.keys import VerifyKey
from peer.base.errors import PeerError
from peer.base.terminal import put, put_table
from peer.cli.federation import grant, invite
from peer.cli.federation.proposals import change, list_proposals, sign_proposal
from peer.cli.options import (
    DEFAULT_HOME,
    EngineOption,
    FederationOption,
    HomeOption,
    IdentityOption,
    JsonOption,
    ListenOption,
    MemberArgument,
    MemberOptions,
    PassphraseFileOption,
    grouped,
    load_identity,
    new_app,
)
from peer.cli.output import put_fields, put_json, put_result
from peer.engine.chosen_engine import addresses_for_others
from peer.home.federations import SWARM_KEY_SIZE, FederationStore, StoredFederation, read_federation
from peer.home.home import Home, place_for, replace_file
from peer.home.keystore import KeyStore
from peer.home.reader_choice import reader_of
from peer.membership.changes import add_member, change_admin, change_threshold, found_federation, remove_member
from protocol.federation.manifest import Manifest, node_id
from protocol.records.bodies import Member, Role
from protocol.visible import named

app = new_app("federation", "Found a federation, say who is in it, hand it over, and join it.")

RolesOption = Annotated[list[Role], typer.Option("--role", help="What it may do; give it again for more.")]


@app.command("init")
def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call it.")],
    role: RolesOption = [Role.SERVER],  # noqa: B006  # typer copies it
    member_name: Annotated[
        str | None,
        typer.Option("--name", help="What the federation calls you.", show_default="the identity's name"),
    ] = None,
    encrypt: Annotated[
        bool,
        typer.Option("--encrypt/--no-encrypt", help="Whether names and all that is trained are for members only."),
    ] = True,
    identity: IdentityOption = None,
    passphrase_file: PassphraseFileOption = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Found a federation: version 1 of its manifest, signed by you, its admin and first member."""
    store = FederationStore(Home(home).create())
    _refuse_taken(store.all(), name)
    founder = load_identity(home, identity, passphrase_file)
    stored = found_federation(
        founder,
        name=name,
        member_name=member_name or founder.name,
        roles=role,
        swarm_key=secrets.token_bytes(SWARM_KEY_SIZE),
        time=time.time(),
        encrypt=encrypt,
    )
    store.save(stored)
    open_to_all = "note: it is not encrypted: whoever can reach an engine can read every model and update in it"
    put_result(
        _facts(stored),
        json,
        f"federation {name} is founded: {stored.id}",
        *([] if encrypt else [open_to_all]),
        "next: peer federation invite --name NAME --role client, once for each member",
    )


@app.command("add")
@grouped
def add(
    key: Annotated[
        str,
        typer.Argument(metavar="KEY", help="What `peer keys show [--federation ID]` prints on the member's machine."),
    ],
    name: Annotated[
        str | None,
        typer.Option("--name", help="What the federation calls the member.", show_default="what it is called now"),
    ] = None,
    role: RolesOption = [],  # noqa: B006  # typer copies it
    admin: Annotated[
        bool | None,
        typer.Option("--admin/--no-admin", help="Whether it may change the federation.", show_default="as it is now"),
    ] = None,
    *,
    options: MemberOptions,
    json: JsonOption = False,
) -> None:
    """Take in a member, or the new keys of one, or give one another name or other roles. Admins only."""
    public = PublicIdentity.parse_key_text(key)

    def taken_in(stored: StoredFederation, by: Identity) -> StoredFederation:
        return add_member(stored, by, public, name=name, roles=role, office=admin, time=time.time())

    def done(stored: StoredFederation) -> str:
        member = stored.manifest.members[public.id]
        return f"{stored.manifest.called(public.id)} is in, as {_roles(stored.manifest, member)}"

    change(options, taken_in, json, _facts, done)


@app.command("remove")
@grouped
def remove(
    name: MemberArgument,
    *,
    options: MemberOptions,
    json: JsonOption = False,
) -> None:
    """Take a member out. What it was given it keeps. Admins only."""

    def taken_out(stored: StoredFederation, by: Identity) -> StoredFederation:
        return remove_member(stored, by, name, time=time.time())

    said = f"{named(name)} is out"
    change(options, taken_out, json, _facts, lambda _: said)


@app.command("admin")
@grouped
def admin(
    name: MemberArgument,
    no_admin: Annotated[bool, typer.Option("--no-admin", help="It is none any more.")] = False,
    *,
    options: MemberOptions,
    json: JsonOption = False,
) -> None:
    """Let a member change the federation, too, or no longer. Admins only."""

    def made(stored: StoredFederation, by: Identity) -> StoredFederation:
        return change_admin(stored, by, name, office=not no_admin, time=time.time())

    said = f"{named(name)} is {'no admin any more' if no_admin else 'an admin'}"
    change(options, made, json, _facts, lambda _: said)


@app.command("threshold")
@grouped
def threshold(
    count: Annotated[int, typer.Argument(metavar="N", help="How many admins have to sign each change.")],
    *,
    options: MemberOptions,
    json: JsonOption = False,
) -> None:
    """Say how many admins have to sign each change. Admins only."""

    def changed(stored: StoredFederation, by: Identity) -> StoredFederation:
        return change_threshold(stored, by, count, time=time.time())

    def done(stored: StoredFederation) -> str:
        return f"{count} of {len(stored.manifest.admins)} admins must sign"

    change(options, changed, json, _facts, done)


@app.command("sign")
@grouped
def sign(
    cid: Annotated[str, typer.Argument(metavar="CID", help="As whoever made it, or signed it last, was told.")],
    yes: Annotated[bool, typer.Option("--yes", help="Sign without being asked.")] = False,
    *,
    options: MemberOptions,
    json: JsonOption = False,
) -> None:
    """Show what a proposal changes, and sign it. It is in force once enough admins have. Admins only."""
    sign_proposal(options, cid, yes, json, _facts)


app.command("proposals")(list_proposals)


@app.command("members")
def members(federation: FederationOption = None, home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> None:
    """List the members."""
    manifest = FederationStore(Home(home)).current(federation).manifest
    if json:
        put_json({"members": [_member_facts(manifest, member) for member in manifest.members.values()]})
        return
    _put_members(manifest)


@app.command("show")
def show(federation: FederationOption = None, home: HomeOption = DEFAULT_HOME, json: JsonOption = False) -> None:
    """Show a federation: its id, version and admins, where its engines are, and its members."""
    stored = FederationStore(Home(home)).current(federation)
    if json:
        put_json(_facts(stored))
        return
    manifest = stored.manifest
    put_fields(
        [
            (
                "federation",
                named(manifest.name)
                if manifest.name
                else "its name is for members, and no identity of this home is one",
            ),
            ("id", str(stored.id)),
            ("encrypted", "yes" if manifest.encrypted else "no"),
            ("version", str(manifest.version)),
            ("manifest", str(manifest.cid)),
            ("admins", f"{manifest.threshold} of {len(manifest.admins)} must sign"),
            *([("revoked keys", f"{len(manifest.revoked)} that never count again")] if manifest.revoked else []),
            *(("address", address) for address in stored.addresses),
        ]
    )
    _put_members(manifest)


@app.command("export")
def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.")],
    address: Annotated[
        list[str],
        typer.Option("--address", help="Where your engine is, as others reach it; give it again for more."),
    ] = [],  # noqa: B006  # typer copies it
    ipfs: EngineOption = None,
    listen: ListenOption = "127.0.0.1",
    federation: FederationOption = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Write the file to hand to members: the manifest, the swarm key, and where this peer's engine is."""
    place = place_for(file)
    store = FederationStore(Home(home))
    stored = store.current(federation)
    store.add_addresses(stored.id, address or addresses_for_others(Home(home), stored, ipfs, listen))
    stored = store.current(federation)
    replace_file(place, [stored.to_hand_over()])
    unnamed = "it names no engine: tell members one with --address, or let all use one with --ipfs local:DIR"
    put_result(
        _facts(stored) | {"file": str(place)},
        json,
        f"{file} holds version {stored.manifest.version} of {stored.manifest.title}, and the swarm key: hand it",
        "to members only, for whoever has it can reach the members' Kubo nodes (its mode is 0600)",
        *([] if stored.addresses else [unnamed]),
        f"next, on each member's machine: peer federation join {file.name}",
    )


@app.command("join")
def join(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `peer federation export` wrote.")],
    passphrase_file: PassphraseFileOption = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Join a federation, or take in a newer version of its manifest. Everything is verified from version 1."""
    store = FederationStore(Home(home).create())
    offered = read_federation(file)
    ours = _members_here(home, offered.manifest)
    if offered.manifest.encrypted:
        for name in ours:
            offered = offered.read_by(reader_of(load_identity(home, name, passphrase_file)))
    stored = store.join(offered)
    manifest, members = stored.manifest, list(ours.values())
    if json:
        put_json(_facts(stored) | {"you": [_member_facts(manifest, member) for member in members]})
        return
    put(f"joined {manifest.title}, version {manifest.version}: {stored.id}")
    for member in members:
        put(f"you are {manifest.called(member.id)}: {', '.join(member.roles)}")
    if members:
        put(f"next: peer start --role {members[0].roles[0]}")
    else:
        put("none of this home's identities is a member yet: send an admin what this prints:")
        put(f"peer keys show --federation {stored.id}")


app.command("grant")(grouped(grant.grant))
app.command("invite")(grouped(invite.invite))
app.command("approve")(grouped(invite.approve))


# -- below ---------------------------------------------------------------------------------------------------------


def _members_here(home: Path, manifest: Manifest) -> dict[str, Member]:
    """The members of the federation among this home's identities, by the identity's name."""
    keys = KeyStore(home)
    found = {name: manifest.members.get(keys.public(name).public.id) for name in keys.names()}
    return {name: member for name, member in found.items() if member is not None}


def _refuse_taken(known: list[StoredFederation], name: str) -> None:
    if any(stored.manifest.name == name for stored in known):
        raise PeerError(
            f"this home is in a federation {name!r} already", fix="choose another name, or another home with --home DIR"
        )


def _facts(stored: StoredFederation) -> dict[str, object]:
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
        "members": [_member_facts(manifest, member) for member in manifest.members.values()],
        "addresses": list(stored.addresses),
    }


def _member_facts(manifest: Manifest, member: Member) -> dict[str, object]:
    return {
        "name": manifest.name_of(member.id),
        "did": VerifyKey.parse(member.id).did,
        "node": node_id(member.id),
        "roles": [role.value for role in member.roles],
        "admin": member.signing in manifest.admins,
    }


def _put_members(manifest: Manifest) -> None:
    rows = [_member_row(manifest, each) for each in manifest.members.values()]
    put_table("members", ["name", "roles", "did"], rows)


def _member_row(manifest: Manifest, member: Member) -> list[str]:
    return [manifest.called(member.id), _roles(manifest, member), VerifyKey.parse(member.id).did]


def _roles(manifest: Manifest, member: Member) -> str:
    return ", ".join([*member.roles, *(["admin"] if member.signing in manifest.admins else [])])
