"""The public Python API: verify a run, replay it, list its rounds and load its models, in a script.

    from peer import api

    with api.open_run("run.car") as run:
        report = run.verify()
        print(report.verdict, [finding.message for finding in report.findings])
        weights = run.model(round=3).arrays()

It judges as ``peer audit`` does, by the same code. It prints nothing, ends no process, and imports torch only for
`Model.state_dict`. Results are frozen. What is in `__all__` is stable: docs/api.md says what that means.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from peer.attest.checking import check_attestation
from peer.attest.signing import attest_audit
from peer.attest.tracing import find_model, model_file_named
from peer.audit import report as audited
from peer.audit.audit import Audit
from peer.audit.replay import ComparedExchange
from peer.audit.report import NotVerified, require_verified
from peer.audit.root_of_trust import Root, trusted_federations
from peer.audit.run_lookup import SECONDS_A_BLOCK, RunLookup
from peer.audit.run_models import SERVER, FoundModel, NoSuchModel, NotReadable, RunModels
from peer.audit.trusted_app import local_config, own_app, trusted_app
from peer.base.errors import ExitCode, PeerError
from peer.confinement.confined import confiner
from peer.confinement.rules import Grants
from peer.engine.interface import EngineError
from peer.history.named_runs import NoSuchRun, is_car
from peer.history.run_sources import RunSource
from peer.history.scratch import Scratch
from peer.history.verdict import Finding, Verdict
from peer.home.federations import FederationStore
from peer.home.home import Home, place_for
from peer.home.journal import approved_apps
from peer.home.keystore import KeyStore
from peer.home.passphrase import Passphrases
from peer.home.reader_choice import ReaderChoice
from protocol.attestations.audited import AuditPredicate
from protocol.attestations.statement import write_statement
from protocol.blocks.cid import BlockError, MissingBlock
from protocol.replay.judging import Difference, Outcome, Reason
from strategy.models.model_files import NoModel, Tensor, Tensors, content_tensors, save_model, state_dict

if TYPE_CHECKING:
    from strategy.models.model_files import StateDict

__all__ = [
    "SERVER",
    "Answer",
    "Attestation",
    "AuditedRun",
    "BlockError",
    "ComparedExchange",
    "Difference",
    "EngineError",
    "Exchange",
    "Finding",
    "MissingBlock",
    "Model",
    "NoSuchModel",
    "NoSuchRun",
    "NotReadable",
    "NotVerified",
    "Outcome",
    "Participant",
    "PeerError",
    "Reason",
    "Replay",
    "Report",
    "Root",
    "TracedModel",
    "Verdict",
    "open_run",
    "verify_attestation",
]


@dataclass(frozen=True, slots=True)
class Participant:
    """What one participant was asked, and gave."""

    name: str
    asked: int
    """Messages."""
    answered: int
    errors: int
    """Messages that came to an error in place of an answer."""
    confirmed: int | None
    """The height of the highest record that it confirmed with an ack; with it, all below. None if it confirmed none."""


@dataclass(frozen=True, slots=True)
class Replay:
    """How it went to run the app again on the recorded replies."""

    exchanges: int
    """Compared, and equal."""
    messages: int
    """In them."""
    undecided: int
    """Exchanges that differ, and of which this machine cannot tell why. The final model counts as one."""
    first: ComparedExchange | None
    """The first that differs."""
    widest: ComparedExchange | None
    """Of those that differ, the one that differs most, in units in the last place."""
    reasons: tuple[Reason, ...]
    """What may have caused the difference, what the evidence speaks for most first."""
    settling: str
    """With what a difference could be settled; empty if this environment is as good as the recorded one."""
    not_checked: str
    """What nothing was compared with, in words; empty if the run was replayed to its end."""
    environment: Mapping[str, tuple[str, str]]
    """What of the environment is not as recorded: as it was, and as it is."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Report:
    """What verifying a run came to. CIDs are texts."""

    verdict: Verdict
    """Whether every record keeps every rule, and all that it links is here."""
    findings: tuple[Finding, ...]
    """What is not as it should be; empty if the verdict is `Verdict.VERIFIED`."""
    remarks: tuple[Finding, ...]
    """What an auditor should know, and no verdict follows from."""
    head: str
    run: str | None
    """The CID of the run record; None if it cannot be told."""
    root: Root | None
    """Where the federation's id comes from: whose word the verdict rests on. None if the first record is not sound."""
    federation: str | None
    federation_name: str
    app: str
    """Its name and version; empty if they are encrypted for others."""
    leader: str
    height: int | None
    """The height of the last verified record."""
    records: int
    exchanges: int
    closed: bool
    outcome: str | None
    """How the app ended, if the run is closed."""
    model: str | None
    """The CID of the final model."""
    participants: tuple[Participant, ...]
    replay: Replay | None
    """None if the run was not replayed."""
    exit_code: ExitCode
    """What ``peer audit`` ends with."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one participant gave back in an exchange."""

    name: str
    content: str | None
    """The CID of what it sent; None for an error."""
    metrics: Mapping[str, object]
    """As its app sent them: numbers, or lists of numbers. A number that is not finite is a text, such as ``NaN``."""
    code: int | None
    """A Flower error code, if there is no content."""
    reason: str
    bytes: int | None
    """The size of the content; None if contents were not read."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """Messages that the server sent at once, and what came back: a round's training, or its evaluation."""

    number: int
    """From 1, in the order of the chain."""
    round: int | None
    """Flower's round, if the app names it."""
    height: int
    """The height of the record that sent them."""
    time: float
    """Seconds since 1970, by the server's clock."""
    types: tuple[str, ...]
    """Flower's message types, such as ``train``."""
    participants: tuple[str, ...]
    """Those that were asked."""
    answers: tuple[Answer, ...]
    unanswered: tuple[str, ...]
    metrics: Mapping[str, float]
    """The mean of each number that all answers have, weighted by ``num-examples`` if all have that."""
    confirmed_by: tuple[str, ...]
    """The members that confirmed all of it with acks."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model of a run. It is read from the run while that is open."""

    content: str
    """The CID of its arrays."""
    run: str
    head: str
    round: int
    of: str
    """`SERVER` for the global model, or the name of the client whose update it is."""
    _found: FoundModel = field(repr=False, compare=False)
    _source: RunSource = field(repr=False, compare=False)

    def arrays(self) -> dict[str, Tensor]:
        """The model as numpy arrays, by name, in the order of the app.

        Raises:
            NoSuchModel: if an array cannot be read as numpy's.
            BlockError: if a block of it is damaged; `MissingBlock` if one is not within reach.
        """
        with _model_errors():
            return {name: read() for name, read in self._tensors().items()}

    def state_dict(self) -> StateDict:
        """The model as torch takes it: ``module.load_state_dict(model.state_dict())``. Raises as `arrays` does."""
        with _model_errors():
            return state_dict(self._tensors())

    def save(self, path: Path | str) -> int:
        """Write it to a ``.safetensors``, ``.npz`` or ``.pt`` file, whole or not at all; how many bytes.

        Raises as `arrays` does; also OSError.
        """
        with _model_errors():
            found = self._found
            return save_model(found.content, self._source, found.key, Path(path), found.metadata())

    def _tensors(self) -> Tensors:
        return content_tensors(self._found.content, self._source, self._found.key)


