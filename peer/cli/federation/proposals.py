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
from peer.cli.options import (
    DEFAULT_HOME,
    FederationOption,
    FullOption,
    HomeOption,
    IdentityOption,
    JsonOption,
    MemberOptions,
)
from peer.cli.output import Table, put_fields, put_list, put_result
from peer.history.named_runs import cid_of
from peer.home.federations import FederationStore, StoredFederation
from peer.home.home import Home
from peer.home.keystore import KeyStore
from peer.membership.proposing import Pending, ProposalStore, Proposing, proposing
from protocol.blocks.cid import CID
from protocol.federation.manifest import Manifest
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
        proposal, blocks = work.look(_kept(cid, ProposalStore(work.home, work.stored)))
        if not json:
            _show(proposal)
        if not yes:
            _confirm(json)
        _put_outcome(work.sign(proposal, blocks), json, lambda _: "enough admins have signed")


def reject(
    cid: Annotated[str, typer.Argument(metavar="CID", help="The proposal, as peer federation proposals lists it.")],
    identity: IdentityOption = None,
    federation: FederationOption = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Give a proposal up, another admin's or one's own. The other admins are told, and may still sign it."""
    place = Home(home)
    stored, member = FederationStore(place).current(federation), KeyStore(home).public(identity).public.id
    kept = ProposalStore(place, stored)
    found = kept.find(_kept(cid, kept))
    if found is None:
        raise PeerError(f"no proposal {cid} waits in this home", fix=_PROPOSALS)
    kept.note_rejection(found.record, member, own=True)
    put_result(
        {"rejected": str(found.record.id)},
        json,
        "it is rejected: it does not wait here any more",
        "a peer that stands with this home tells the other admins (peer serve); to sign it after all: "
        f"peer federation sign {found.record.cid}",
    )


def _kept(cid: str, kept: ProposalStore) -> CID:
    """The proposal that is meant: a CID, or the beginning of one that waits here."""
    begun = {id for each in kept.all() for id in (each.record.cid, each.record.id) if str(id).startswith(cid)}
    return begun.pop() if cid and len(begun) == 1 else cid_of(cid, _PROPOSALS)


def _put_outcome(outcome: StoredFederation | Proposal, json: bool, done: Callable[[StoredFederation], str]) -> None:
    if isinstance(outcome, Proposal):
        put_proposal(outcome, json)
        return
    put_result(
        federation_value(outcome),
        json,
        f"{done(outcome)}: version {outcome.manifest.version} of {outcome.manifest.title}",
        "a peer that runs with this home takes it up by itself, and tells all that are connected; for others: "
        "peer federation export FILE",
    )


def put_proposal(proposal: Proposal, json: bool) -> None:
    """Print that a change waits for other admins, and what they have to do."""
    count = "1 more admin" if proposal.lacking == 1 else f"{proposal.lacking} more admins"
    put_result(
        {"proposal": proposal_value(proposal)},
        json,
        f"this is a proposal for version {proposal.next.version}: {count} must sign it",
        f"proposal  {proposal.record.cid}",
        "a peer that stands with this home (peer serve) passes it on to those of the other admins, which keep it",
        f"next, on another admin's machine: peer federation sign {proposal.record.cid}",
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
    full: FullOption = False,
    federation: FederationOption = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """List the proposals that wait for signatures: those that this home made or signed, and those that the standing
    peers of other admins passed on to the one here (peer serve)."""
    stored = FederationStore(Home(home)).current(federation)
    pending = list(ProposalStore(Home(home), stored).all())
    header = ["sign", "version", "signed by", "missing", "rejected by", "changes"]
    table = Table("proposals", header, [_pending_row(each, stored.manifest, full=full) for each in pending])
    put_list([_pending_value(each, stored.manifest) for each in pending], json, table, "no proposal waits in this home")


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


def _pending_value(pending: Pending, manifest: Manifest) -> dict[str, object]:
    if pending.proposal is None:
        return {"id": str(pending.record.id), "cid": str(pending.record.cid), "outdated": True}
    return proposal_value(pending.proposal) | {
        "outdated": False,
        "rejected_by": [manifest.name_of(member) for member in sorted(pending.rejected_by)],
    }


def _pending_row(pending: Pending, manifest: Manifest, *, full: bool) -> list[str]:
    proposal, cid = pending.proposal, pending.record.cid
    shown = str(cid) if full else cid.label
    if proposal is None:
        return [shown, "-", "-", "-", "-", "outdated: make it again"]
    changes = "; ".join(f"{each.what}: {each.before or '-'} -> {each.after or '-'}" for each in proposal.changes())
    signed, rejected = (
        ", ".join(map(named, names))
        for names in (_signers(proposal), map(manifest.name_of, sorted(pending.rejected_by)))
    )
    return [shown, str(proposal.next.version), signed or "-", str(proposal.lacking), rejected or "-", changes]
