"""An attestation as a file: a signed statement, written and read back.

Whose signature it is, and what it is about, `peer.attest.attestation_check` asks.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from crypto.envelope import MAX_ENVELOPE, open_envelope, sign_envelope
from crypto.errors import BadEnvelope, BadSignature
from crypto.identity import Identity
from crypto.keys import VerifyKey
from peer.base.errors import ExitCode, PeerError
from peer.home.home import PUBLIC_FILE, replace_file
from protocol.attestations.statement import (
    PAYLOAD_TYPE,
    BadStatement,
    Statement,
    UnknownPredicate,
    read_statement,
    write_statement,
)

_AGAIN: Final = "get the file again from its author: `peer audit --attest FILE` wrote it"


@dataclass(frozen=True, slots=True)
class Attestation:
    """A statement that carries a right signature by ``signer``."""

    statement: Statement
    signer: VerifyKey


def write_attestation(path: Path, statement: Statement, identity: Identity) -> None:
    """Sign ``statement`` with the newest key of ``identity``, and write it to ``path``: whole, or not at all.

    Raises:
        OSError: if it cannot be written.
    """
    replace_file(path, [sign_envelope(identity.signing, PAYLOAD_TYPE, write_statement(statement))], PUBLIC_FILE)


def read_attestation(path: Path) -> Attestation:
    """The attestation in a file, if its signature is right.

    Raises:
        PeerError: if it cannot be read, is none, or was not signed by whom it names.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_ENVELOPE + 1)
    except OSError as error:
        fix = "name a file that peer audit --attest FILE has written"
        raise PeerError(f"{path} cannot be read: {error.strerror}", fix=fix, code=ExitCode.WRONG_USE) from error
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


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hex.

    Raises:
        PeerError: if it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        fix = "name a file that is there and that you may read"
        raise PeerError(f"{path} cannot be read: {error.strerror}", fix=fix, code=ExitCode.WRONG_USE) from error