@dataclass(frozen=True, slots=True)
class TracedModel:
    """The model of a run that a file holds."""

    content: str
    """The CID of its arrays."""
    round: int | None
    """None for the final model."""
    of: str
    """`SERVER`, or the client whose update it is."""
    exact: bool
    """Whether the file is byte for byte what `Model.save` or ``peer start --save-path`` writes. If not, its arrays are
    the same."""


@dataclass(frozen=True, slots=True)
class Attestation:
    """What somebody vouches for in a file that carries a right signature."""

    signer: str
    """The ``did:key`` that signed."""
    names: tuple[str, ...]
    """Who that is, or was, in the federations that are known; empty if nobody knows."""
    doubt: str
    """Why it cannot be told that the one who should have signed did: nobody was named and nobody knows the key, or it
    is revoked. Empty if nothing is against it."""
    verdict: Verdict | None
    """What the audit came to; None if it is about a model file alone."""
    statement: Mapping[str, Any]
    """The in-toto statement, as JSON has it (docs/attestations.md)."""


class AuditedRun:
    """A run that is open for reading. `open_run` makes it; nothing of it is verified before it is asked for."""

    def __init__(self, named: str, home: Home, reader: ReaderChoice, audit: Audit, scratch: Scratch) -> None:
        self._named = named
        self._home = home
        self._reader = reader
        self._audit = audit
        self._scratch = scratch

    def verify(self) -> Report:
        """Verify every record by every rule, and that what it links is here. Done once: later calls say the same.

        Raises:
            NoSuchRun: if the head is no record of a run.
            EngineError: if the engine cannot be used.
        """
        return _report(self._audit.run())

    def replay(
        self,
        app: Path | str | None = None,
        *,
        data_dir: Path | str | None = None,
        model: str | None = None,
        to_round: int | None = None,
        allow_read: Iterable[Path | str] = (),
        unconfined: bool = False,
        on_compared: Callable[[ComparedExchange], None] = lambda _: None,
    ) -> Report:
        """Run the app again on the recorded replies: it has to send the same messages, bit for bit.

        The app runs as a process of its own, without network and without your files but those in ``allow_read``; if
        ``unconfined``, it may do what you may. It is the one in the folder ``app``; if that is None, the built-in one
        or one that the home has approved: no code is run because a run names it. ``data_dir`` says where its data is,
        ``model`` which model class the built-in app may import (``module:Class``), ``to_round`` after which round to
        stop. A difference is a finding, and the verdict then `Verdict.FAILED`; or, if another machine or the app itself
        may have caused it, `Verdict.INCONCLUSIVE`.

        Raises:
            NotVerified: if the run is not verified.
            PeerError: if the app cannot be used, is not one that may run here, or cannot be confined here.
        """
        data = [] if data_dir is None else [data_dir]
        grants = Grants(read=tuple(Path(place).expanduser().absolute() for place in (*allow_read, *data)))
        confined = None if unconfined else confiner(grants, self._home, model)
        require_verified(self._audit.run())
        config = local_config(None if data_dir is None else Path(data_dir), model)
        audit, approved = self._audit, approved_apps(self._home)
        chosen = (
            trusted_app(audit.bundle(), self._named, audit.source, confined, config, approved, audit.run_config())
            if app is None
            else own_app(Path(app), confined, config)
        )
        audit.replay(chosen, to_round=to_round, on_compared=on_compared)
        return _report(audit.report)

    def exchanges(self) -> Iterator[Exchange]:
        """The exchanges of the run, oldest first, as far as it is verified: one for each training of a round, and one
        for each evaluation. They are read one at a time, so a long run needs no memory."""
        report = self._audit.run()
        for row in self._scratch.rows():
            yield _exchange(json.loads(row), report)

    def rounds(self) -> list[int]:
        """The rounds that have a model to ask for, in order; 0 is the initial one. Raises as `model` does."""
        return self._models().rounds()

    def model(self, round: int | None = None, *, of: str = SERVER) -> Model:
        """The global model after a round, or the update that the client ``of`` (its name or did) gave in it.

        ``round`` is 0 for the initial model, None for the last round in which something was trained.

        Raises:
            NotVerified: if the run is not verified.
            NoSuchModel: if the run has no such round or client, or nothing with arrays there.
            NotReadable: if it is encrypted, and the identity has no key for it.
        """
        found = self._models().find(of, round)
        about = (str(found.content), str(found.run), str(found.head))
        return Model(*about, found.round, found.of, found, self._audit.source)

    def attest(self, file: Path | str, *, model: Path | str | None = None) -> None:
        """Sign what verifying the run, and replaying it if that was done, came to, whatever it is, with the identity of
        the home: an in-toto statement in a DSSE envelope, which docs/attestations.md describes. It is about the file
        ``model`` too, if that holds a model of the run; of a run that is not verified it is about none.

        Raises:
            PeerError: if there is no such identity, it is locked and there is no passphrase for it, or ``model`` holds
                no model of the run.
            OSError: if the file cannot be written.
        """
        passphrases = Passphrases.of_process(self._reader.passphrase_file).unattended()
        identity = KeyStore(self._home.path).load(self._reader.identity, passphrases)
        named = None if model is None else model_file_named(str(model))
        self._audit.run()
        attest_audit(place_for(Path(file)), self._audit, self._scratch, identity, named, at=time.time())

    def trace(self, file: Path | str) -> TracedModel | None:
        """Which model of the run a file holds; None if it holds none. ``file`` may be the SHA-256 of one, in hex.

        Raises:
            NotVerified: if the run is not verified.
            PeerError: if there is no such file, or it is no model's.
            BlockError: if a block of a model is damaged; `MissingBlock` if one is not within reach.
        """
        found = find_model(model_file_named(str(file)), self._models(), self._audit)
        if found is None:
            return None
        return TracedModel(str(found.model.content), found.model.round, found.model.of, found.exact)

    def _models(self) -> RunModels:
        return RunModels(self._audit, self._scratch)


