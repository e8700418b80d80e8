"""``peer federation invite`` and ``approve``: print a ticket for a newcomer, and let in a newcomer that waits."""

from __future__ import annotations

import re
import secrets
import time
from shlex import quote
from typing import Annotated, Final

import typer

from crypto.identity import Identity
from crypto.symmetric import KEY_SIZE, SymmetricKey
from peer.base.errors import ExitCode, PeerError
from peer.base.terminal import put, put_code, say
from peer.cli.federation.proposals import at_work, put_proposal
from peer.cli.options import AddressOption, JsonOption, MemberOptions, ReachOptions, load_identity
from peer.cli.output import Table, moment, put_json, put_list, put_result
from peer.engine.addresses_for_others import ONLY_HERE, addresses_for_others, is_only_here
from peer.engine.chosen_engine import borrowed, remember
from peer.home.federations import FederationStore, StoredFederation
from peer.home.home import Home
from peer.home.invitations import Invitations
from peer.home.keystore import KeyStore
from peer.home.reader_choice import reader_of
from peer.membership.changes import add_member, is_admin
from peer.membership.joining import Inviter, decision_on
from peer.reach.calling_back import answering
from peer.run.narrator import Narrator
from protocol.federation.manifest import Manifest, is_name
from protocol.federation.proposals import Proposal
from protocol.joining.messages import SILENT_ONCE_ANSWERED, Decision, Refused
from protocol.joining.tickets import Invitation, InvitationState, Ticket
from protocol.records.bodies import Role
from protocol.visible import named
from protocol.wire.announcements import MAX_ADDRESSES
from protocol.wire.asking import Channel

_UNITS: Final = {"m": 60, "h": 3600, "d": 24 * 3600}
_LONGEST: Final = 365 * 24 * 3600
"""The most seconds that a ticket may be valid."""
_LOOK_AGAIN: Final = 0.2
"""Seconds between checks whether the ticket was used."""
_LONGEST_STAY: Final = 60.0
"""Seconds for which a newcomer that has been let in is answered at most. By default it asks for as long."""


def _duration(text: str) -> int:
    """Seconds in ``30m``, ``24h`` or ``7d``."""
    found = re.fullmatch(r"([1-9]\d{0,6})([mhd])", text)
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 0 < seconds <= _LONGEST:
        raise typer.BadParameter(f"{text!r} is not a time such as 30m, 24h or 7d, up to 365d")
    return seconds


def invite(
    name: Annotated[str, typer.Option("--name", help="The newcomer's name in the federation.")],
    role: Annotated[list[Role], typer.Option("--role", help="The newcomer's role; repeat it for more roles.")],
    expires: Annotated[
        str, typer.Option("--expires", metavar="TIME", help="How long the ticket is valid: 30m, 24h, 7d.")
    ] = "24h",
    ask: Annotated[
        bool, typer.Option("--ask", help="Let the newcomer in only after `peer federation approve NAME`.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Stay until the ticket is used. For a home without a running peer.")
    ] = False,
    address: AddressOption = [],  # noqa: B006  # typer copies it
    *,
    options: MemberOptions,
    reach: ReachOptions,
    json: JsonOption = False,
) -> None:
    """Print a ticket with which one newcomer can join as NAME. Admins only.

    A running peer of this home lets the newcomer in. The ticket is a secret, so send it like one.
    """
    seconds, home, asked = _duration(expires), Home(options.home), reach.asked()
    store, stored = FederationStore(home), options.stored()
    _require_admin(stored.manifest, KeyStore(home.path), options.identity)
    _refuse_name(stored.manifest, name)
    inviter = load_identity(home.path, options.identity, options.passphrase_file) if wait else None
    own = addresses_for_others(home, stored, options.ipfs, asked, address)
    store.add_addresses(stored.id, own)
    stored = store.current(str(stored.id))
    _refuse_unreachable(stored)
    if options.ipfs is not None:
        remember(home, options.ipfs)  # the ticket names it, so a peer of this home has to use it
    secret, now = secrets.token_bytes(KEY_SIZE), time.time()
    ticket = Ticket(
        federation=stored.id,
        name=name,
        addresses=tuple(dict.fromkeys([*own, *stored.reached_at]))[:MAX_ADDRESSES],
        swarm_key=stored.swarm_key,
        secret=secret,
        expires=int(now) + seconds,
    )
    with store.changing():
        since = store.current(str(stored.id)).manifest.version
        invitation = Invitation(ticket.keys, name, tuple(dict.fromkeys(role)), ticket.expires, ask, since=since)
        Invitations(home, stored.id).issue(invitation, now)
    _print(ticket, invitation, json=json)
    if inviter is not None:
        channel = Channel(stored.id, inviter.id, SymmetricKey(stored.swarm_key))
        with (
            borrowed(home, options.ipfs, stored, asked) as engine,
            answering(engine.streams, channel, ticket.addresses),
        ):
            _serve(invitation, Inviter(home, stored.id, lambda: inviter, engine, Narrator(say).tell))


def approve(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="The newcomer. Without it: list all invitations."),
    ] = None,
    *,
    options: MemberOptions,
    json: JsonOption = False,
) -> None:
    """Let in a newcomer that waits, or list the invitations. Admins only."""
    stored = options.stored()
    invitations = Invitations(Home(options.home), stored.id)
    if name is None:
        _list(invitations.all(), json=json)
        return
    _pending(invitations, name)  # fail before a person types a passphrase
    with at_work(options) as work:
        invitation = _pending(invitations, name)
        outcome = work.change(lambda newest: _let_in(newest, work.admin, _pending(invitations, name)))
        if isinstance(outcome, Proposal):  # once it is in force, `approve` or the running peer lets the newcomer in
            put_proposal(outcome, json)
            return
        with work.store.changing():
            invitations.keep(invitation.done(), time.time())
    stored = outcome
    put_result(
        _facts(invitation.done()) | {"version": stored.manifest.version},
        json,
        f"{named(name)} is in, as {', '.join(invitation.roles)}: version {stored.manifest.version}",
        "a peer that runs with this home tells the newcomer; after it has stopped waiting: peer join, once more",
    )


