"""``peer federation set voters`` and ``peer federation voters``: who votes for the leader of a run."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import Annotated

import typer

from crypto.keys import VerifyKey
from peer.base.errors import PeerError
from peer.cli.federation.federation_output import voters_in_words
from peer.cli.federation.proposals import change
from peer.cli.options import FullOption, JsonOption, MemberOptions
from peer.cli.output import put_fields, put_json
from peer.history.named_runs import named_cid
from peer.home.federations import StoredFederation
from peer.home.home import Home
from peer.home.journal import Journal
from peer.membership.changes import change_voting, name_voters, take_back_voters
from protocol.blocks.cid import CID
from protocol.federation.manifest import Manifest
from protocol.federation.voters import Voting, majority_of, voters_of


class Who(StrEnum):
    """Who votes, as people say it."""

    SERVERS = "servers"
    ALL = "all"

    @property
    def voting(self) -> Voting:
        """As the manifest says it."""
        return Voting.SERVERS if self is Who.SERVERS else Voting.ALL


def set_voters(
    who: Annotated[Who, typer.Argument(metavar="servers|all", help="`all`: servers and clients.")],
    *,
    options: MemberOptions,
    json: JsonOption = False,
) -> None:
    """Set who votes on which server leads a run, if it is to be another one. Admins only.

    More than half of the voters are needed. Let servers alone vote if clients come and go; then three servers or more.
    """
    change(
        options,
        lambda stored, by: change_voting(stored, by, who.voting, time=time.time()),
        json,
        lambda stored: f"who votes: {voters_in_words(stored.manifest)}",
    )


def voters(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run: its name here, or the CID of its first record.")],
    names: Annotated[list[str], typer.Argument(metavar="[NAME]...", help="The members that are to vote.")] = [],  # noqa: B006  # typer copies it
    remove: Annotated[
        bool, typer.Option("--remove", help="Take the names back: who votes goes by the federation's setting.")
    ] = False,
    *,
    options: MemberOptions,
    full: FullOption = False,  # noqa: ARG001  # its callback does what it says
    json: JsonOption = False,
) -> None:
    """Name the members that vote on which server leads a run, in place of all. Admins only. Without names, show them.

    It counts once the run's server has written the new manifest into the run. So name them while that server is there.
    """
    if names and remove:
        raise PeerError("NAME and --remove are two different things to do", fix="ask for one at a time")
    stored = options.stored()
    cid = _run(Home(options.home), stored, run)
    if not names and not remove:
        _show(stored.manifest, cid, json)
        return
    change(
        options,
        lambda before, by: (
            name_voters(before, by, cid, names, time=time.time())
            if names
            else take_back_voters(before, by, cid, time=time.time())
        ),
        json,
        lambda after: f"who votes: {voters_in_words(after.manifest, cid)}",
    )


def _run(home: Home, stored: StoredFederation, text: str) -> CID:
    """The run that is meant. An admin's home need not have it: then any CID may be one."""
    cid = named_cid(home, text)
    if not home.journal.exists():
        return cid
    with Journal(home.journal) as journal:
        known = journal.head_of(cid) or journal.run_of(cid)
    if known is None:
        return cid
    if known.federation != stored.id:
        raise PeerError(
            f"the run {known.run} is not in {stored.manifest.title}", fix="name its federation: --federation NAME"
        )
    return known.run


def _show(manifest: Manifest, run: CID, json: bool) -> None:
    there = voters_of(manifest, run)
    if json:
        dids = [VerifyKey.parse(each).did for each in sorted(there)]
        put_json({"run": str(run), "named": run in manifest.voters, "voters": dids, "majority": majority_of(there)})
        return
    put_fields(
        [
            ("run", str(run)),
            ("voters", voters_in_words(manifest, run)),
            ("members", ", ".join(sorted(map(manifest.called, there)))),
        ]
    )
