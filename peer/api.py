"""The public Python API: verify a run, replay it, list its rounds and load its models, in a script.

    from peer import api

    with api.open_run("run.car") as run:
        report = run.verify()
        print(report.verdict, [finding.message for finding in report.findings])
        weights = run.model(round=3).arrays()

It runs the same code as ``peer audit``. It prints nothing, ends no process, and imports torch only for
`Model.state_dict`. Results are frozen. Everything in `__all__` is stable, as docs/api.md explains.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from peer.apps.app_python import command_of_python
from peer.attest.attestation_check import check_attestation
from peer.attest.audit_signing import attest_audit
from peer.attest.model_trace import find_model, model_file_named
from peer.audit import report as audited
from peer.audit.audit import Audit
from peer.audit.report import NotVerified, require_verified
from peer.audit.root_of_trust import Root, trusted_federations
from peer.audit.run_lookup import SECONDS_A_BLOCK, RunLookup
from peer.audit.run_models import SERVER, FoundModel, NoSuchModel, NotReadable, RunModels
from peer.audit.trusted_app import local_config, own_app, trusted_app
from peer.base.errors import ExitCode, PeerError
from peer.confinement.confined import confiner
from peer.confinement.rules import Grants
from peer.engine.interface import EngineError
from peer.history import reigns
from peer.history.named_runs import NoSuchRun, is_car
from peer.history.run_sources import RunSource
from peer.history.scratch import Scratch
from peer.history.verdict import Finding, Verdict
from peer.home.federations import FederationStore
from peer.home.home import Home, place_for
from peer.home.journal import approved_apps
from peer.home.passphrase import Passphrases
from peer.home.reader_choice import ReaderChoice
from peer.replay.conditions import AuditedApp, Conditions, ReplayToCome
from peer.replay.replay import ComparedExchange
from peer.report.writing import report_of, write_report
from protocol.attestations.audit_predicate import AuditPredicate
from protocol.attestations.statement import write_statement
from protocol.blocks.cid import BlockError, MissingBlock
from protocol.replay.differences import Difference, Outcome, Reason
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
    "LateReply",
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
    "Reign",
    "Replay",
    "Report",
    "Root",
    "Settled",
    "TracedModel",
    "Verdict",
    "open_run",
    "verify_attestation",
]


@dataclass(frozen=True, slots=True)
class Participant:
    """A participant of a run, with the number of its messages."""

    name: str
    asked: int
    answered: int
    errors: int
    """Messages with an error in place of an answer."""
    left_out: int
    """Messages for whose answer the exchange did not wait, by the run's own rule."""
    late: int
    """Its replies that came after their exchange had closed."""
    confirmed: int | None
    """The height up to which it has confirmed the run with acks; None if it confirmed nothing."""


@dataclass(frozen=True, slots=True)
class Replay:
    """The result of running the app again on the recorded replies."""

    exchanges: int
    """Exchanges that were compared and are equal."""
    messages: int
    """The messages in them."""
    undecided: int
    """Exchanges that differ, if this machine cannot tell why. The final model counts as one."""
    first: ComparedExchange | None
    """The first exchange that differs."""
    widest: ComparedExchange | None
    """The exchange that differs most, in units in the last place."""
    reasons: tuple[Reason, ...]
    """Possible causes of the difference, the most probable first."""
    settling: str
    """What would settle a difference; empty if this environment is as good as the recorded one."""
    not_checked: str
    """What was not compared, in words; empty if the run was replayed to its end."""
    environment: Mapping[str, tuple[str, str]]
    """The parts of the environment that differ: as recorded, and as here."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Settled:
    """How far a run is settled, by the acks that are at hand. No takeover can lose a settled record."""

    height: int | None
    """The height up to which it is settled; None if nothing is known to be."""
    of_head: int
    """How many voters have confirmed the newest record; the leader is one of them."""
    voters: int
    majority: int
    """How many voters have to confirm a record."""


@dataclass(frozen=True, slots=True)
class Reign:
    """The time of one leader in one term. Heights are of its first and its newest record, times of the same, in seconds
    since 1970, by the leader's clock."""

    term: int
    leader: str
    since: int
    until: int
    began: float
    ended: float
    cause: str | None
    """Why it began: ``silence``, ``handover`` or ``dispute``; None for the first."""
    warrant: str | None
    """The admin that wanted it by warrant; None if none did."""
    votes: int
    voters: int
    voted: tuple[str, ...]
    """The members that voted for it; of many, the first 50."""
    acked: int
    """How many members have confirmed one of its records with an ack."""
    settled: int | None
    """The height up to which its own records are settled."""
    lost: int | None
    """The greatest height in this term that a member has confirmed, if that is in a tail that was lost."""
    words: str
    """How it began, in a sentence."""


