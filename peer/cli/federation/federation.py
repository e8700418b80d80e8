"""``peer federation``: found a federation, change its members, hand it over, and join it."""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import Annotated

import typer

from crypto.identity import PublicIdentity
from peer.base.errors import PeerError
from peer.base.terminal import put, say, show_labels
from peer.cli.federation import bootstrap, grant, invite, proposals, settings, shred, voters, witnesses
from peer.cli.federation.federation_output import (
    federation_value,
    member_value,
    put_joined,
    put_members,
    roles_of,
    voters_in_words,
)
from peer.cli.federation.proposals import change
from peer.cli.options import (
    DEFAULT_HOME,
    AddressOption,
    EngineOption,
    FederationOption,
    FullOption,
    HomeOption,
    IdentityOption,
    JsonOption,
    MemberArgument,
    MemberOptions,
    PassphraseFileOption,
    ReachOptions,
    grouped,
    load_identity,
    new_app,
)
from peer.cli.output import here, put_fields, put_json, put_result
from peer.engine.addresses_for_others import ONLY_HERE, addresses_for_others, is_only_here, shared_directory
from peer.engine.chosen_engine import MANAGED, chosen
from peer.engine.interface import EngineError
from peer.erasure.shredded_runs import by_whom
from peer.home.federations import SWARM_KEY_SIZE, FederationStore, StoredFederation, read_federation
from peer.home.home import Home, place_for, replace_file
from peer.home.keystore import KeyStore
from peer.home.reader_choice import reader_of
from peer.membership.changes import add_member, change_admin, change_threshold, found_federation, remove_member
from protocol.federation.manifest import Manifest
from protocol.records.bodies import Member, Role
from protocol.visible import named

app = new_app("federation", "Found a federation, change its members, hand it over, and join it.")

RolesOption = Annotated[list[Role], typer.Option("--role", help="The member's role; repeat it for more roles.")]


@app.command("init")
def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The federation's name.")],
    role: RolesOption = [Role.SERVER],  # noqa: B006  # typer copies it
    member_name: Annotated[
        str | None,
        typer.Option("--name", help="Your name in the federation.", show_default="the identity's name"),
    ] = None,
    encrypt: Annotated[
        bool,
        typer.Option("--encrypt/--no-encrypt", help="Whether only members can read names, models and updates."),
    ] = True,
    identity: IdentityOption = None,
    passphrase_file: PassphraseFileOption = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Found a federation. You sign version 1 of its manifest, and are its admin and first member."""
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
    open_to_all = "note: it is not encrypted: anybody who can reach an engine can read every model and update in it"
    put_result(
        federation_value(stored),
        json,
        f"federation {name} is founded: {stored.id}",
        *([] if encrypt else [open_to_all]),
        here("next: peer federation invite --name NAME --role client, once for each member"),
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
        typer.Option("--name", help="The member's name in the federation.", show_default="as it is now"),
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
    """Add a member, or change the keys, the name or the roles of one. Admins only."""
    public = PublicIdentity.parse_key_text(key)

    def done(stored: StoredFederation) -> str:
        member = stored.manifest.members[public.id]
        return f"{stored.manifest.called(public.id)} is in, as {roles_of(stored.manifest, member)}"

    change(
        options,
        lambda stored, by: add_member(stored, by, public, name=name, roles=role, office=admin, time=time.time()),
        json,
        done,
    )


@app.command("remove")
@grouped
def remove(
    name: MemberArgument,
    *,
    options: MemberOptions,
    json: JsonOption = False,
) -> None:
    """Take a member out. It keeps what it was given. Admins only."""
    change(
        options,
        lambda stored, by: remove_member(stored, by, name, time=time.time()),
        json,
        lambda _: f"{named(name)} is out",
    )


@app.command("admin")
@grouped
def admin(
    name: MemberArgument,
    no_admin: Annotated[bool, typer.Option("--no-admin", help="Make it an ordinary member again.")] = False,
    *,
    options: MemberOptions,
    json: JsonOption = False,
) -> None:
    """Make a member an admin, who may change the federation. Admins only."""
    change(
        options,
        lambda stored, by: change_admin(stored, by, name, office=not no_admin, time=time.time()),
        json,
        lambda _: f"{named(name)} is {'not an admin any more' if no_admin else 'an admin'}",
    )


@app.command("threshold")
@grouped
def threshold(
    count: Annotated[int, typer.Argument(min=1, metavar="N", help="The number of admins.")],
    *,
    options: MemberOptions,
    json: JsonOption = False,
) -> None:
    """Set how many admins have to sign each change. Admins only."""
    change(
        options,
        lambda stored, by: change_threshold(stored, by, count, time=time.time()),
        json,
        lambda stored: f"{count} of {len(stored.manifest.admins)} admins must sign",
    )


app.add_typer(settings.app)
app.command("voters")(grouped(voters.voters))
app.command("bootstrap")(grouped(bootstrap.bootstrap))
app.command("sign")(grouped(proposals.sign))
app.command("reject")(proposals.reject)
app.command("proposals")(proposals.list_proposals)


@app.command("members")
def members(
    full: FullOption = False,  # noqa: ARG001  # its callback does what it says
    federation: FederationOption = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """List the members."""
    manifest = FederationStore(Home(home)).current(federation).manifest
    if json:
        put_json({"members": [member_value(manifest, member) for member in manifest.members.values()]})
    else:
        put_members(manifest)


@app.command("show")
def show(
    full: FullOption = False,
    federation: FederationOption = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Show a federation and its members. Also shows its id and version, and the addresses of engines."""
    stored = FederationStore(Home(home)).current(federation)
    if json:
        put_json(federation_value(stored))
        return
    manifest = stored.manifest
    show_labels(False)  # the federation's id is what people hand on
    no_name = "only members can read its name, and no identity of this home is a member"
    put_fields(
        [
            ("federation", named(manifest.name) if manifest.name else no_name),
            ("id", str(stored.id)),
            ("encrypted", "yes" if manifest.encrypted else "no"),
            ("version", str(manifest.version)),
            ("manifest", str(manifest.cid) if full else manifest.cid.label),
            ("admins", f"{manifest.threshold} of {len(manifest.admins)} must sign"),
            ("voters", voters_in_words(manifest)),
            *(("voters", f"of run {run}: {voters_in_words(manifest, run)}") for run in manifest.voters),
            *([("revoked keys", f"{len(manifest.revoked)}, which never count again")] if manifest.revoked else []),
            *(
                ("shredded", f"{each.run} {by_whom(stored, each)} (peer federation shred --status)")
                for each in manifest.shredded
            ),
            *([("witnesses", _witnesses(manifest))] if manifest.settings.witnesses else []),
            *(("bootstrap", address) for address in manifest.addresses),
            *(("address", address) for address in stored.addresses),
        ]
    )
    show_labels(not full)
    put_members(manifest)


