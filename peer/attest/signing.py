"""Signing a statement with an identity of this home, into a file for others."""

from __future__ import annotations

from pathlib import Path

from crypto.envelope import sign_envelope
from crypto.identity import Identity
from peer.attest.auditing import audit_statement
from peer.attest.tracing import Found, ModelFile, find_model
from peer.audit.audit import Audit
from peer.audit.run_models import RunModels
from peer.base.errors import ExitCode, PeerError
from peer.history.scratch import Scratch
from peer.history.verdict import Verdict
from peer.home.home import PUBLIC_FILE, replace_file
from protocol.attestations.statement import PAYLOAD_TYPE, Statement, write_statement


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


def write_attestation(path: Path, statement: Statement, identity: Identity) -> None:
    """Sign ``statement`` with the newest key of ``identity``, and write it to ``path``: whole, or not at all.

    Raises:
        OSError: if it cannot be written.
    """
    replace_file(path, [sign_envelope(identity.signing, PAYLOAD_TYPE, write_statement(statement))], PUBLIC_FILE)
