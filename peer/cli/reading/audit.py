"""``peer audit``: verify a run by every rule, and show who did what."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from peer.audit.audit import Audit
from peer.audit.kept import KeptReports
from peer.audit.replay import ComparedExchange
from peer.audit.root import given_root
from peer.audit.trusted_app import local_config, own_app, trusted_app
from peer.base.errors import ExitCode, PeerError
from peer.base.terminal import put_json_part
from peer.cli.options import (
    DEFAULT_HOME,
    EngineOption,
    HomeOption,
    IdentityOption,
    JsonOption,
    PassphraseFileOption,
)
from peer.cli.output import put_json
from peer.cli.reading.cids import head_named, is_car
from peer.cli.reading.proof import proof_in_file, proof_named, put_proof
from peer.cli.reading.report import put_compared, put_report, put_root
from peer.engine.choice import borrowed
from peer.history.findings import Verdict
from peer.history.scratch import Scratch
from peer.history.sources import CarSource, EngineSource, RunSource
from peer.home.federations import FederationStore, StoredFederation
from peer.home.home import Home
from peer.home.journal import approved_apps
from peer.home.reader import ReaderChoice, with_names
from peer.home.run_extras import Beside, beside_head, beside_of, run_named
from protocol.blocks.cid import CID, Block, BlockError
from protocol.federation.manifest import PUBLIC
from protocol.federation.reading import Reader
from protocol.records.bodies import Run
from protocol.records.signed import WellSigned, parse_record

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

HeadArgument = Annotated[
    str, typer.Argument(metavar="HEAD|FILE.car", help="The newest record of a run, or a file with one.")
]
AuditedArgument = Annotated[
    str, typer.Argument(metavar="HEAD|PROOF|FILE.car", help="A run's newest record, a proof, or a file with one.")
]
TimeoutOption = Annotated[
    float, typer.Option("--timeout", metavar="SECONDS", min=0, help="How long to look for one block.")
]


@app.command("audit")
def audit(
    head: AuditedArgument,
    ipfs: EngineOption = None,
    timeout: TimeoutOption = 30.0,
    replay: Annotated[bool, typer.Option("--replay", help="Run the app again, and compare all it sends.")] = False,
    app_dir: Annotated[
        Path | None,
        typer.Option("--app", metavar="DIR", help="The app to replay with.", show_default="built-in or approved"),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", metavar="DIR", help="For the app: where a dataset is.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="MODULE:CLASS", help="Of the built-in app: the model class that may run here."),
    ] = None,
    to_round: Annotated[
        int | None, typer.Option("--to-round", metavar="N", min=1, help="Replay to the end of this round.")
    ] = None,
    federation: Annotated[
        str | None,
        typer.Option(
            "--federation",
            metavar="ID|FILE",
            help="The root of trust: the federation that the run has to be in, or its file.",
            show_default="what this home has joined",
        ),
    ] = None,
    identity: IdentityOption = None,
    passphrase_file: PassphraseFileOption = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> ExitCode:
    """Verify a run by every rule, and that all it links is there. A CAR file needs no engine.

    The first line says whose word the verdict rests on. With --federation, no run of another federation is verified.

    With --replay, also run its app again on the recorded replies: it has to send the same messages, bit for bit. Of an
    encrypted run that takes the key of a server or an auditor; verifying takes none.

    A proof of equivocation (two records that one signer signed at one place) is checked on its own, and ends with 1.
    """
    if not replay and not (app_dir is None and data_dir is None and model is None and to_round is None):
        raise PeerError(
            "--app, --data-dir, --model and --to-round are for a replay", fix="add --replay", code=ExitCode.WRONG_USE
        )
    place = Home(home)
    known = _known(place, federation)
    proof = proof_in_file(Path(head), known) if is_car(head) else proof_named(head, place, known, ipfs, timeout)
    if proof is not None:
        if json:
            put_json(proof.value())
        else:
            put_proof(proof)
        return ExitCode.VERIFICATION_FAILED
    reader = ReaderChoice(identity, passphrase_file, needed=replay)
    config = local_config(data_dir, model)
    own = None if app_dir is None else own_app(app_dir, config)
    with Scratch() as scratch, audit_of(head, place, ipfs, timeout, scratch, reader, root=federation) as prepared:
        report = prepared.run()
        if not is_car(head):
            KeptReports(place).keep(report, scratch, prepared.basis, prepared.reader)
        if not json:
            put_root(report)
        if replay and report.verdict is Verdict.VERIFIED:
            chosen = own or trusted_app(
                prepared.bundle(), head, prepared.source, config, approved_apps(place), prepared.run_config()
            )
            prepared.replay(chosen, to_round=to_round, on_compared=_nothing if json else put_compared)
        if json:
            for part in report.json_parts(scratch):
                put_json_part(part)
            put_json_part("\n")
        else:
            put_report(report, scratch, replay=replay)
    return report.exit_code


def _nothing(_: ComparedExchange) -> None:
    pass


def _known(home: Home, root: str | None) -> list[StoredFederation]:
    """The federations that say whose a key is: those of this home, or the one that the auditor named alone."""
    joined = FederationStore(home).all()
    if root is None:
        return list(joined)
    given = given_root(root, joined)
    return [stored for stored in given.known if stored.id == given.federation]


@contextlib.contextmanager
def audit_of(
    text: str,
    home: Home,
    ipfs: str | None,
    timeout: float,
    scratch: Scratch,
    reader: ReaderChoice,
    *,
    root: str | None = None,
    with_contents: bool = True,
    well_signed: WellSigned = frozenset(),
) -> Iterator[Audit]:
    """An audit of what ``text`` names: a CAR file, or a head (or a run of this home) in an engine.

    ``reader`` is who reads it, if it is encrypted; ``root`` is the root of trust, as the auditor named it. What is
    ``well_signed`` is not verified again: nothing, for `peer audit`.

    Raises:
        PeerError: if it is neither, or ``root`` names no federation.
    """
    joined = FederationStore(home).all()
    given = None if root is None else given_root(root, joined)
    known, trusted = (joined, None) if given is None else (given.known, given.federation)
    if is_car(text):
        with contextlib.closing(CarSource(Path(text))) as car:
            head, beside = roots_of(car, text)
            beside = beside.and_of(beside_head(home, head, car))
            opened = _reader(head, car, home, reader, beside)
            yield Audit(
                head,
                car,
                scratch,
                known=known,
                root=trusted,
                reader=opened,
                beside=beside,
                with_contents=with_contents,
                well_signed=well_signed,
            )
        return
    head, height = head_named(home, text)
    federation = joined[0] if len(joined) == 1 else None
    with borrowed(home, ipfs, federation) as engine:
        source = EngineSource(engine, timeout)
        beside = beside_head(home, head, source)
        opened = _reader(head, source, home, reader, beside)
        yield Audit(
            head,
            source,
            scratch,
            known=known,
            root=trusted,
            reader=opened,
            beside=beside,
            head_height=height,
            with_contents=with_contents,
            well_signed=well_signed,
        )


@contextlib.contextmanager
def reading_of(
    text: str, home: Home, ipfs: str | None, timeout: float, scratch: Scratch, reader: ReaderChoice
) -> Iterator[Audit]:
    """As `audit_of`, for who is shown a run: contents are not read, and a signature that this home has found right
    before is not verified again."""
    with (
        KeptReports(home).well_signed() as well_signed,
        audit_of(text, home, ipfs, timeout, scratch, reader, with_contents=False, well_signed=well_signed) as audit,
    ):
        yield audit


def _reader(head: CID, source: RunSource, home: Home, choice: ReaderChoice, beside: Beside) -> Reader:
    """Who reads the run of ``head``: nobody in particular where nothing in it is encrypted, or where it is damaged."""
    try:
        run = run_named(head, source)
        body = parse_record(Block(run, source.get(run))).body
    except BlockError:
        return PUBLIC
    if not isinstance(body, Run) or body.keys is None:
        return PUBLIC
    return with_names(choice.open(home.path, beside.grants), source)


def roots_of(car: CarSource, text: str) -> tuple[CID, Beside]:
    """The head in a CAR file, its first root; and what is beside the chain, which are all its others.

    Raises:
        PeerError: where it has no root, or one that is something else.
    """
    if not car.roots:
        raise _no_run(text, "has no root")
    head, *others = car.roots
    try:
        return head, beside_of(others, car)
    except BlockError as error:
        raise _no_run(text, f"has {len(car.roots)} roots, and one of them is of no run: {error}") from error


def _no_run(text: str, what: str) -> PeerError:
    return PeerError(
        f"{text} {what}",
        fix="peer import and peer audit are for files that `peer export HEAD FILE.car` or `ipfs dag export` wrote",
        code=ExitCode.WRONG_USE,
    )
