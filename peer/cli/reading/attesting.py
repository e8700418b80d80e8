"""``peer audit --attest``: what the audit came to, signed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from peer.base.errors import PeerError
from peer.base.terminal import put
from peer.cli.options import RunOptions, load_identity
from peer.cli.output import doubtful
from peer.history.scratch import Scratch
from peer.home.home import place_for

if TYPE_CHECKING:  # they take long to import
    from crypto.identity import Identity
    from peer.attest.tracing import ModelFile
    from peer.audit.audit import Audit


@dataclass(frozen=True, slots=True)
class AttestOptions:
    """Whether the verdict is signed, and about what."""

    attest: Annotated[
        Path | None,
        typer.Option("--attest", metavar="FILE", help="Sign the verdict with this identity, in a file for others."),
    ] = None
    attest_model: Annotated[
        Path | None,
        typer.Option("--attest-model", metavar="MODEL", help="Vouch for this model file too, if it is of the run."),
    ] = None

    def prepare(self, options: RunOptions) -> SignedVerdict | None:
        """What is needed to sign, found good before the audit begins: None if nothing is to be signed.

        Raises:
            PeerError: if the file has no place, there is no such identity, or the model file is none.
        """
        if self.attest is None:
            if self.attest_model is not None:
                raise PeerError("--attest-model is for an attestation", fix="add --attest FILE")
            return None
        from peer.attest.tracing import model_file_named

        model = None if self.attest_model is None else model_file_named(str(self.attest_model))
        identity = load_identity(options.home, options.identity, options.passphrase_file)
        return SignedVerdict(place_for(self.attest), identity, model)


@dataclass(frozen=True, slots=True)
class SignedVerdict:
    """Where the verdict is to be signed, by whom, and about which model file."""

    file: Path
    identity: Identity
    model: ModelFile | None

    def write(self, audit: Audit, scratch: Scratch, *, say_so: bool) -> None:
        """Sign what ``audit`` came to, whose exchanges are in ``scratch``.

        Raises:
            PeerError: if the model file is of no model of the run.
        """
        from peer.attest.signing import attest_audit

        found = attest_audit(self.file, audit, scratch, self.identity, self.model, at=time.time())
        if not say_so:
            return
        if self.model is not None and found is None:
            put(doubtful(f"{self.model.path} is left out: no model of a run that is not verified is vouched for"))
        put(f"{self.file}: signed by {self.identity.public.signing.did}; peer attest verify checks it")
