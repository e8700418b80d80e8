"""``peer federation sign`` and ``proposals``, and how the commands carry out a change of a federation."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Annotated

import typer

from crypto.identity import Identity
from crypto.keys import VerifyKey
from peer.base.errors import PeerError
from peer.base.terminal import confirm, put_table
from peer.cli.federation.federation_output import federation_value
from peer.cli.options import DEFAULT_HOME, FederationOption, HomeOption, JsonOption, MemberOptions
from peer.cli.output import Table, put_fields, put_list, put_result
from peer.history.named_runs import cid_of
from peer.home.federations import FederationStore, StoredFederation
from peer.home.home import Home
from peer.membership.proposing import Pending, ProposalStore, Proposing, proposing
from protocol.federation.proposals import Proposal
from protocol.visible import named

_PROPOSALS = "peer federation proposals lists them, on the machine where one was made or signed"


@contextlib.contextmanager
def at_work(options: MemberOptions) -> Iterator[Proposing]:
    """An admin at work, with unlocked keys."""
    admin, stored = options.unlocked()
    with proposing(Home(options.home), stored, admin, options.ipfs) as work:
        yield work


def change(
    options: MemberOptions,
    make: Callable[[StoredFederation, Identity], StoredFederation],
    json: bool,
    done: Callable[[StoredFederation], str],
) -> None:
    """Change a federation, or propose the change if other admins have to sign it too. Print which."""
    with at_work(options) as work:
        _put_outcome(work.change(lambda stored: make(stored, work.admin)), json, done)


def sign(
    cid: Annotated[str, typer.Argument(metavar="CID", help="The proposal, as the admin who signed it last was told.")],
    yes: Annotated[bool, typer.Option("--yes", help="Sign without being asked.")] = False,
    *,
    options: MemberOptions,
    json: JsonOption = False,
) -> None:
    """Show what a proposal changes, and sign it. It is in force once enough admins have signed. Admins only."""
    with at_work(options) as work:
        proposal, blocks = work.look(cid_of(cid, _PROPOSALS))
        if not json:
            _show(proposal)
        if not yes:
            _confirm(json)
        _put_outcome(work.sign(proposal, blocks), json, lambda _: "enough admins have signed")


def _put_outcome(outcome: StoredFederation | Proposal, json: bool, done: Callable[[StoredFederation], str]) -> None:
    if isinstance(outcome, Proposal):
        put_proposal(outcome, json)
        return
    put_result(
        federation_value(outcome),
        json,
        f"{done(outcome)}: version {outcome.manifest.version} of {outcome.manifest.title}",
        "a peer that runs with this home takes it up by itself; other members need: peer federation export FILE",
    )


def put_proposal(proposal: Proposal, json: bool) -> None:
    """Print that a change waits for other admins, and what they have to do."""
    count = "1 more admin" if proposal.lacking == 1 else f"{proposal.lacking} more admins"
    put_result(
        {"proposal": proposal_value(proposal)},
        json,
        f"this is a proposal for version {proposal.next.version}: {count} must sign it",
        f"proposal  {proposal.record.cid}",
        f"next, on another admin's machine: peer federation sign {proposal.record.cid}",
        "(it comes from this home's engine, which has to run: peer start, peer serve, or peer doctor --start-daemon)",
    )


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
            "nobody has looked at the changes", fix="run it in a terminal, or say that you know them: --yes"
        )
    if not confirm("Sign this?"):
        raise PeerError("nothing was signed", fix="")


def list_proposals(
    forget: Annotated[
        str | None, typer.Option("--forget", metavar="CID", help="Give this one up. Others who have it may still sign.")
    ] = None,
    federation: FederationOption = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """List proposals that wait for other admins. Shows those that this home made or signed."""
    stored = FederationStore(Home(home)).current(federation)
    kept = ProposalStore(Home(home), stored)
    if forget is not None:
        if (found := kept.find(cid_of(forget, _PROPOSALS))) is None:
            raise PeerError(f"no proposal {forget} waits in this home", fix=_PROPOSALS)
        kept.forget(found.record.id)
    pending = list(kept.all())
    header = ["sign", "version", "missing", "changes"]
    table = Table("proposals", header, [_pending_row(each) for each in pending])
    put_list([_pending_value(each) for each in pending], json, table, "no proposal waits in this home")


def proposal_value(proposal: Proposal) -> dict[str, object]:
    """A proposal for ``--json``."""
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


def _pending_value(pending: Pending) -> dict[str, object]:
    if pending.proposal is None:
        return {"id": str(pending.record.id), "cid": str(pending.record.cid), "outdated": True}
    return proposal_value(pending.proposal) | {"outdated": False}


def _pending_row(pending: Pending) -> list[str]:
    proposal = pending.proposal
    if proposal is None:
        return [str(pending.record.cid), "-", "-", "outdated: make it again"]
    changes = "; ".join(f"{each.what}: {each.before or '-'} -> {each.after or '-'}" for each in proposal.changes())
    return [str(proposal.record.cid), str(proposal.next.version), str(proposal.lacking), changes]