def _witnesses(manifest: Manifest) -> str:
    return f"clients train on what {witnesses.servers(manifest.settings.witnesses)}"


@app.command("export")
@grouped
def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.")],
    address: AddressOption = [],  # noqa: B006  # typer copies it
    ipfs: EngineOption = None,
    federation: FederationOption = None,
    home: HomeOption = DEFAULT_HOME,
    *,
    reach: ReachOptions,
    json: JsonOption = False,
) -> None:
    """Write the federation's file for members. It has the manifest, the swarm key, and the addresses of engines."""
    place = place_for(file)
    store = FederationStore(Home(home))
    stored = store.current(federation)
    try:
        store.add_addresses(stored.id, addresses_for_others(Home(home), stored, ipfs, reach.asked(), address))
    except EngineError as error:
        if ipfs is not None or address:
            raise
        say(f"its addresses are those of before, because the engine cannot be used: {error}")
    stored = store.current(federation)
    replace_file(place, [stored.to_hand_over()])
    warning = ONLY_HERE if is_only_here(stored.addresses) else ""
    if not stored.addresses:
        warning = "it names no engine: name one with --address, or let all members use one with --ipfs local:DIR"
    put_result(
        federation_value(stored) | {"file": str(place)},
        json,
        f"{file} holds version {stored.manifest.version} of {stored.manifest.title}, and the swarm key.",
        "Give it to members only, because it lets others reach the members' Kubo nodes. (Its mode is 0600.)",
        *([warning] if warning else []),
        f"next, on each member's machine: peer federation join {file.name}",
    )


@app.command("join")
def join(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `peer federation export` wrote.")],
    passphrase_file: PassphraseFileOption = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Join a federation, or take in a newer version of its manifest. It is verified from version 1."""
    store = FederationStore(Home(home).create())
    offered = read_federation(file)
    ours = _members_here(home, offered.manifest)
    if offered.manifest.encrypted:
        for name in ours:
            offered = offered.read_by(reader_of(load_identity(home, name, passphrase_file)))
    stored = store.join(offered)
    members = list(ours.values())
    if json:
        put_json(federation_value(stored) | {"you": [member_value(stored.manifest, member) for member in members]})
        return
    directory = shared_directory(stored.addresses) if chosen(Home(home), None) == MANAGED else ""
    put_joined(stored.manifest, members, f" --ipfs {directory}" if directory else "")
    if not members:
        put("none of this home's identities is a member yet: send an admin what this prints:")
        put(f"peer keys show --federation {stored.id}")


app.command("grant")(grouped(grant.grant))
app.command("shred")(grouped(shred.shred))
app.command("invite")(grouped(invite.invite))
app.command("approve")(grouped(invite.approve))


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