@dataclass(frozen=True, slots=True)
class Report:
    """The result of verifying a run. CIDs are texts."""

    verdict: Verdict
    """Whether every record keeps every rule, and everything that it links is here."""
    findings: tuple[Finding, ...]
    """Everything that is wrong; empty if the verdict is `Verdict.VERIFIED`."""
    remarks: tuple[Finding, ...]
    """What an auditor should know, but the verdict does not depend on."""
    head: str
    run: str | None
    """The CID of the run record; None if it is unknown."""
    root: Root | None
    """The root of trust; None if the first record is not sound."""
    federation: str | None
    federation_name: str
    app: str
    """Its name and version; empty if they are encrypted, and not for this reader."""
    leader: str
    """Who led in the newest term."""
    reigns: tuple[Reign, ...]
    """Who led when, term by term: the first 1,000."""
    settled: Settled | None
    """None if the first record is not sound."""
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
    """The exit code of ``peer audit``."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One participant's answer in an exchange."""

    name: str
    content: str | None
    """The CID of its content; None for an error."""
    metrics: Mapping[str, object]
    """Numbers, or lists of numbers, as its app sent them. A number that is not finite is a text, such as ``NaN``."""
    code: int | None
    """A Flower error code, if there is no content."""
    reason: str
    bytes: int | None
    """The size of the content; None if contents were not read."""
    left_out: bool
    """Whether the exchange did not wait for it, by the run's own rule."""


@dataclass(frozen=True, slots=True)
class LateReply:
    """A reply that came after its exchange had closed. The app did not get it."""

    name: str
    """The participant."""
    exchange: int
    """The number of the exchange that it came too late for."""
    reply: str
    """The CID of the reply record."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """Messages that the server sent together, and their answers: the training of a round, or its evaluation."""

    number: int
    """From 1, in the order of the chain."""
    round: int | None
    """Flower's round, if the app names it."""
    height: int
    """The height of the record that sent them."""
    time: float
    """Seconds since 1970, by the server's clock."""
    types: tuple[str, ...]
    """Flower's message types, such as ``train``; empty if they are encrypted, and not for this reader."""
    participants: tuple[str, ...]
    """The participants that were asked."""
    answers: tuple[Answer, ...]
    unanswered: tuple[str, ...]
    left_out: tuple[str, ...]
    """The participants for whose answer it did not wait, by the run's own rule."""
    late: tuple[LateReply, ...]
    """Replies of which it tells, and which came too late for an earlier exchange."""
    metrics: Mapping[str, float]
    """The mean of each number that all answers have, weighted by ``num-examples`` if all have that."""
    confirmed_by: tuple[str, ...]
    """The members that have confirmed the whole exchange with acks."""
    recomputed_by: tuple[str, ...]
    """The servers whose own app sent the same, as they sign."""
    contradicted_by: tuple[str, ...]
    """The servers whose own app sent something else, as they sign."""
    settled: bool
    """Whether the whole exchange is settled, by the acks that are at hand."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model of a run. It can be read while the run is open."""

    content: str
    """The CID of its arrays."""
    run: str
    head: str
    round: int
    of: str
    """`SERVER` for the global model, or the name of a client for its update."""
    _found: FoundModel = field(repr=False, compare=False)
    _source: RunSource = field(repr=False, compare=False)

    def arrays(self) -> dict[str, Tensor]:
        """The model as numpy arrays, by name, in the app's order.

        Raises:
            NoSuchModel: if numpy has no such array.
            BlockError: if a block is damaged; `MissingBlock` if one is not within reach.
        """
        with _model_errors():
            return {name: read() for name, read in self._tensors().items()}

    def state_dict(self) -> StateDict:
        """The model for torch: ``module.load_state_dict(model.state_dict())``. Raises as `arrays` does."""
        with _model_errors():
            return state_dict(self._tensors())

    def save(self, path: Path | str) -> int:
        """Write the model to a ``.safetensors``, ``.npz`` or ``.pt`` file, whole or not at all. Returns its bytes.

        Raises as `arrays` does, and OSError.
        """
        with _model_errors():
            found = self._found
            return save_model(found.content, self._source, found.key, Path(path), found.metadata())

    def _tensors(self) -> Tensors:
        return content_tensors(self._found.content, self._source, self._found.key)


