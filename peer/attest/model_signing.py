"""Signing a model file that was taken out of a run: for the OpenSSF's tool, and with this identity."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from crypto.identity import Identity
from crypto.model_key import ModelKey
from peer.attest.attestation_file import sha256_of, write_attestation
from peer.attest.audit_signing import checked_model, is_encrypted, moment, this_tool
from peer.attest.model_trace import Found, ModelFile
from peer.audit.audit import Audit
from peer.audit.run_models import FoundModel
from peer.home.home import PUBLIC_FILE, replace_file
from protocol.attestations.model_predicate import ModelPredicate, ModelRun, VouchedKey
from protocol.attestations.model_signature import sign_model
from protocol.attestations.statement import Statement, Subject


@dataclass(frozen=True, slots=True)
class Signatures:
    """What is written beside a model file."""

    signature: Path
    """What ``model_signing verify key --signature`` takes."""
    key: Path
    """What its ``--public_key`` takes: the P-256 key of the identity."""
    attestation: Path
    """In which the identity vouches for the file and for that key."""

    @classmethod
    def beside(cls, model: Path) -> Signatures:
        """Where they are."""
        return cls(*(model.with_name(model.name + suffix) for suffix in (".sig", ".pub", ".intoto.json")))


def sign_model_file(path: Path, found: FoundModel, audit: Audit, identity: Identity, *, at: float) -> Signatures:
    """Sign the file in ``path``, which was written from the model ``found`` of the run of ``audit``; ``at`` is when, in
    seconds since 1970. Each file is written whole, or not at all.

    Raises:
        OSError: if one cannot be written.
    """
    files, key, sha256 = Signatures.beside(path), ModelKey.of(identity.signing), sha256_of(path)
    vouched = VouchedKey(scheme="ecdsa-sha2-nistp256", pem=key.public_pem)
    assert audit.report.federation is not None  # the run is verified
    predicate = ModelPredicate(
        signed_at=moment(at),
        tool=this_tool(),
        run=ModelRun(head=found.head, run=found.run, federation=audit.report.federation),
        model=checked_model(ModelFile(sha256, path), Found(found, exact=True), encrypted=is_encrypted(audit)),
        key=vouched,
    )
    subjects = (Subject(path.name, sha256), Subject(files.key.name, vouched.sha256))
    replace_file(files.key, [key.public_pem.encode()], PUBLIC_FILE)
    replace_file(files.signature, [sign_model(path.name, sha256, key)], PUBLIC_FILE)
    write_attestation(files.attestation, Statement(subjects, predicate), identity)
    return files
