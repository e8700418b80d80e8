"""``peer federation sign`` and ``proposals``, and how each change of a federation is carried out and told."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from functools import cache
from typing import Annotated

import typer

from crypto.identity import Identity
from crypto.keys import VerifyKey
from peer.base.errors import PeerError
from peer.base.terminal import confirm, put_table
from peer.cli.options import DEFAULT_HOME, FederationOption, HomeOption, JsonOption, MemberOptions
from peer.cli.output import Table, put_fields, put_list, put_result
from peer.engine.chosen_engine import borrowed
from peer.history.named_runs import cid_of
from peer.home.federations import FederationStore, StoredFederation
from peer.home.home import Home
from peer.membership.proposing import Pending, ProposalStore, Proposing
from protocol.federation.proposals import Proposal
from protocol.visible import named

Facts = Callable[[StoredFederation], dict[str, object]]


@contextlib.contextmanager
def at_work(options: MemberOptions) -> Iterator[Proposing]:
    """An admin at work, its keys unlocked; the engine is opened only if it is needed."""
    home = Home(options.home)
    admin, stored = options.unlocked()
    with contextlib.ExitStack() as stack:
        engine = cache(lambda: stack.enter_context(borrowed(home, options.ipfs, stored)))
        yield Proposing(home, FederationStore(home), stored, admin, engine)


def change(
    options: MemberOptions,
    make: Callable[[StoredFederation, Identity], StoredFederation],
    json: bool,
    facts: Facts,
    done: Callable[[StoredFederation], str],
) -> None:
    """Change a federation, or put the change to the other admins where they have to sign it too; say which."""
    with at_work(options) as work:
        tell(work.change(lambda stored: make(stored, work.admin)), json, facts, done)


def tell(
    outcome: StoredFederation | Proposal,
    json: bool,
    facts: Facts,
    done: Callable[[StoredFederation], str],
) -> None:
    """Say what came of a change: a new version, or a proposal for the other admins."""
    if isinstance(outcome, Proposal):
        put_proposal(outcome, json)
        return
    put_result(
        facts(outcome),
        json,
        f"{done(outcome)}: version {outcome.manifest.version} of {outcome.manifest.title}",
        "a peer running with this home takes it up by itself; others need: peer federation export FILE",
    )


def put_proposal(proposal: Proposal, json: bool) -> None:
    """Say that a change waits for other admins, and what they do."""
    count = "1 more admin" if proposal.lacking == 1 else f"{proposal.lacking} more admins"
    put_result(
        {"proposal": proposal_facts(proposal)},
        json,
        f"that is a proposal for version {proposal.next.version}: {count} must sign it",
        f"proposal  {proposal.record.cid}",
        f"next, on another admin's machine: peer federation sign {proposal.record.cid}",
        "(it is fetched from this home's engine, which has to run meanwhile: peer start, or "
        "peer doctor --start-daemon)",
    )


_PROPOSALS = "peer federation proposals lists them, on the machine where one was made or signed"


def sign_proposal(options: MemberOptions, cid: str, yes: bool, json: bool, facts: Facts) -> None:
    """Show what a proposal changes, ask, and sign it."""
    with at_work(options) as work:
        proposal, blocks = work.look(cid_of(cid, _PROPOSALS))
        if not json:
            _show(proposal)
        if not yes:
            _confirm(json)
        tell(work.sign(proposal, blocks), json, facts, lambda _: "enough admins have signed")


def _show(proposal: Proposal) -> None:
    put_fields(
        [
            ("proposal", str(proposal.id)),
            ("federation", proposal.base.title),
            ("version", f"{proposal.next.version}, after {proposal.base.version}"),
            ("signed by", ", ".join(map(named, _signers(proposal)))),
        ]
    )
    put_table("changes", ["what", "before", "after"], _rows(proposal))


def _confirm(json: bool) -> None:
    if json or not sys.stdin.isatty():
        raise PeerError(
            "nobody is here to look at the changes", fix="look at them on a terminal, or say that you know them: --yes"
        )
    if not confirm("Sign this?"):
        raise PeerError("nothing was signed", fix="")


def list_proposals(
    forget: Annotated[
        str | None, typer.Option("--forget", metavar="CID", help="Give this one up. Whoever has it may still sign it.")
    ] = None,
    federation: FederationOption = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """List the changes that wait for admins to sign, as far as this home made or signed them."""
    stored = FederationStore(Home(home)).current(federation)
    kept = ProposalStore(Home(home), stored)
    if forget is not None:
        if (found := kept.find(cid_of(forget, _PROPOSALS))) is None:
            raise PeerError(f"no proposal {forget} waits in this home", fix=_PROPOSALS)
        kept.forget(found.record.id)
    pending = list(kept.all())
    header = ["sign", "version", "missing", "changes"]
    table = Table("proposals", header, [_pending_row(each) for each in pending])
    put_list([_pending_facts(each) for each in pending], json, table, "no proposal waits in this home")


def proposal_facts(proposal: Proposal) -> dict[str, object]:
    """A proposal as ``--json`` shows it."""
    return {
        "id": str(proposal.id),
        "cid": str(proposal.record.cid),
        "version": proposal.next.version,
        "signed_by": _signers(proposal),
        "lacking": proposal.lacking,
        "changes": [{"what": each.what, "before": each.before, "after": each.after} for each in proposal.changes()],
    }


def _signers(proposal: Proposal) -> list[str]:
    names = []
    for key in sorted(proposal.signers):
        member = proposal.base.member_by_key(key) or proposal.next.member_by_key(key)
        names.append(proposal.base.name_of(member.id) if member else VerifyKey(key).did)
    return names


def _rows(proposal: Proposal) -> list[list[str]]:
    return [[each.what, each.before or "-", each.after or "-"] for each in proposal.changes()]


def _pending_facts(pending: Pending) -> dict[str, object]:
    if pending.proposal is None:
        return {"id": str(pending.record.id), "cid": str(pending.record.cid), "outdated": True}
    return proposal_facts(pending.proposal) | {"outdated": False}


def _pending_row(pending: Pending) -> list[str]:
    proposal = pending.proposal
    if proposal is None:
        return [str(pending.record.cid), "-", "-", "outdated: make it again"]
    changes = "; ".join(f"{each.what}: {each.before or '-'} -> {each.after or '-'}" for each in proposal.changes())
    return [str(proposal.record.cid), str(proposal.next.version), str(proposal.lacking), changes]
