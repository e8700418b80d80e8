"""``peer audit --attest``: what the audit came to, signed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from crypto.identity import Identity
from peer.audit.audit import Audit
from peer.base.terminal import put
from peer.cli.options import RunOptions, load_identity
from peer.home.home import place_for


@dataclass(frozen=True, slots=True)
class SignedVerdict:
    """Where the verdict is to be signed, and by whom: both found good before the audit begins."""

    file: Path
    identity: Identity

    @classmethod
    def prepare(cls, file: Path, options: RunOptions) -> SignedVerdict:
        """Unlock the identity that signs.

        Raises:
            PeerError: if the file has no place, or there is no such identity.
        """
        return cls(place_for(file), load_identity(options.home, options.identity, options.passphrase_file))

    def write(self, audit: Audit, *, say_so: bool) -> None:
        """Sign what ``audit`` came to."""
        from peer.attest.auditing import audit_statement
        from peer.attest.signing import write_attestation

        write_attestation(self.file, audit_statement(audit, at=time.time()), self.identity)
        if say_so:
            put(f"{self.file}: signed by {self.identity.public.signing.did}; peer attest verify checks it")
