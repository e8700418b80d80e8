"""``peer audit --attest``: sign the verdict of the audit."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from peer.base.errors import PeerError
from peer.base.terminal import put
from peer.cli.output import doubtful
from peer.history.scratch import Scratch
from peer.home.home import place_for

if TYPE_CHECKING:  # they take long to import
    from crypto.identity import Identity
    from peer.attest.model_trace import ModelFile
    from peer.audit.audit import Audit
    from peer.audit.run_lookup import RunLookup


@dataclass(frozen=True, slots=True)
class AttestOptions:
    """Whether the verdict is signed, and about which model file."""

    attest: Annotated[
        Path | None,
        typer.Option(
            "--attest",
            metavar="FILE",
            help="Sign the verdict with this home's identity, in a file for others. It is replaced.",
        ),
    ] = None
    attest_model: Annotated[
        Path | None,
        typer.Option(
            "--attest-model", metavar="MODEL", help="Vouch for this model file too, which has to be the run's."
        ),
    ] = None

    def prepare(self, audited: str, lookup: RunLookup) -> SignedVerdict | None:
        """Check everything that signing needs before the audit of what ``audited`` names. None if nothing is signed.

        Raises:
            PeerError: if the file has no place, the identity cannot be unlocked, or the model file cannot be read.
        """
        if self.attest is None:
            if self.attest_model is not None:
                raise PeerError("--attest-model is for an attestation", fix="add --attest FILE")
            return None
        from peer.attest.model_trace import model_file_named

        place = place_for(self.attest)
        for read in (Path(audited), self.attest_model):
            if read is not None and read.exists() and place.exists() and place.samefile(read):
                raise PeerError(f"--attest would replace {read}, which it is about", fix="name another file")
        model = None if self.attest_model is None else model_file_named(str(self.attest_model))
        return SignedVerdict(place, lookup.reader.unlocked(lookup.home.path), model)


@dataclass(frozen=True, slots=True)
class SignedVerdict:
    """The file for the signed verdict, its signer, and the model file that it is about."""

    file: Path
    identity: Identity
    model: ModelFile | None

    def write(self, audit: Audit, scratch: Scratch, *, say_so: bool) -> None:
        """Sign the verdict of ``audit``, whose exchanges are in ``scratch``.

        Raises:
            PeerError: if the model file does not hold a model of the run.
        """
        from peer.attest.audit_signing import attest_audit

        found = attest_audit(self.file, audit, scratch, self.identity, self.model, at=time.time())
        if not say_so:
            return
        if self.model is not None and found is None:
            put(doubtful(f"{self.model.path} is left out, because the run is not verified"))
        put(f"{self.file} is signed by {self.identity.public.signing.did}; to check it: peer attest verify {self.file}")
