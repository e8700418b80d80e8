"""Signing a statement with an identity of this home, into a file for others."""

from __future__ import annotations

from pathlib import Path

from crypto.envelope import sign_envelope
from crypto.identity import Identity
from peer.home.home import PUBLIC_FILE, replace_file
from protocol.attestations.statement import PAYLOAD_TYPE, Statement, write_statement


def write_attestation(path: Path, statement: Statement, identity: Identity) -> None:
    """Sign ``statement`` with the newest key of ``identity``, and write it to ``path``: whole, or not at all.

    Raises:
        OSError: if it cannot be written.
    """
    replace_file(path, [sign_envelope(identity.signing, PAYLOAD_TYPE, write_statement(statement))], PUBLIC_FILE)