@contextlib.contextmanager
def open_run(
    run: Path | str,
    *,
    engine: str | None = None,
    federation: Path | str | None = None,
    home: Path | str | None = None,
    identity: str | None = None,
    passphrase_file: Path | str | None = None,
    contents: bool = True,
    timeout: float = SECONDS_A_BLOCK,
) -> Iterator[AuditedRun]:
    """Open a run: a CAR file, or the CID of its head in an engine.

    Args:
        run: the path of a CAR file, which needs no engine; or a head's CID; with a home, also one of its runs' CIDs.
        engine: where the blocks are, as ``--ipfs`` takes it: ``local:DIR``, ``http://HOST:PORT``, ``unix:SOCKET``.
        federation: the root of trust: the id of the federation that the run has to be in, or its file. Without it,
            the run's own word is taken for which federation it is in, unless ``home`` has joined that.
        home: the folder of a home, whose federations and apps are trusted, and whose identity opens an encrypted run.
            None for nobody's: what is encrypted is verified, and not read.
        identity: which identity of the home, if it has several.
        passphrase_file: a file whose first line is its passphrase. Nobody is asked for one.
        contents: whether to check that all models and updates are here and whole; False reads records alone.
        timeout: seconds that the engine may look for one block.

    Raises:
        NoSuchRun: if ``run`` is neither.
        PeerError: if ``federation`` is none, the file cannot be read, or the identity cannot be had.
        EngineError: if the engine cannot be used.
    """
    with contextlib.ExitStack() as stack:
        if home is None:
            home = stack.enter_context(tempfile.TemporaryDirectory(prefix="pollen-no-home-"))
            if engine is None and not is_car(str(run)):
                raise NoSuchRun(
                    f"{run} is no CAR file", fix="name a file, or the engine that has the run: engine='local:DIR'"
                )
        place = Home(Path(home).expanduser().absolute())
        choice = ReaderChoice(identity, None if passphrase_file is None else Path(passphrase_file), needed=False)
        scratch = stack.enter_context(Scratch())
        lookup = RunLookup(place, engine, choice, timeout)
        root = None if federation is None else str(federation)
        audit = stack.enter_context(lookup.audit(str(run), scratch, root=root, with_contents=contents))
        yield AuditedRun(str(run), place, choice, audit, scratch)


