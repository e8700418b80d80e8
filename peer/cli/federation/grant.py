"""``peer federation grant``: let an auditor who came later read runs that are over."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import Annotated

import typer

from crypto.identity import Identity
from peer.audit.audit import Audit
from peer.audit.lookup import SECONDS_A_BLOCK
from peer.base.errors import ExitCode, PeerError
from peer.cli.options import JsonOption, MemberOptions
from peer.cli.output import put_result
from peer.engine.choice import borrowed
from peer.engine.interface import Engine
from peer.history.findings import Verdict
from peer.history.scratch import Scratch
from peer.history.sources import EngineSource
from peer.home.federations import StoredFederation
from peer.home.home import Home
from peer.home.journal import Journal, RunHead
from peer.home.reader import granted_epochs, reader_of
from peer.membership.changes import find_member, require_role
from protocol.blocks.cid import CID, Block
from protocol.federation.epochs import grant as grant_of
from protocol.federation.reading import RunKeys
from protocol.records.bodies import Role
from protocol.records.signed import sign_record


def grant(
    name: Annotated[str, typer.Argument(metavar="NAME", help="An auditor of the federation: its name or did:key.")],
    *,
    options: MemberOptions,
    json: JsonOption = False,
) -> None:
    """Give a member the keys of the runs that were led here before it came. Servers only.

    Runs that go on let in whom the manifest lists by themselves. The grants lie beside the runs: export them again.
    """
    place = Home(options.home)
    person, stored = options.unlocked()
    require_role(stored.manifest, person.public, Role.SERVER)
    find_member(stored.manifest, name)
    granted = []
    with contextlib.closing(Journal(place.journal)) as journal, borrowed(place, options.ipfs, stored) as engine:
        for head in journal.heads():
            if head.role is Role.SERVER and head.federation == stored.id:
                blocks = _grants(head, stored, person, name, engine, journal.beside(head.run))
                manifests = [Block(cid, data) for cid, data in stored.blocks.items()]
                engine.put([*manifests, *blocks], pin=[block.cid for block in (*manifests, *blocks)])
                journal.keep_beside(head.run, blocks)
                granted += [head] if blocks else []
    lines = [f"{name} may read run {head.run}; hand it over: peer export {head.head} FILE.car" for head in granted]
    put_result(
        {"granted": [{"run": str(head.run), "head": str(head.head)} for head in granted]},
        json,
        *(lines or ["no encrypted run was led here"]),
    )


def _grants(
    head: RunHead, stored: StoredFederation, person: Identity, name: str, engine: Engine, beside: Sequence[Block]
) -> list[Block]:
    """The grants of one run; none where it is not encrypted, or they were made before."""
    keys = _keys_of(head.head, person, engine)
    key = person.signing_keys[0]
    reader = find_member(stored.manifest, name)
    known = granted_epochs(reader.id, beside)
    given = (
        grant_of(head.run, epoch, stored.manifest, reader, by=person.id, time=time.time())
        for epoch in keys.epochs
        if epoch.number not in known
    )
    return [sign_record(body, [key]) for body in given]


def _keys_of(head: CID, person: Identity, engine: Engine) -> RunKeys:
    """The keys of a run, its chain verified."""
    with Scratch() as scratch:
        audit = Audit(
            head, EngineSource(engine, SECONDS_A_BLOCK), scratch, reader=reader_of(person), with_contents=False
        )
        report = audit.run()
    if report.verdict is not Verdict.VERIFIED:
        raise PeerError(
            f"the run of {head} is {report.verdict.value}, so no keys of it are given",
            fix=f"peer audit {head} tells what is wrong",
            code=report.exit_code,
        )
    keys = audit.keys
    if any(epoch.model is None or epoch.update is None for epoch in keys.epochs):
        raise PeerError(
            f"this home has not all the keys of the run of {head}",
            fix="restore a backup of the identity that led it: peer keys restore FILE",
            code=ExitCode.UNFINISHED,
        )
    return keys
