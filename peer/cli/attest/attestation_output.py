"""Prints an attestation, in lines for people or as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Set
from typing import Any

from peer.attest.attestation_check import CheckedAttestation
from peer.attest.known_signers import KnownSigner
from peer.base.terminal import put
from peer.cli.output import bad, doubtful, good, put_fields
from protocol.attestations.audit_predicate import (
    SERVER,
    AuditPredicate,
    CheckedModel,
    Environments,
    ReplayedRun,
    RootOfTrust,
)
from protocol.attestations.model_predicate import ModelPredicate
from protocol.attestations.statement import Predicate, Statement, write_statement
from protocol.visible import named, quoted

MOST_LINES = 20
"""The most findings, subjects or gaps that are shown; ``--json`` has all."""


def put_attestation(checked: CheckedAttestation) -> None:
    """Print who signed, and what it says."""
    statement = checked.attestation.statement
    put_fields((("signed by", checked.attestation.signer.did), *_signers(checked), *_said(statement)))
    put("this is only what the signer says; the run itself was not read: to read it, peer audit")
    _put_end(checked, statement.predicate)


def attestation_value(checked: CheckedAttestation) -> dict[str, Any]:
    """An attestation for ``--json``."""
    return {
        "signed_by": checked.attestation.signer.did,
        "known": [_known_value(each) for each in checked.known],
        "doubt": checked.doubt or None,
        "statement": json.loads(write_statement(checked.attestation.statement)),
    }


def _known_value(known: KnownSigner) -> dict[str, Any]:
    return {
        "name": known.name,
        "roles": list(known.roles),
        "standing": known.standing.value,
        "federation": str(known.federation.id),
        "version": known.version,
    }


def _put_end(checked: CheckedAttestation, said: Predicate) -> None:
    if checked.doubt:
        put(doubtful(f"the signature is right, but {checked.doubt}"))
        if not checked.known:
            put(
                "  fix: name the signer that you expect (--by DID), or the federation that it is in (--federation FILE)"
            )
        return
    match said:
        case AuditPredicate():
            line = f"the signature is right, and the signer's verdict on the run is: {said.verdict}"
            put({"verified": good, "failed": bad}.get(said.verdict, doubtful)(line))
        case ModelPredicate():
            put(good("the signature is right, and the signer says which model the file holds"))


def _signers(checked: CheckedAttestation) -> Iterator[tuple[str, str]]:
    for known in checked.known:
        yield "who is", known.in_words()


def _said(statement: Statement) -> Iterator[tuple[str, str]]:
    match statement.predicate:
        case AuditPredicate() as said:
            yield from _audited(said)
            blocks = {digest for _, digest in said.spoken_of()}.difference(model.sha256 for model in said.models)
            yield from _about(statement, {model.sha256: _model(model) for model in said.models}, blocks)
        case ModelPredicate() as said:
            yield (
                "says",
                f"a model file, at {named(said.signed_at)}, by {named(said.tool.name)} {named(said.tool.version)}",
            )
            yield "run", str(said.run.run)
            yield "head", str(said.run.head)
            yield "federation", str(said.run.federation)
            yield "content", str(said.model.content)
            told = {said.model.sha256: _model(said.model), said.key.sha256: "the signer's key for model_signing"}
            yield from _about(statement, told, frozenset())


def _about(statement: Statement, told: Mapping[str, str], left_out: Set[str]) -> Iterator[tuple[str, str]]:
    """The subjects, and what ``told`` says about them, by digest."""
    subjects = [subject for subject in statement.subjects if subject.sha256 not in left_out]
    for subject in subjects[:MOST_LINES]:
        what = f": {told[subject.sha256]}" if subject.sha256 in told else ""
        yield "about", f"{quoted(subject.name)}, sha256 {subject.sha256}{what}"
    if len(subjects) > MOST_LINES:
        yield "about", f"{len(subjects) - MOST_LINES} more"


def _audited(said: AuditPredicate) -> Iterator[tuple[str, str]]:
    run = said.run
    yield "says", f"an audit at {named(said.audited_at)} by {named(said.tool.name)} {named(said.tool.version)}"
    yield "verdict", said.verdict
    yield "root of trust", _root(said.root_of_trust)
    yield "run", str(run.run or "unknown")
    yield "head", f"{run.head}{'' if run.height is None else f', height {run.height}'}"
    yield "ended", named(run.outcome) if run.outcome else ("closed" if run.closed else "still open")
    if said.app is not None:
        yield "app", f"{named(said.app.name)} {named(said.app.version)}, {said.app.id}"
    elif run.encrypted:
        yield "app", "left out: the run is encrypted"
    if run.final_model is not None:
        yield "final model", str(run.final_model)
    yield from _compared(said)
    yield from _environment(said.environment)
    for finding in said.findings[:MOST_LINES]:
        where = "" if finding.height is None else f" at height {finding.height}"
        yield "finding", f"{named(finding.rule)}{where}{f': {quoted(finding.message)}' if finding.message else ''}"
    if (more := len(said.findings) - MOST_LINES + said.findings_left_out) > 0:
        yield "findings", f"{more} more"


def _root(root: RootOfTrust) -> str:
    match root.basis:
        case "given":
            return f"the federation {root.federation}, as the auditor gave it"
        case "joined":
            return f"the federation {root.federation}, which the auditor has joined"
        case "run":
            return f"none: only the run itself says that it is of the federation {root.federation}"
        case "none":
            return "none: the run's first record could not be verified"


def _compared(said: AuditPredicate) -> Iterator[tuple[str, str]]:
    done = said.compared
    contents = "and everything that they link" if done.contents else "but not what they link"
    if done.not_kept:
        contents = f"and what they link, but for {done.not_kept} contents that are not kept by policy"
    yield "compared", f"{done.records} records by every rule, {done.exchanges} exchanges, {contents}"
    if (replay := done.replay) is not None:
        gone = f"; {replay.not_kept} could not be compared, as replies before them are not kept by policy"
        differing = _differing(replay) + (gone if replay.not_kept else "")
        yield "replayed", f"{replay.exchanges} exchanges, {replay.messages} messages equal{differing}"
    for line in said.not_compared[:MOST_LINES]:
        yield "not compared", quoted(line, 1_000)


def _differing(replay: ReplayedRun) -> str:
    match replay.outcome:
        case "equal":
            return ""
        case "undecided":
            return f"; {replay.undecided} differ, and the auditor's machine cannot tell why"
        case "beyond":
            return "; one differs more than another machine can cause"


def _model(model: CheckedModel) -> str:
    return f"{'byte for byte' if model.exact else 'the arrays of'} {model_in_words(model.of, model.round)}"


def model_in_words(of: str, number: int | None) -> str:
    """A model of a run: the global model, or the update of the client ``of``, of a round; None is the final model."""
    if number is None:
        return "the final model"
    whose = "the global model" if of == SERVER else f"the update of {named(of)}"
    return f"{whose} of round {number}"


def _environment(found: Environments) -> Iterator[tuple[str, str]]:
    if found.differing:
        yield "environment", f"not as recorded in: {', '.join(map(named, found.differing[:MOST_LINES]))}"
    elif found.here is not None:
        yield "environment", "as recorded"