def _let_in(stored: StoredFederation, admin: Identity, invitation: Invitation) -> StoredFederation:
    newcomer = invitation.newcomer
    assert newcomer is not None  # the invitation is pending
    decision = decision_on(invitation, newcomer, stored.read_by(reader_of(admin)), admin, time.time())
    if isinstance(decision, Refused):
        raise PeerError(
            f"{named(invitation.name)} cannot be let in with that ticket any more: {decision.why}",
            fix=_again(invitation),
        )
    if decision is Decision.WELCOME:
        return stored
    return add_member(stored, admin, newcomer, name=invitation.name, roles=invitation.roles, time=time.time())


def _again(invitation: Invitation) -> str:
    name, role = quote(invitation.name), invitation.roles[0]
    return f"invite again: peer federation invite --name {name} --role {role}"


def _require_admin(manifest: Manifest, keys: KeyStore, identity: str | None) -> None:
    public = keys.public(identity)
    if not is_admin(manifest, public.public):
        raise PeerError(
            f"{public.name} is not an admin of the federation {manifest.title}",
            fix="run it where the federation was founded, or name an admin's identity with --identity NAME",
        )


def _refuse_name(manifest: Manifest, name: str) -> None:
    if not is_name(name) or name in manifest.names.values():
        raise PeerError(
            f"a member of the federation is called {name!r}" if is_name(name) else f"{name[:80]!r} is not a name",
            fix="choose a name of 1 to 64 printable characters that no member has",
        )


def _refuse_unreachable(stored: StoredFederation) -> None:
    if not stored.reached_at:
        raise PeerError(
            "nobody could use this ticket, because it would name no engine: yours does not listen for others",
            fix="say where it listens, --listen IP:PORT (a node of yours: ipfs config Addresses.Swarm), or how others "
            "reach it: --address HOST:PORT",
        )


def _print(ticket: Ticket, invitation: Invitation, *, json: bool) -> None:
    text, only_here = ticket.text(), is_only_here(ticket.addresses)
    if json:
        put_json(_facts(invitation) | {"ticket": text, "addresses": list(ticket.addresses), "only_here": only_here})
        return
    put_code(text)
    put(text)
    until = time.strftime("%Y-%m-%d %H:%M", time.localtime(ticket.expires))
    say(f"valid for one newcomer, {named(invitation.name)}, until {until}; it is a secret: anybody who has it can join")
    if only_here:
        say(ONLY_HERE)
    say("next, on the newcomer's machine: peer join, then paste the ticket")
    say("a peer that runs with this home lets the newcomer in (peer start, peer serve); or invite with --wait")


def _serve(invitation: Invitation, inviter: Inviter) -> None:
    """Answer newcomers until the one with the ticket is a member, and has heard so: an answer may be lost."""
    say(f"waiting for {named(invitation.name)}; Ctrl-C stops waiting, and the ticket stays valid")
    with inviter.listening():
        while (state := inviter.state_of(invitation)) is not InvitationState.USED:
            if state in (InvitationState.EXPIRED, InvitationState.ENDED):
                raise PeerError(
                    "nobody used the ticket in time"
                    if state is InvitationState.EXPIRED
                    else f"{named(invitation.name)} was taken out of the federation, which ended the invitation",
                    fix=_again(invitation),
                    code=ExitCode.UNFINISHED,
                )
            time.sleep(_LOOK_AGAIN)
        say(
            f"{named(invitation.name)} asks again if the answer is lost: answering until it has been silent for "
            f"{SILENT_ONCE_ANSWERED:.0f} s; Ctrl-C ends this"
        )
        until = time.monotonic() + _LONGEST_STAY
        while inviter.asked_ago(invitation) < SILENT_ONCE_ANSWERED and time.monotonic() < until:
            time.sleep(_LOOK_AGAIN)


def _pending(invitations: Invitations, name: str) -> Invitation:
    for invitation in reversed(invitations.all()):
        if invitation.name == name and invitation.state is InvitationState.PENDING:
            return invitation
    raise PeerError(f"no newcomer waits to be let in as {name!r}", fix="list the invitations: peer federation approve")


def _list(invitations: tuple[Invitation, ...], *, json: bool) -> None:
    shown = [_shown(invitation) for invitation in invitations]
    rows = [[str(fact or "") for fact in each.values()] for each in shown]
    table = Table("invitations", list(shown[0]) if shown else [], rows)
    none = "nobody is invited; to invite: peer federation invite --name NAME --role client"
    put_list([_facts(invitation) for invitation in invitations], json, table, none)


def _shown(invitation: Invitation) -> dict[str, object]:
    return _facts(invitation) | {"name": named(invitation.name), "expires": moment(invitation.expires)}


def _facts(invitation: Invitation) -> dict[str, object]:
    newcomer = invitation.newcomer
    return {
        "name": invitation.name,
        "roles": ", ".join(invitation.roles),
        "state": invitation.state_at(time.time()).value,
        "expires": invitation.expires,
        "did": newcomer.signing.did if newcomer else None,
    }