@dataclass(frozen=True, slots=True)
class TracedModel:
    """The model of a run in a file."""

    content: str
    """The CID of its arrays."""
    round: int | None
    """None for the final model."""
    of: str
    """`SERVER`, or the name of a client for its update."""
    exact: bool
    """Whether the file has the bytes that `Model.save` or ``peer start --save-path`` writes. If not, only its arrays
    are the same."""


@dataclass(frozen=True, slots=True)
class Attestation:
    """An attestation with a right signature."""

    signer: str
    """The ``did:key`` that signed."""
    names: tuple[str, ...]
    """The signer's names, now or earlier, in the known federations; empty if it is in none."""
    doubt: str
    """Why the signer may not be the right one: its key is revoked, or unknown although no signer was named. Empty if
    there is no doubt."""
    verdict: Verdict | None
    """The verdict of the audit; None if the attestation is only about a model file."""
    statement: Mapping[str, Any]
    """The in-toto statement, as in JSON (docs/attestations.md)."""


class AuditedRun:
    """A run that is open for reading, made by `open_run`. It is verified when a method needs it."""

    def __init__(self, named: str, home: Home, reader: ReaderChoice, audit: Audit, scratch: Scratch) -> None:
        self._named = named
        self._home = home
        self._reader = reader
        self._audit = audit
        self._scratch = scratch

    def verify(self) -> Report:
        """Verify every record by every rule, and that what it links is here. Later calls return the same report.

        Raises:
            NoSuchRun: if the head is not a record of a run.
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
        app_python: str | None = None,
        on_compared: Callable[[ComparedExchange], None] = lambda _: None,
    ) -> Report:
        """Run the app again on the recorded replies. It has to send the same messages, bit for bit.

        The app is the one in the folder ``app``. If that is None, it is the built-in app or one that the home has
        approved; a run alone never makes its code run. The app is a separate process, without network, and without your
        files except those in ``allow_read``. If ``unconfined``, it may do whatever you may do. ``data_dir`` has its
        data, ``model`` is the model class that the built-in app may import (``module:Class``), ``to_round`` the last
        round to replay, ``app_python`` the command of the Python that runs the app if it is not this one. A difference
        is a finding. The verdict is then `Verdict.FAILED`, or `Verdict.INCONCLUSIVE` if another machine or the app
        itself may have caused the difference.

        Raises:
            NotVerified: if the run is not verified.
            PeerError: if the app cannot be used, may not run here, or cannot be confined here.
        """
        data = [] if data_dir is None else [data_dir]
        grants = Grants(read=tuple(Path(place).expanduser().absolute() for place in (*allow_read, *data)))
        confined = None if unconfined else confiner(grants, self._home, model)
        conditions = Conditions(confined, command_of_python(app_python))
        config = local_config(None if data_dir is None else Path(data_dir), model)
        audit = self._audit

        @cache
        def chosen() -> AuditedApp:
            if app is not None:
                return own_app(Path(app), conditions, config)
            return trusted_app(audit, self._named, conditions, config, approved_apps(self._home))

        require_verified(audit.run(ReplayToCome(conditions, chosen)))
        audit.replay(chosen(), to_round=to_round, on_compared=on_compared)
        return _report(audit.report)

    def write_report(self, path: Path | str) -> int:
        """Write what `verify` found, and `replay` if it was called before, as one file for people or programs: a page
        (``.html``), text (``.md``) or data (``.json``). Returns how many bytes the file has.

        Raises:
            PeerError: if the path ends in none of the three, or has no folder.
            OSError: if the file cannot be written.
        """
        target = place_for(Path(path))
        self._audit.run()
        command = f"peer.api: open_run({self._named!r}).write_report({Path(path).name!r})"
        with report_of(self._audit, self._scratch, command, "the script did not ask for it") as report:
            return write_report(report, target)

    def exchanges(self) -> Iterator[Exchange]:
        """The verified exchanges of the run, oldest first. They are read one at a time, so a long run needs little
        memory."""
        report = self._audit.run()
        for row in self._scratch.rows():
            yield _exchange(json.loads(row), report)

    def rounds(self) -> list[int]:
        """The rounds that have a model, in order; 0 has the initial model. Raises as `model` does."""
        return self._models().rounds()

    def model(self, round: int | None = None, *, of: str = SERVER) -> Model:
        """The global model after a round, or the update in it of the client ``of`` (its name or did).

        Round 0 has the initial model. None is the last round with training.

        Raises:
            NotVerified: if the run is not verified.
            NoSuchModel: if the run has no such round or client, or no arrays there.
            NotReadable: if the model is encrypted, and the identity has no key for it.
        """
        found = self._models().find(of, round)
        assert found.round is not None  # as the final model alone has it
        about = (str(found.content), str(found.run), str(found.head))
        return Model(*about, found.round, found.of, found, self._audit.source)

    def attest(self, file: Path | str, *, model: Path | str | None = None) -> None:
        """Sign the report, whatever its verdict, with the identity of the home. With a replay, that is included.

        ``file`` becomes an in-toto statement in a DSSE envelope, as in docs/attestations.md. If the run is verified and
        the file ``model`` holds a model of it, the statement is about that file too.

        Raises:
            PeerError: if there is no such identity, its passphrase is missing, or ``model`` holds no model of the run.
            OSError: if the file cannot be written.
        """
        identity = self._reader.unlocked(self._home.path)
        named = None if model is None else model_file_named(str(model))
        self._audit.run()
        attest_audit(place_for(Path(file)), self._audit, self._scratch, identity, named, at=time.time())

    def trace(self, file: Path | str) -> TracedModel | None:
        """Find the model of the run that a file holds; None if it holds none. ``file`` may be a file's SHA-256 in hex.

        Raises:
            NotVerified: if the run is not verified.
            PeerError: if there is no such file, or it is not a model file.
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
        run: the path of a CAR file, which needs no engine, or the CID of a head. With a home, also the CID of a run.
        engine: where the blocks are, as for ``--ipfs``: ``local:DIR``, ``http://HOST:PORT``, ``unix:SOCKET``.
        federation: the root of trust: the id of the federation that you expect, or its file. Without it, the run itself
            says in which federation it is, unless ``home`` has joined that one.
        home: the folder of a home. Its federations and apps are trusted, and its identity opens encrypted runs. Without
            it, an encrypted run is verified, but cannot be read.
        identity: the identity, if the home has several.
        passphrase_file: a file whose first line is the identity's passphrase. Nobody is asked for it.
        contents: whether to check that all models and updates are here and whole. False reads only the records.
        timeout: seconds to look for one block in the engine.

    Raises:
        NoSuchRun: if there is no such run.
        PeerError: if ``federation`` or the file cannot be read, or the identity cannot be unlocked.
        EngineError: if the engine cannot be used.
    """
    with contextlib.ExitStack() as stack:
        if home is None:
            home = stack.enter_context(tempfile.TemporaryDirectory(prefix="pollen-no-home-"))
            if engine is None and not is_car(str(run)):
                raise NoSuchRun(
                    f"{run} is not a CAR file", fix="name a file, or the engine that has the run: engine='local:DIR'"
                )
        place = Home(Path(home).expanduser().absolute())
        file = None if passphrase_file is None else Path(passphrase_file)
        choice = ReaderChoice(identity, Passphrases.of_process(file).unattended(), needed=False)
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
    """Check an attestation from ``peer audit --attest``, ``peer model --sign`` or `AuditedRun.attest`.

    The run is not read. If the signature is right, but the signer unknown, the result has a ``doubt``.

    Args:
        by: the signer that you expect: a ``did:key``, a KEY, or a member's name in a known federation.
        run: the run that you expect: a CAR file, or the CID of the run or its head.
        about: the files that it has to be about.
        federation: the federation that lists the signer: its file, or its id or name, if the home is in it.
        home: the folder of a home, whose federations are known.

    Raises:
        PeerError: if it is not an attestation, its signature is wrong, or it is not as expected. ``exit_code`` says
            which, as for ``peer attest verify``.
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
        reigns=tuple(map(_reign, report.reigns)),
        settled=None
        if report.settled is None
        else Settled(report.settled.height, report.settled.of_head, report.settled.voters, report.settled.majority),
        height=report.height,
        records=report.records,
        exchanges=report.exchanges,
        closed=report.closed,
        outcome=None if report.outcome is None else report.outcome.value,
        model=None if report.model is None else str(report.model),
        participants=tuple(
            Participant(
                name,
                tally.asked,
                tally.answered,
                tally.errors,
                tally.left_out,
                tally.late,
                report.confirmed.get(name),
            )
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


def _reign(reign: reigns.Reign) -> Reign:
    return Reign(
        term=reign.term,
        leader=reign.leader,
        since=reign.since,
        until=reign.until,
        began=reign.began,
        ended=reign.ended,
        cause=None if reign.cause is None else reign.cause.value,
        warrant=reign.warrant or None,
        votes=reign.votes,
        voters=reign.voters,
        voted=reign.voted,
        acked=reign.acked,
        settled=reign.settled,
        lost=reign.lost,
        words=reign.in_words(),
    )


def _exchange(row: dict[str, Any], report: audited.Report) -> Exchange:
    """An exchange from a row of `peer.history.rounds.exchange_value`."""
    return Exchange(
        number=row["number"],
        round=row["round"],
        height=row["height"],
        time=row["time"],
        types=tuple(row["types"]),
        participants=tuple(row["participants"]),
        answers=tuple(map(_answer, row["answers"])),
        unanswered=tuple(row["unanswered"]),
        left_out=tuple(answer["name"] for answer in row["answers"] if answer["left_out"]),
        late=tuple(LateReply(each["name"], each["exchange"], each["reply"]) for each in row["late"]),
        metrics=MappingProxyType({name: float(value) for name, value in row["metrics"].items()}),
        confirmed_by=tuple(report.confirmed_by(row["last_height"])),
        recomputed_by=tuple(report.recomputed_by(row["height"])),
        contradicted_by=tuple(report.contradicted_by(row["height"])),
        settled=report.is_settled(row["last_height"]),
    )


def _answer(value: dict[str, Any]) -> Answer:
    return Answer(
        name=value["name"],
        content=value["content"],
        metrics=MappingProxyType(value["metrics"]),
        code=value["code"],
        reason=value["reason"],
        bytes=value["bytes"],
        left_out=value["left_out"],
    )