def verify_attestation(
    file: Path | str,
    *,
    by: str | None = None,
    run: Path | str | None = None,
    about: Iterable[Path | str] = (),
    federation: Path | str | None = None,
    home: Path | str | None = None,
) -> Attestation:
    """Check what somebody signed with ``peer audit --attest``, ``peer model --sign`` or `AuditedRun.attest`. Nothing of
    the run is read. A right signature by somebody whom nobody knows is returned, with ``doubt``.

    Args:
        by: who has to have signed it: a ``did:key``, a KEY, or a member's name in a federation that is known.
        run: the run that it has to be of: a CAR file, or the CID of the run or of its head.
        about: files that it has to be about.
        federation: the federation that says whose a key is: its file, or the id or name of one of the home's.
        home: the folder of a home, whose federations are known.

    Raises:
        PeerError: if it is no attestation, its signature is wrong, or it is not what was asked for; ``exit_code`` says
            which, as ``peer attest verify`` ends.
    """
    joined = [] if home is None else FederationStore(Home(Path(home).expanduser().absolute())).all()
    known = trusted_federations(None if federation is None else str(federation), joined)
    named = None if run is None else str(run)
    checked = check_attestation(Path(file), known, by=by, run=named, files=list(map(Path, about)))
    signed = checked.attestation
    said = signed.statement.predicate
    return Attestation(
        signer=signed.signer.did,
        names=tuple(each.name for each in checked.known),
        doubt=checked.doubt,
        verdict=Verdict(said.verdict) if isinstance(said, AuditPredicate) else None,
        statement=MappingProxyType(json.loads(write_statement(signed.statement))),
    )


