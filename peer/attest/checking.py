"""Checking an attestation that somebody hands over: the signature, whose it is, and what it is about."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from crypto.envelope import MAX_ENVELOPE, open_envelope
from crypto.errors import BadEnvelope, BadSignature
from crypto.keys import VerifyKey
from peer.attest.signers import KnownSigner, Standing, keys_named, known_signers
from peer.base.errors import ExitCode, PeerError
from peer.history.named_runs import cid_of, is_car
from peer.history.run_sources import CarSource
from peer.home.federations import StoredFederation
from protocol.attestations.statement import (
    PAYLOAD_TYPE,
    BadStatement,
    Statement,
    UnknownPredicate,
    read_statement,
)
from protocol.blocks.cid import CID

_AGAIN: Final = "get the file again from its author: `peer audit --attest FILE` wrote it"


@dataclass(frozen=True, slots=True)
class Attestation:
    """A statement that carries a right signature by ``signer``."""

    statement: Statement
    signer: VerifyKey


@dataclass(frozen=True, slots=True)
class CheckedAttestation:
    """An attestation, and what is known here of its signer."""

    attestation: Attestation
    known: tuple[KnownSigner, ...]
    """Who it is in each federation that is known here."""
    was_named: bool
    """Whether whoever checks named the signer."""

    @property
    def doubt(self) -> str:
        """Why it cannot be told that the one who should have signed did; empty if nothing is against it."""
        if any(each.standing is Standing.REVOKED for each in self.known):
            return "the key is revoked, and nothing shows that it signed this before: somebody else may have it"
        if not self.known and not self.was_named:
            return "nobody known here has this key: anybody may have signed"
        return ""


def read_attestation(path: Path) -> Attestation:
    """The attestation in a file, if its signature is right.

    Raises:
        PeerError: if it cannot be read, is none, or was not signed by whom it names.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_ENVELOPE + 1)
    except OSError as error:
        raise PeerError(f"{path} cannot be read: {error.strerror}", code=ExitCode.WRONG_USE) from error
    try:
        opened = open_envelope(data, PAYLOAD_TYPE)
        return Attestation(read_statement(opened.payload), opened.signer)
    except BadEnvelope as error:
        raise PeerError(f"{path} is no attestation: {error}", fix=error.fix, code=ExitCode.WRONG_USE) from error
    except BadSignature as error:
        raise PeerError(f"{path}: {error}", fix=error.fix, code=ExitCode.VERIFICATION_FAILED) from error
    except UnknownPredicate as error:
        raise PeerError(
            f"{path} cannot be judged: {error}",
            fix="use the version of Pollen that wrote it, or a newer one",
            code=ExitCode.WRONG_USE,
        ) from error
    except BadStatement as error:
        raise PeerError(
            f"{path} is signed, and no sound statement: {error}", fix=_AGAIN, code=ExitCode.VERIFICATION_FAILED
        ) from error


def check_attestation(
    path: Path, known: Sequence[StoredFederation], *, by: str | None, run: str | None, files: Sequence[Path]
) -> CheckedAttestation:
    """Check the attestation in ``path``.

    ``known`` are the federations that say whose a key is. ``by`` names who has to have signed it, ``run`` a run that
    it has to be of (a CAR file, a head or a run's CID), ``files`` what it has to be about; None or none: any.

    Raises:
        PeerError: if it is not that.
    """
    attestation = read_attestation(path)
    signer = attestation.signer
    if by is not None and signer.raw not in keys_named(by, known):
        raise PeerError(
            f"{path} is signed by {signer.did}, which is not a key of {by}",
            fix="peer attest verify without --by says who it is, if that is known here",
            code=ExitCode.VERIFICATION_FAILED,
        )
    if run is not None:
        _require_run(path, attestation.statement, run)
    for file in files:
        if not attestation.statement.is_about(sha256_of(file)):
            raise PeerError(
                f"{path} is not about {file}: no subject has its SHA-256",
                fix="peer trace FILE says which run a model file is from",
                code=ExitCode.VERIFICATION_FAILED,
            )
    return CheckedAttestation(attestation, tuple(known_signers(signer, known)), by is not None)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hex.

    Raises:
        PeerError: if it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise PeerError(f"{path} cannot be read: {error.strerror}", code=ExitCode.WRONG_USE) from error


def _require_run(path: Path, statement: Statement, named: str) -> None:
    run = statement.predicate.run
    if _run_named(named) not in (run.head, run.run):
        raise PeerError(
            f"{path} is of the run {run.run} up to its head {run.head}, not of {named}",
            fix="an attestation is of one head: what was appended since needs another audit",
            code=ExitCode.VERIFICATION_FAILED,
        )


def _run_named(named: str) -> CID:
    if is_car(named):
        from peer.audit.run_lookup import roots_of  # it imports flwr, which is slow

        with contextlib.closing(CarSource(Path(named))) as car:
            return roots_of(car, named)[0]
    return cid_of(named, "give the run's file, its CID or its head: peer log shows those of this home")
