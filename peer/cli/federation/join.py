"""``peer join``: become a member with a ticket. Makes an identity if the home has none."""

from __future__ import annotations

import sys
from typing import Annotated, Final

import typer

from crypto.errors import BadName
from crypto.identity import Identity, parse_name
from peer.base.errors import ExitCode, PeerError
from peer.base.terminal import ask_secret, say
from peer.cli.federation.federation_output import put_joined
from peer.cli.options import (
    DEFAULT_HOME,
    EngineOption,
    HomeOption,
    IdentityOption,
    JsonOption,
    NoPassphraseOption,
    PassphraseFileOption,
    ReachOptions,
    grouped,
    new_app,
)
from peer.cli.output import put_json
from peer.engine.addresses_for_others import shared_directory
from peer.engine.chosen_engine import MANAGED, borrowed, chosen, remember
from peer.engine.interface import Engine
from peer.home.federations import FederationStore, StoredFederation
from peer.home.home import Home
from peer.home.keystore import KeyStore
from peer.home.passphrase import Passphrases
from peer.membership.joining import accept, ask_to_join
from peer.reach.reachability import Reachability, both_ways, channels_to
from peer.reach.words import inward_words, outward_words
from protocol.joining.messages import Answer, Join, Pending, Refused, Welcomed, WhyRefused
from protocol.joining.tickets import BadTicket, Ticket
from protocol.visible import quoted

app = new_app()


_WHY: Final = {
    WhyRefused.EXPIRED: "the ticket has expired",
    WhyRefused.USED: "somebody else has used the ticket",
    WhyRefused.NAME_TAKEN: "a member has the name that the ticket gives",
    WhyRefused.MEMBER: "this identity is a member of the federation already",
    WhyRefused.REMOVED: "this identity has joined with the ticket before, and was taken out of the federation",
    WhyRefused.UNFIT: "the federation's rules do not allow it",
}


@app.command()
@grouped
def join(
    ticket: Annotated[
        list[str],
        typer.Argument(
            metavar="[TICKET]",
            help="What `peer federation invite` printed. Better leave it out, because other users of this machine can "
            "read the command line: you are then asked for it, or it is read from standard input.",
        ),
    ] = [],  # noqa: B006  # typer copies it
    name: Annotated[
        str | None,
        typer.Option("--name", help="The name of the new identity.", show_default="the ticket's name"),
    ] = None,
    wait: Annotated[float, typer.Option("--wait", min=0.1, help="Seconds to wait until you are let in.")] = 60.0,
    no_passphrase: NoPassphraseOption = False,
    ipfs: EngineOption = None,
    identity: IdentityOption = None,
    passphrase_file: PassphraseFileOption = None,
    home: HomeOption = DEFAULT_HOME,
    *,
    reach: ReachOptions,
    json: JsonOption = False,
) -> None:
    """Join a federation with a ticket, as this home's identity. A home without one gets a new identity.

    If you have to wait, or are cut off, run it again: it goes on.
    """
    asked = reach.asked()
    parsed = _parse(" ".join(ticket))  # a list, so that no error about arguments prints a part of the ticket
    own_home = Home(home).create()
    person = _identity(own_home, name, identity, Passphrases.of_process(passphrase_file), parsed, no_passphrase)
    store = FederationStore(own_home)
    known = store.get(parsed.federation)
    if known is not None and person.id not in known.manifest.members:
        known = None
    engine_name = _engine(chosen(own_home, ipfs), parsed)
    with borrowed(own_home, engine_name, parsed, asked) as engine:
        join = Join(person.public_for(bytes(parsed.federation)))
        patience = wait if known is None else min(wait, _WAIT_AS_MEMBER)
        answer = ask_to_join(parsed, join, engine, patience, lambda: say(f"{_WAITING}; waiting"))
        if known is not None and _is_no_news(answer):
            say(
                f"this home has joined {known.manifest.title} before{'; nobody answered now' if answer is None else ''}"
            )
            stored = known
        else:
            if answer is None:
                raise _nobody_answered(engine, parsed, wait)
            stored = store.join(accept(parsed, _welcomed(answer), person, engine))
        reached = _reached(engine, stored, person)
    remember(own_home, engine_name)
    _report(stored, person, reached, json=json)


_WAIT_AS_MEMBER: Final = 5.0
"""Seconds to wait for an answer if this home is a member already. It asks, because it may have been taken out since."""


def _is_no_news(answer: Answer | None) -> bool:
    """Whether a member stays a member: there is no answer, or the answer says so."""
    return answer is None or (isinstance(answer, Refused) and answer.why is WhyRefused.MEMBER)


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
    """The engine, unless it cannot reach the engines in the ticket."""
    if named == MANAGED and (directory := shared_directory(ticket.addresses)):
        raise PeerError(
            f"the members use a directory as their engine, {directory.partition(':')[2]}, and no network",
            fix=f"use it too, on that machine: --ipfs {directory}",
        )
    return named


def _identity(
    home: Home, name: str | None, identity: str | None, passphrases: Passphrases, ticket: Ticket, no_passphrase: bool
) -> Identity:
    """The identity that joins. A new one is made if the home has none, or none that is called ``name``."""
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
            fix="choose another name for your keys with --name NAME; in the federation you have the ticket's name",
        ) from error


def _nobody_answered(engine: Engine, ticket: Ticket, wait: float) -> PeerError:
    """The error, which says whose firewall is in the way if one is."""
    found, fix = Reachability(), ""
    what = f"nobody answered within {wait:g} s"
    if engine.streams is not None and ticket.addresses:
        found = both_ways(engine.streams, (), ticket.addresses, ())
        words, fix = outward_words(found)
        what = f"{what}: {words}"
    if found.gets_out or not fix:
        fix = "an admin's peer has to run (peer start, peer serve, or peer federation invite --wait)"
        fix += "" if found.outward else "; check that its addresses can be reached, or name the engine with --ipfs"
    return PeerError(what, fix=fix, code=ExitCode.UNFINISHED)


def _reached(engine: Engine, stored: StoredFederation, person: Identity) -> Reachability:
    """Whether other members reach this one. Nothing is tested if it tells nobody an address that they could reach."""
    if engine.streams is None:
        return Reachability()
    return both_ways(engine.streams, engine.addresses(), (), channels_to(stored, {person.id}))


def _welcomed(answer: Answer) -> Welcomed:
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
                fix="run this again with the same ticket after that, or wait longer: --wait 3600",
                code=ExitCode.UNFINISHED,
            )


def _report(stored: StoredFederation, person: Identity, reached: Reachability, *, json: bool) -> None:
    manifest = stored.manifest
    member = manifest.members[person.id]
    words, fix = inward_words(reached) if reached.asked else ("", "")
    if not json:
        put_joined(manifest, [member])
        if words:
            say(f"others reach this node: {words}" if reached.is_reached else f"others do not reach this node: {words}")
        if fix:
            say(f"  it can train all the same, because it dials out; to be reached: {fix}")
        return
    put_json(
        {
            "federation": str(stored.id),
            "federation_name": manifest.name,
            "version": manifest.version,
            "identity": person.name,
            "did": person.signing.verify_key.did,
            "name": manifest.name_of(person.id),
            "roles": [role.value for role in member.roles],
            "reached": reached.is_reached if words else None,
        }
    )
