"""``peer join TICKET``: from a ticket to a member, an identity made on the way where there is none."""

from __future__ import annotations

import sys
from typing import Annotated, Final

import typer

from crypto.errors import BadName
from crypto.identity import Identity, parse_name
from peer.base.errors import ExitCode, PeerError
from peer.base.terminal import ask_secret, put, say
from peer.cli.options import (
    DEFAULT_HOME,
    EngineOption,
    HomeOption,
    IdentityOption,
    JsonOption,
    ListenOption,
    PassphraseFileOption,
    new_app,
)
from peer.cli.output import put_json
from peer.engine.chosen_engine import MANAGED, borrowed, chosen, remember
from peer.home.federations import FederationStore, StoredFederation
from peer.home.home import Home
from peer.home.keystore import KeyStore
from peer.home.passphrase import Passphrases
from peer.membership.joining import accept, ask_to_join
from protocol.joining.messages import Answer, Join, Pending, Refusal, Refused, Welcomed
from protocol.joining.tickets import BadTicket, Ticket
from protocol.visible import named, quoted

app = new_app()

_LOCAL: Final = "local:"
"""How the address of an engine begins that is a directory."""

_WHY: Final = {
    Refusal.EXPIRED: "the ticket's time is over",
    Refusal.USED: "somebody else has used the ticket",
    Refusal.NAME_TAKEN: "somebody in the federation has the name that the ticket gives",
    Refusal.MEMBER: "this identity is a member of the federation already",
    Refusal.REMOVED: "this identity joined with the ticket before, and was taken out of the federation since",
    Refusal.UNFIT: "the federation's rules do not allow it",
}


@app.command()
def join(
    ticket: Annotated[
        list[str],
        typer.Argument(
            metavar="[TICKET]",
            help="What `peer federation invite` printed. Left out, or -: asked for on a terminal, else read from "
            "standard input; so no other user of this machine sees it in the process list.",
        ),
    ] = [],  # noqa: B006  # typer copies it
    name: Annotated[
        str | None,
        typer.Option("--name", help="What to call the new identity.", show_default="the ticket's name"),
    ] = None,
    wait: Annotated[float, typer.Option("--wait", min=0.1, help="How many seconds to wait to be let in.")] = 60.0,
    no_passphrase: Annotated[
        bool, typer.Option("--no-passphrase", help="Store new keys unlocked: whoever reads the file is you.")
    ] = False,
    ipfs: EngineOption = None,
    listen: ListenOption = "127.0.0.1",
    identity: IdentityOption = None,
    passphrase_file: PassphraseFileOption = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Join a federation with a ticket, as the identity of this home, or a new one where there is none.

    Run it again where you had to wait, or were cut off: it goes on.
    """
    parsed = _parse(" ".join(ticket))  # of several parts it is no good, and no error is to print one
    own_home = Home(home).create()
    person = _identity(own_home, name, identity, Passphrases.of_process(passphrase_file), parsed, no_passphrase)
    store = FederationStore(own_home)
    known = store.get(parsed.federation)
    if known is not None and person.id not in known.manifest.members:
        known = None
    engine_name = _engine(chosen(own_home, ipfs), parsed)
    with borrowed(own_home, engine_name, parsed, listen) as engine:
        join = Join(person.public_for(bytes(parsed.federation)))
        patience = wait if known is None else min(wait, _WAIT_AS_MEMBER)
        answer = ask_to_join(parsed, join, engine, patience, lambda: say(f"{_WAITING}; waiting"))
        if known is not None and _is_no_news(answer):
            say(f"this home joined {known.manifest.title} before" + ("; nobody answered now" if answer is None else ""))
            stored = known
        else:
            stored = store.join(accept(parsed, _welcomed(answer, wait), person, engine))
    remember(own_home, engine_name)
    _report(stored, person, json=json)


_WAIT_AS_MEMBER: Final = 5.0
"""Seconds to wait for an answer, if this home is a member's by all that it knows: it may have been removed since."""


def _is_no_news(answer: Answer | None) -> bool:
    """Whether an answer leaves a member what it was: there is none, or it says that it is a member."""
    return answer is None or (isinstance(answer, Refused) and answer.why is Refusal.MEMBER)


_WAITING: Final = "an admin has to let you in (peer federation approve)"


def _parse(text: str) -> Ticket:
    if text in ("", "-"):
        text = ask_secret("Ticket: ") if sys.stdin.isatty() else sys.stdin.readline()
    try:
        return Ticket.parse(text)
    except BadTicket as error:
        raise PeerError(
            str(error), fix="copy the whole line that `peer federation invite` printed, or scan its QR code"
        ) from error


def _engine(named: str, ticket: Ticket) -> str:
    """The engine as it is named, where it can reach what the ticket names."""
    if named == MANAGED and ticket.addresses and all(each.startswith(_LOCAL) for each in ticket.addresses):
        raise PeerError(
            f"the federation's peers share a directory, {ticket.addresses[0].removeprefix(_LOCAL)}, and no network",
            fix=f"on that machine, name it: --ipfs {ticket.addresses[0]}",
        )
    return named


def _identity(
    home: Home, name: str | None, identity: str | None, passphrases: Passphrases, ticket: Ticket, no_passphrase: bool
) -> Identity:
    """Who joins: an identity of this home, made now where there is none, or where ``name`` is of none here."""
    keys = KeyStore(home.path)
    if identity is not None or (keys.names() and (name is None or name in keys.names())):
        return keys.load(identity or name, passphrases)
    called = name or _identity_name(ticket)
    keys.refuse_taken(called)
    made = Identity.generate(called)
    path = keys.add(made, None if no_passphrase else passphrases.new(called))
    say(f"{called} is {made.signing.verify_key.did}; its keys are in {path}")
    return made


def _identity_name(ticket: Ticket) -> str:
    try:
        return parse_name(ticket.name)
    except BadName as error:
        raise PeerError(
            f"the ticket is for {quoted(ticket.name)}, which cannot be the name of an identity",
            fix="choose another for your keys with --name NAME; the federation calls you as the ticket says",
        ) from error


def _welcomed(answer: Answer | None, wait: float) -> Welcomed:
    match answer:
        case Welcomed():
            return answer
        case Refused(why=why, note=note):
            raise PeerError(
                f"you were not let in: {_WHY[why]}{f': {quoted(note)}' if note else ''}",
                fix="ask the admin for another ticket",
            )
        case Pending():
            raise PeerError(
                _WAITING,
                fix="run this again with the same ticket once that is done, or wait longer: --wait 3600",
                code=ExitCode.UNFINISHED,
            )
    raise PeerError(
        f"nobody answered within {wait:g} s",
        fix="let the admin's peer run meanwhile (peer start, or peer federation invite --wait); "
        "check that its addresses can be reached from here, or name the engine with --ipfs",
        code=ExitCode.UNFINISHED,
    )


def _report(stored: StoredFederation, person: Identity, *, json: bool) -> None:
    manifest = stored.manifest
    member = manifest.members[person.id]
    called, roles = manifest.name_of(person.id), [role.value for role in member.roles]
    if json:
        put_json(
            {
                "federation": str(stored.id),
                "federation_name": manifest.name,
                "version": manifest.version,
                "identity": person.name,
                "did": person.signing.verify_key.did,
                "name": called,
                "roles": roles,
            }
        )
        return
    put(f"joined {manifest.title}, version {manifest.version}: {stored.id}")
    put(f"you are {named(called)}: {', '.join(roles)}")
    put("next: peer audit HEAD" if roles == ["auditor"] else f"next: peer start --role {roles[0]}")
