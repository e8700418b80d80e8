"""``peer federation shred``: have the keys of runs destroyed at every member, so that nobody reads their contents."""

from __future__ import annotations

import sys
import time
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Annotated, Final

import typer

from crypto.identity import Identity
from peer.base.errors import ExitCode, PeerError
from peer.base.terminal import confirm, put
from peer.cli.federation.proposals import change
from peer.cli.options import FullOption, JsonOption, MemberOptions
from peer.cli.output import Table, put_fields, put_list, put_result
from peer.engine.chosen_engine import borrowed
from peer.engine.interface import Engine
from peer.erasure.carrying_out import Erasing, Outcome
from peer.erasure.shredded_runs import by_whom
from peer.erasure.telling import list_keys, new_keys
from peer.erasure.words import MemberStatus, statuses, take_word
from peer.history.named_runs import named_cid, run_here
from peer.home.federations import StoredFederation
from peer.home.home import Home
from peer.home.journal import Journal
from peer.home.passphrase import Passphrases
from peer.membership.changes import change_shredded, is_admin
from peer.membership.proposing import ProposalStore
from protocol.blocks.cid import CID
from protocol.federation.erasures import NotAWord, Step, read_line_of_word
from protocol.federation.proposals import Proposal
from protocol.federation.shreddings import Shredding
from protocol.visible import named

KEPT_BY_COPIES = (
    "Whoever has copied keys keeps them: a key backup (peer keys backup, its words too), a copy or snapshot of a home, "
    "an earlier member. Reports, attestations, pulled models, logs and metrics that were taken out of the run stay as "
    "they are. A keeper's blocks, and CAR files, stay too, and nobody opens them without a copied key."
)
"""What a shredding does not reach. The command says it, and docs/threats.md."""

HOW_IT_GOES_ON: Final = (
    "A running peer destroys the keys by itself. If a member runs none: peer federation shred --carry-out, once its "
    "home has the newest manifest (peer federation join FILE). Who has done it: peer federation shred --status"
)


def shred(
    runs: Annotated[list[str], typer.Argument(metavar="[RUN]...", help="The runs, all of which are closed.")] = [],  # noqa: B006  # typer copies it
    from_epoch: Annotated[
        int,
        typer.Option("--from-epoch", metavar="N", min=1, help="The first epoch to be unreadable; those before stay."),
    ] = 1,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the other members.")] = "",
    carry_out: Annotated[
        bool,
        typer.Option("--carry-out", help="Destroy the keys in this home that admins have ordered to be destroyed."),
    ] = False,
    without: Annotated[
        list[str],
        typer.Option("--without", metavar="RUN", help="With --carry-out: give up this run too, which cannot be read."),
    ] = [],  # noqa: B006
    take: Annotated[
        str | None,
        typer.Option("--take", metavar="WORD", help="Take in what another member's --carry-out printed. For admins."),
    ] = None,
    status: Annotated[bool, typer.Option("--status", help="Show who has destroyed the keys, and who has not.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do it without being asked.")] = False,
    *,
    options: MemberOptions,
    full: FullOption = False,  # noqa: ARG001  # its callback does what it says
    json: JsonOption = False,
) -> ExitCode:
    """Destroy the keys of runs at every member, for ever. The chains still verify, and nobody reads what is in them.

    With RUN, an admin orders it, in the next version of the manifest. Each member's peer then carries it out and says
    so; for a member that runs none, --carry-out does it by hand.
    """
    if sum([bool(runs), carry_out, take is not None, status]) > 1:
        raise PeerError(
            "RUN, --carry-out, --take and --status are four different things to do", fix="ask for one at a time"
        )
    if carry_out:
        return _carry_out(options, without, yes, json)
    if take is not None:
        _take(options, take, json)
    elif runs:
        _order(options, runs, from_epoch, reason, yes, json)
    else:
        _show(options.stored(), Home(options.home), json)
    return ExitCode.DONE


# -- an admin orders it ----------------------------------------------------------------------------------------------