@contextlib.contextmanager
def _model_errors() -> Iterator[None]:
    try:
        yield
    except NoModel as error:
        raise NoSuchModel(str(error), code=ExitCode.UNFINISHED) from error


def _report(report: audited.Report) -> Report:
    replay = report.replay
    return Report(
        verdict=report.verdict,
        findings=tuple(report.findings),
        remarks=tuple(report.remarks),
        head=str(report.head),
        run=None if report.run is None else str(report.run),
        root=report.root,
        federation=None if report.federation is None else str(report.federation),
        federation_name=report.federation_name,
        app=report.app,
        leader=report.leader,
        height=report.height,
        records=report.records,
        exchanges=report.exchanges,
        closed=report.closed,
        outcome=None if report.outcome is None else report.outcome.value,
        model=None if report.model is None else str(report.model),
        participants=tuple(
            Participant(name, tally.asked, tally.answered, tally.errors, report.confirmed.get(name))
            for name, tally in sorted(report.participants.items())
        ),
        replay=None
        if replay is None
        else Replay(
            replay.exchanges,
            replay.messages,
            replay.undecided,
            replay.first,
            replay.widest,
            replay.reasons,
            replay.settling,
            replay.not_checked,
            MappingProxyType(dict(replay.environment)),
            replay.seconds,
        ),
        exit_code=report.exit_code,
    )


def _exchange(row: dict[str, Any], report: audited.Report) -> Exchange:
    """``row`` is as `peer.history.rounds.exchange_value` has it."""
    return Exchange(
        number=row["number"],
        round=row["round"],
        height=row["height"],
        time=row["time"],
        types=tuple(row["types"]),
        participants=tuple(row["participants"]),
        answers=tuple(map(_answer, row["answers"])),
        unanswered=tuple(row["unanswered"]),
        metrics=MappingProxyType({name: float(value) for name, value in row["metrics"].items()}),
        confirmed_by=tuple(report.confirmed_by(row["last_height"])),
    )


def _answer(value: dict[str, Any]) -> Answer:
    return Answer(
        name=value["name"],
        content=value["content"],
        metrics=MappingProxyType(value["metrics"]),
        code=value["code"],
        reason=value["reason"],
        bytes=value["bytes"],
    )
