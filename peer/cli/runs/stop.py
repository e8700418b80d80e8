"""``peer stop`` and ``peer lead``: close a run, or have another server lead it."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

import typer

from peer.base.errors import ExitCode, PeerError
from peer.base.terminal import say
from peer.cli.options import (
    DEFAULT_HOME,
    EngineOption,
    FullOption,
    HomeOption,
    IdentityOption,
    JsonOption,
    MemberOptions,
    OneRunArgument,
    PassphraseFileOption,
    grouped,
    new_app,
)
from peer.cli.output import put_result
from peer.cli.runs.endings import leave
from peer.cli.runs.opened_session import opened_without_app
from peer.control.asking import ask
from peer.control.requests import CancelJob, HandingOver, JobDone, LeadRun, StopRun
from peer.history.named_runs import job_without_run, named_cid, run_here, shown
from peer.home.federations import FederationStore
from peer.home.home import Home
from peer.home.journal import Journal, RunHead
from peer.home.kept_jobs import CANCELLED, KeptJob
from peer.home.keystore import KeyStore
from peer.home.passphrase import Passphrases
from peer.home.reader_choice import reader_of
from peer.membership.changes import is_admin
from peer.run.narrator import Narrator
from protocol.blocks.cid import CID
from protocol.blocks.json_values import json_value
from protocol.roles.electing.handing_over import HANDOVER_LASTS

app = new_app()
lead_app = new_app()

LOOK: Final = 0.25
"""Seconds between looks whether it is closed."""


ELECTED_WITHIN: Final = 60.0
"""Seconds within which a peer has had another server elected, or says why not."""

HANDED_WITHIN: Final = HANDOVER_LASTS + 5.0
"""Seconds within which another leads, or this peer again."""


@app.command("stop")
def stop(
    run: OneRunArgument,
    timeout: Annotated[
        float, typer.Option("--timeout", metavar="SECONDS", min=0, help="How long to wait until it is closed.")
    ] = 60.0,
    ipfs: EngineOption = None,
    identity: IdentityOption = None,
    passphrase_file: PassphraseFileOption = None,
    full: FullOption = False,  # noqa: ARG001  # its callback does what it says
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> ExitCode:
    """Close a run that this home leads, with a record that says so. It cannot be resumed.

    It asks the peer that runs with this home (`peer serve` or `peer start`). If none does, it closes the run itself,
    without starting its app. A job that still waits is given up. To stop the peer and leave its runs open: Ctrl-C, or
    SIGTERM.
    """
    place = Home(home)
    if (job := job_without_run(place, run)) is not None:
        if job.ended is not None:
            raise PeerError(
                f"{run} was given up already: {job.why}", fix=f"put it into the queue again: peer resume {run}"
            )
        cancelled = ask(place, CancelJob(job.number)) or _cancelled(place, job)
        put_result(json_value(cancelled), json, f"{cancelled.name} is given up")
        return ExitCode.DONE
    head = run_here(place, run)
    if head.closed:
        raise PeerError(f"the run {shown(head.run)} is closed already", fix=f"see it: peer history {shown(head.run)}")
    if ask(place, StopRun(str(head.run))) is None:
        last = _closed_here(place, head, ipfs, identity, passphrase_file, quiet=json)
        _put(head.run, last, json)
        leave(ExitCode.DONE)
    closed = _closed(place, head.run, time.monotonic() + timeout)
    if closed is None:
        raise PeerError(
            f"the run {shown(head.run)} is not closed yet; it is asked to be",
            fix="see what it waits for: peer status",
            code=ExitCode.UNFINISHED,
        )
    _put(head.run, closed, json)
    return ExitCode.DONE


@lead_app.command("lead")
@grouped
def lead(
    run: OneRunArgument,
    options: MemberOptions,
    to: Annotated[
        str,
        typer.Option("--to", metavar="NAME", help="The server that is to lead it.", show_default="one that stands by"),
    ] = "",
    full: FullOption = False,  # noqa: ARG001  # its callback does what it says
    json: JsonOption = False,
) -> ExitCode:
    """Have another server lead a run, without waiting until its leader is silent.

    In the home of its leader, to stop that machine for a while, say: the peer that runs there records nothing more and
    asks that server to stand. It stands by then, until it is stopped. If the other is not elected within 5 s, it goes
    on.

    In any home with an admin's key, be the leader here or not: it signs a warrant, by which the voters elect that
    server although they hear the leader. It takes more than half of them in any case, within 20 s.
    """
    place = Home(options.home)
    cid = named_cid(place, run)
    head = _known(place, cid)
    if head is not None and head.closed:
        raise PeerError(f"the run {shown(head.run)} is closed", fix=f"see it: peer history {shown(head.run)}")
    cid = cid if head is None else head.run
    handing = ask(place, LeadRun(str(cid), to), ELECTED_WITHIN) or _appointed_here(place, cid, head, options, to, json)
    name, term = handing.to, handing.term
    if term is None and head is not None:
        newest = _head_in_term(place, cid, head.term + 1, time.monotonic() + HANDED_WITHIN)
        term = None if newest is None else newest.term
    if term is None:
        raise PeerError(
            f"{name} was not elected to lead the run {shown(cid)}: this peer goes on with it",
            fix="see that it stands by, and which voters are here: peer status",
            code=ExitCode.UNFINISHED,
        )
    by_word = "; this peer stands by" if handing.term is None else ""
    told = {"run": str(cid), "to": name, "term": term}
    put_result(told, json, f"{name} leads the run {shown(cid)} in term {term}{by_word}")
    return ExitCode.DONE


def _known(home: Home, cid: CID) -> RunHead | None:
    """How far this home knows a run, named by itself or its head; None if it has no part in it."""
    if not home.journal.exists():
        return None
    with Journal(home.journal) as journal:
        return journal.head_of(cid) or journal.run_of(cid)


def _appointed_here(
    home: Home, run: CID, head: RunHead | None, options: MemberOptions, to: str, quiet: bool
) -> HandingOver:
    """Have a server elected by an admin's warrant, in a home with which no peer runs.

    Raises:
        PeerError: if the home has no admin's key, or nobody was elected.
    """
    if head is not None and options.federation is None:
        options = replace(options, federation=str(head.federation))
    passphrases = Passphrases.of_process(options.passphrase_file)
    person, stored = options.unlocked(passphrases)
    if not is_admin(stored.manifest, person.public):
        raise PeerError(
            f"no peer runs with the home {home.path}, and its member is no admin of {stored.manifest.title}",
            fix="have an admin say so, in any home with an admin's key: peer lead RUN --to NAME; a run whose leader is "
            "not here is taken over by a server that stands by, without that",
        )
    report = Narrator(None if quiet else say).tell
    with opened_without_app(home, person, stored, passphrases, options.ipfs, report) as session:
        from peer.roles.appointing import appointing
        from peer.run.peer import run_alone

        made = appointing(session, run, to)
        appointed = made.appointed(run_alone(made.prepared))
    return HandingOver(run, appointed.name, appointed.term)


def _head_in_term(home: Home, run: CID, term: int, until: float) -> RunHead | None:
    """How far the run is known here, once it is in this term or a higher one; None if it is not ``until`` then."""
    while True:
        with Journal(home.journal) as journal:
            head = journal.head_of(run)
        if head is not None and head.term >= term:
            return head
        if time.monotonic() >= until:
            return None
        time.sleep(LOOK)


def _put(run: CID, head: CID, json: bool) -> None:
    put_result({"run": str(run), "head": str(head)}, json, f"the run {shown(run)} is closed: head {head}")


def _cancelled(home: Home, job: KeptJob) -> JobDone:
    """Give up a job that waits while no peer runs."""
    with home.lock(), Journal(home.journal) as journal:
        journal.jobs.end(job.number, time.time(), CANCELLED)
    return JobDone(job.number, job.name, job.app, job.run)


def _closed_here(
    home: Home, head: RunHead, ipfs: str | None, identity: str | None, passphrase_file: Path | None, *, quiet: bool
) -> CID:
    """The last record of the run, which this process has closed.

    Raises:
        PeerError: if this home did not lead it, or it cannot be closed now.
    """
    with Journal(home.journal) as journal:
        has_led = journal.has_led(head)
    if not has_led:
        raise PeerError(f"this home has not led the run {shown(head.run)}", fix="only its server closes a run")
    passphrases = Passphrases.of_process(passphrase_file)
    person, stored = KeyStore(home.path).load(identity, passphrases), FederationStore(home).get(head.federation)
    if stored is None:
        raise PeerError("this home is not in its federation any more", fix="peer federation join FILE")
    stored, report = FederationStore(home).opened(stored, reader_of(person)), Narrator(None if quiet else say).tell
    with opened_without_app(home, person, stored, passphrases, ipfs or head.engine, report) as session:
        from peer.roles.leading import closing
        from peer.run.peer import STOPPED_BY_OWNER, run_alone

        led = closing(session, head.run, STOPPED_BY_OWNER)
        ending = None if led is None else run_alone(led.prepared)
        closed = None if led is None else led.closed()
        if closed is None:
            why = f": {ending.why}" if ending is not None and ending.why else ""
            raise PeerError(
                f"the run {shown(head.run)} is not closed{why}",
                fix=(ending.fix if ending is not None else "") or "try again; peer status shows how the home is",
                code=ExitCode.UNFINISHED,
            )
        session.journal.finish(closed.run)
        for job in session.journal.jobs.all():
            if job.run == closed.run and job.ended is None:
                session.journal.jobs.end(job.number, time.time())
        return closed.head


def _closed(home: Home, run: CID, until: float) -> CID | None:
    """The last record of the run, once it is closed; None if it is not ``until`` then."""
    while True:
        with Journal(home.journal) as journal:
            head = journal.head_of(run)
        if head is not None and head.closed:
            return head.head
        if time.monotonic() >= until:
            return None
        time.sleep(LOOK)
