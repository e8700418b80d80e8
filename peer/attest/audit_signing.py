"""Signing what an audit came to: the statement, and the file."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from crypto.identity import Identity
from peer.attest.attestation_file import write_attestation
from peer.attest.model_trace import Found, ModelFile, find_model
from peer.audit.audit import Audit
from peer.audit.report import Report
from peer.audit.run_models import SERVER, RunModels
from peer.base.errors import ExitCode, PeerError
from peer.base.installed_versions import PACKAGE, installed
from peer.history.reigns import Reign
from peer.history.scratch import Scratch
from peer.history.verdict import Finding, Verdict
from protocol.attestations.audit_predicate import (
    AttestedFinding,
    AuditedApp,
    AuditedRun,
    AuditPredicate,
    CheckedModel,
    Compared,
    Environments,
    Leader,
    ReplayedRun,
    RootOfTrust,
    Tool,
)
from protocol.attestations.statement import Statement, Subject, block_subject
from protocol.records.environment import values_by_name

TRAINING: Final = (
    "what the clients computed: a client's training is run by nobody again, only its signed reply is checked"
)
CLIENT: Final = "client"
"""Whose update it is in an encrypted run, where names are for members."""
NO_REPLAY: Final = "what the server computed: the app was not run again"
NO_KEY: Final = "what is encrypted in the records, and in what they link: the auditor had no key for it"
NO_ACK: Final = "whether others saw this very history: no member's ack was at hand"
NOT_KEPT: Final = "not kept by policy"
UNFINISHED: Final = "what the server computed after the exchanges that were compared: the replay did not end"


def attest_audit(
    path: Path, audit: Audit, scratch: Scratch, identity: Identity, model: ModelFile | None, *, at: float
) -> Found | None:
    """Sign what ``audit`` came to, which has been run with ``scratch``, into the file ``path``; ``at`` is when, in
    seconds since 1970. Returns which model of the run ``model`` was found to be. If the run is not verified, no model
    is looked for, and the statement is not about it.

    Raises:
        PeerError: if ``model`` holds no model of the run. Then nothing is signed.
        OSError: if the file cannot be written.
    """
    found = None
    if model is not None and audit.report.verdict is Verdict.VERIFIED:
        found = find_model(model, RunModels(audit, scratch), audit)
        if found is None:
            raise PeerError(
                f"nothing was signed: {model.name} holds no model of the run {audit.report.run}",
                fix=f"peer model {audit.report.head} -o FILE writes one",
                code=ExitCode.VERIFICATION_FAILED,
            )
    models = [(model, found)] if model is not None and found is not None else []
    write_attestation(path, audit_statement(audit, models, at=at), identity)
    return found


def audit_statement(audit: Audit, models: Sequence[tuple[ModelFile, Found]] = (), *, at: float) -> Statement:
    """What ``audit`` came to, which has been run; ``at`` is when, in seconds since 1970.

    ``models`` are files that hold models of the run. Nothing is told that is encrypted in the run.
    """
    report = audit.report
    encrypted, contents = is_encrypted(audit), audit.with_contents and _is_sound(report)
    subjects = [block_subject("head", report.head)]
    if report.model is not None:
        subjects.append(block_subject("final model", report.model))
    subjects += [Subject(file.name, file.sha256) for file, _ in models]
    return Statement(
        tuple(subjects),
        AuditPredicate(
            verdict=report.verdict.value,
            audited_at=moment(at),
            tool=this_tool(),
            root_of_trust=RootOfTrust(
                basis="none" if report.root is None else report.root.value, federation=report.federation
            ),
            run=_run(report, encrypted=encrypted),
            app=None if encrypted else _app(audit),
            compared=_compared(report, contents=contents, encrypted=encrypted),
            not_compared=tuple(_not_compared(audit, contents=contents)),
            environment=_environments(audit, encrypted=encrypted),
            findings=tuple(_finding(each, encrypted=encrypted) for each in report.findings),
            findings_left_out=report.findings_left_out,
            models=tuple(checked_model(file, found, encrypted=encrypted) for file, found in models),
        ),
    )


def is_encrypted(audit: Audit) -> bool:
    """Whether the run of an audit is encrypted. One of which nothing is verified may be."""
    return audit.basis is None or audit.basis.encrypted


def moment(at: float) -> str:
    """Seconds since 1970 as in-toto writes a time: RFC 3339, in UTC."""
    return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def this_tool() -> Tool:
    """What makes statements here."""
    return Tool(name=PACKAGE, version=installed(PACKAGE))


def _run(report: Report, *, encrypted: bool) -> AuditedRun:
    return AuditedRun(
        head=report.head,
        run=report.run,
        height=report.height,
        closed=report.closed,
        outcome=None if report.outcome is None else report.outcome.value,
        encrypted=encrypted,
        final_model=report.model,
        leaders=tuple(map(_leader, report.reigns)) if len(report.reigns) > 1 else (),
        leaders_left_out=report.reigns_left_out,
    )


def _leader(reign: Reign) -> Leader:
    """Who led, by a key and not by a name, which is for members."""
    return Leader(
        term=reign.term,
        leader=reign.member,
        since=reign.since,
        cause=None if reign.cause is None else reign.cause.value,
        votes=reign.votes,
        voters=reign.voters,
    )


def _app(audit: Audit) -> AuditedApp | None:
    bundle, recorded = audit.bundle(), audit.recorded()
    if bundle is None or recorded is None:
        return None
    return AuditedApp(id=bundle.app, name=recorded.name, version=recorded.version)


def _compared(report: Report, *, contents: bool, encrypted: bool) -> Compared:
    replay = report.replay
    replayed = (
        None
        if replay is None
        else ReplayedRun(
            outcome=replay.outcome.value,
            exchanges=replay.exchanges,
            messages=replay.messages,
            undecided=replay.undecided,
            settling=None if encrypted else replay.settling or None,
            not_kept=replay.not_kept,
        )
    )
    verified = 0 if report.height is None else report.height + 1  # report.records counts those that were found
    gone = report.not_kept.contents
    whole = contents and not gone
    return Compared(
        records=verified, exchanges=report.exchanges, contents=whole, replay=replayed, not_kept=gone if contents else 0
    )


def _is_sound(report: Report) -> bool:
    """Whether the audit went through the whole run: a replay, if there was one, began only then."""
    return report.verdict is Verdict.VERIFIED or report.replay is not None


def _not_compared(audit: Audit, *, contents: bool) -> Iterator[str]:
    report, basis = audit.report, audit.basis
    if report.verdict is not Verdict.VERIFIED:
        yield "what would have been looked at if nothing had been found before: see the findings"
    if not contents:
        yield "the contents that the records link"
    elif report.not_kept.contents:
        yield f"contents that are not kept by policy: {report.not_kept.in_words(report.keep)}"
    if basis is not None and basis.encrypted and audit.recorded() is None:
        yield NO_KEY
    if report.replay is None:
        yield NO_REPLAY
    elif report.replay.unfinished:
        yield UNFINISHED
    else:
        if report.replay.not_kept:
            yield f"{report.replay.not_kept} exchanges that cannot be replayed: replies before them are {NOT_KEPT}"
        if report.replay.not_checked:
            yield report.replay.not_checked
    if not report.confirmed:
        yield NO_ACK
    yield TRAINING


def _environments(audit: Audit, *, encrypted: bool) -> Environments:
    if encrypted:  # the names of packages are what the app needs, and that is for members
        return Environments(recorded=None, here=None, differing=())
    recorded, replay = audit.recorded(), audit.report.replay
    was = None if recorded is None else values_by_name(recorded.environment)
    compared = [] if replay is None else [each.differing for each in replay.environments]
    here = None
    if was is not None and compared:
        here = was | {name: now for name, (_, now) in compared[0].items()}
    return Environments(recorded=was, here=here, differing=tuple(sorted(set().union(*compared))))


def checked_model(file: ModelFile, found: Found, *, encrypted: bool) -> CheckedModel:
    """A model file that was found to be of a run, as statements say it."""
    model = found.model
    return CheckedModel(
        sha256=file.sha256,
        round=model.round,
        of=CLIENT if encrypted and model.of != SERVER else model.of,
        content=model.content,
        exact=found.exact,
    )


def _finding(finding: Finding, *, encrypted: bool) -> AttestedFinding:
    return AttestedFinding(
        rule=finding.rule,
        height=finding.height,
        cid=finding.cid,
        message=None if encrypted else finding.message,
    )
