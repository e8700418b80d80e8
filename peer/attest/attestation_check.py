"""Checking an attestation that somebody hands over: whose signature it has, and what it is about."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from peer.attest.attestation_file import Attestation, read_attestation, sha256_of
from peer.attest.known_signers import KnownSigner, Standing, keys_named, known_signers
from peer.base.errors import ExitCode, PeerError
from peer.history.named_runs import cid_of, is_car
from peer.history.run_sources import CarSource
from peer.home.federations import StoredFederation
from protocol.attestations.statement import Statement
from protocol.blocks.cid import CID


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
    return cid_of(named, "give the run's file, its CID or its head: peer ls --full shows those of this home")