def _order(options: MemberOptions, runs: list[str], epoch: int, reason: str, yes: bool, json: bool) -> None:
    home, stored = Home(options.home), options.stored()
    cids = [_closed_run(home, stored, text) for text in runs]
    if not json:
        for cid in cids:
            put(
                f"run {cid}: nobody will read it from epoch {epoch} on"
                if epoch > 1
                else f"run {cid}: nobody will read it"
            )
        put(KEPT_BY_COPIES)
        put(HOW_IT_GOES_ON)
    _ask(yes, json)
    change(
        options,
        lambda before, by: change_shredded(before, by, cids, epoch=epoch, reason=reason, time=time.time()),
        json,
        lambda _: (
            f"every member is to destroy the keys of {'the run' if len(cids) == 1 else f'these {len(cids)} runs'}"
        ),
    )


def _closed_run(home: Home, stored: StoredFederation, text: str) -> CID:
    head = run_here(home, text)
    if head.federation != stored.id:
        raise PeerError(
            f"the run {head.run} is not in {stored.manifest.title}", fix="name its federation: --federation NAME"
        )
    if not head.closed:
        raise PeerError(
            f"the run {head.run} is open, as far as this home knows: its members still need its keys",
            fix=f"let its server close it first: peer stop {head.run}",
        )
    return head.run


def _ask(yes: bool, json: bool) -> None:
    if yes:
        return
    if json or not sys.stdin.isatty():
        raise PeerError(
            "this is for ever, and nobody was asked", fix="run it in a terminal, or say that you mean it: --yes"
        )
    if not confirm("Destroy these keys, for ever?"):
        raise PeerError("nothing was changed", fix="")


# -- a member carries it out -----------------------------------------------------------------------------------------


def _carry_out(options: MemberOptions, without: list[str], yes: bool, json: bool) -> ExitCode:
    home = Home(options.home)
    given_up = {named_cid(home, each) for each in without}
    if given_up:
        _ask(yes, json)

    def engine(address: str) -> AbstractContextManager[Engine]:
        return borrowed(home, options.ipfs or address, options.stored())

    passphrases = Passphrases.of_process(options.passphrase_file)
    outcome = Erasing(home, options.identity, passphrases, engine, options.ipfs, given_up).carry_out()
    stored = options.unlocked(passphrases)[1]
    listed = _list_keys(home, stored, outcome.identity, options.ipfs)
    if listed is not None and outcome.step is Step.WAIT:
        outcome = Erasing(home, options.identity, passphrases, engine, options.ipfs, given_up).carry_out()
    put_result(_outcome_value(outcome), json, *_lines(outcome, listed, stored, peer_runs=home.is_locked))
    return ExitCode.DONE if outcome.step is Step.NOTHING else ExitCode.UNFINISHED


def _list_keys(
    home: Home, stored: StoredFederation, person: Identity, ipfs: str | None
) -> StoredFederation | Proposal | None:
    """Put the new keys of all that wait into the manifest, if there are any and this person is an admin. The proposal
    that waits, if there is one."""
    with Journal(home.create().journal) as journal:
        waiting = new_keys(stored, journal)
    if not waiting or not is_admin(stored.manifest, person.public):
        return None
    proposed = ProposalStore(home, stored).signed_by(person)
    return list_keys(home, stored, person, waiting, ipfs) if proposed is None else proposed.proposal


def _lines(
    outcome: Outcome, listed: StoredFederation | Proposal | None, stored: StoredFederation, *, peer_runs: bool
) -> list[str]:
    lines = []
    if isinstance(listed, Proposal):
        lines.append(f"other admins have to sign that new keys are listed: peer federation sign {listed.record.cid}")
    elif listed is not None:
        lines.append(f"version {listed.manifest.version} lists the new keys of members")
    if outcome.shredded:
        runs = sorted({str(each.run) for each in outcome.shredded})
        lines += [f"the keys of run {run} are destroyed in this home" for run in runs]
        lines.append(f"the keys of {outcome.kept} epochs of other runs stay, under new keys of {outcome.identity.name}")
        lines += [f"not deleted, and yours to delete: {path}" for path in outcome.left]
        lines.append(KEPT_BY_COPIES)
        lines.append("make a new backup, and destroy those before it: peer keys backup FILE")
    if outcome.step is Step.WAIT:
        where = " and of ".join(outcome.unlisted)
        lines.append(f"this home has new keys, and the manifest of {where} has to list them before the old ones can go")
    for word in outcome.words.values():
        what = "these keys are destroyed" if word.body.destroyed else "this home has new keys"
        if peer_runs:
            lines.append(f"{what}: the running peer tells the other members")
        else:
            lines.append(f"{what}: a peer that runs (peer serve) tells the other members; or have an admin type:")
            lines.append(f"peer federation shred --take {word.line()}")
    if lines:
        return lines
    return [
        f"nothing is to be destroyed in this home, by version {stored.manifest.version} of {stored.manifest.title}; "
        "a newer version has to be taken in first: peer federation join FILE"
    ]


def _outcome_value(outcome: Outcome) -> dict[str, object]:
    return {
        "step": outcome.step.value,
        "shredded": [{"run": str(each.run), "epoch": each.epoch} for each in outcome.shredded],
        "epochs_kept": outcome.kept,
        "left": [str(path) for path in outcome.left],
        "words": {str(federation): word.line() for federation, word in outcome.words.items()},
    }


def _take(options: MemberOptions, line: str, json: bool) -> None:
    home = Home(options.home)
    try:
        word = read_line_of_word(line)
    except NotAWord as error:
        raise PeerError(
            f"that is no member's word: {error}",
            fix="copy the whole line that peer federation shred --carry-out printed",
        ) from error
    person, stored = options.unlocked()
    who = named(stored.manifest.name_of(word.member))
    if not word.is_by_member(stored.manifest):
        raise PeerError(f"the word is by nobody who is in {stored.manifest.title} now", fix="peer federation show")
    with Journal(home.create().journal) as journal:
        new = take_word(word, stored, journal)
    listed = _list_keys(home, stored, person, options.ipfs)
    said = "has destroyed the keys" if word.body.destroyed else "has new keys, and has not destroyed the old ones yet"
    lines = [f"{who} says that it {said}" + ("" if new else " (this was known)")]
    if isinstance(listed, Proposal):
        lines.append(f"other admins have to sign that they are listed: peer federation sign {listed.record.cid}")
    elif listed is not None:
        lines.append(f"version {listed.manifest.version} lists them; tell {who}: peer federation export FILE")
    put_result({"member": stored.manifest.name_of(word.member), "destroyed": word.body.destroyed}, json, *lines)


# -- who has done it -------------------------------------------------------------------------------------------------


def _show(stored: StoredFederation, home: Home, json: bool) -> None:
    manifest = stored.manifest
    values, rows = [], []
    with Journal(home.create().journal) as journal:
        for shredding in manifest.shredded:
            found = list(statuses(stored, shredding, journal))
            values.append(shredding_value(stored, shredding, found))
            for each in found:
                rows.append([str(shredding.run), str(shredding.epoch), manifest.called(each.member), in_words(each)])
    if not json:
        for shredding in manifest.shredded:
            put_fields([("run", str(shredding.run)), ("shredded", by_whom(stored, shredding))])
    table = Table("shredded", ["run", "from epoch", "member", "its keys"], rows)
    put_list(values, json, table, "no run of this federation is shredded")
    if rows and not json:
        put("A word shows that a member says so, with new keys; nothing can show that it kept no copy.")


def in_words(status: MemberStatus) -> str:
    """How far a member is."""
    if status.word is None or status.since is None:
        return "not heard of yet"
    when = datetime.fromtimestamp(status.since, UTC).strftime("%Y-%m-%d %H:%M UTC")
    if status.confirmed:
        return f"destroyed, it says, on {when}"
    return f"new ones since {when}, " + ("which an admin has to list" if status.awaits_admin else "which are listed")


def shredding_value(stored: StoredFederation, shredding: Shredding, found: list[MemberStatus]) -> dict[str, object]:
    """A shredding for ``--json``."""
    return {
        "run": str(shredding.run),
        "from_epoch": shredding.epoch,
        "reason": shredding.reason,
        "version": shredding.version,
        "at": shredding.at,
        "members": [
            {
                "name": stored.manifest.name_of(each.member),
                "destroyed": each.confirmed,
                "awaits_admin": each.awaits_admin,
                "since": each.since,
            }
            for each in found
        ],
    }
