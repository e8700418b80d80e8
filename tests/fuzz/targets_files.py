"""Targets: what people hand each other, in files and as text."""

from __future__ import annotations

import hashlib
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

import click
from fuzzing import Target

from crypto.envelope import open_envelope
from crypto.errors import BadEnvelope, BadKey, BadKeyText, BadName, BadSignature, BadWords, KeyFileError
from crypto.identity import PublicIdentity, parse_name
from crypto.keyfile import read_public, unlock
from crypto.keys import VerifyKey
from crypto.words import from_words, to_words
from peer.base import config
from peer.base.errors import PeerError
from peer.home.federations import StoredFederation, read_federation
from peer.home.home import Home
from peer.home.invitations import Invitations
from peer.membership.proposing import ProposalStore
from protocol.attestations.statement import (
    PAYLOAD_TYPE,
    BadStatement,
    UnknownPredicate,
    read_statement,
    write_statement,
)
from protocol.blocks.car import write_car
from protocol.blocks.cid import CID, Block
from protocol.replies.checks_and_limits import Admission

COMMANDS: Final = click.Group(
    commands=[click.Command("start", params=[click.Option(["--ipfs"]), click.Option(["--json"])])]
)


def key_text(data: bytes) -> None:
    """The KEY of an identity, its name and its ``did:key``."""
    text = data.decode(errors="replace")
    with suppress(BadKeyText):
        assert PublicIdentity.parse_key_text(text).key_text() == text.strip()
    with suppress(BadName):
        assert parse_name(text)
    with suppress(BadKey):
        assert VerifyKey.from_did(text).did == text


def key_file(data: bytes) -> None:
    """A key file. Those of the corpus are not locked, because only the owner makes what a passphrase opens."""
    with suppress(KeyFileError):
        read_public(data)
        unlock(data)


def words(data: bytes) -> None:
    """A backup in words."""
    text = data.decode(errors="replace")
    with suppress(BadWords):
        assert to_words(from_words(text)) == tuple(text.lower().split())


def federation_file(data: bytes) -> None:
    """A federation's file, as an admin hands it over."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "federation"
        file.write_bytes(data)
        with suppress(PeerError):
            assert read_federation(file).to_bytes()


FEDERATION: Final = Path(__file__).parent / "corpus" / "federation-file" / "00"
"""The federation that the saved proposals and invitations are of."""


@cache
def _federation() -> StoredFederation:
    return read_federation(FEDERATION)


def invitations_file(data: bytes) -> None:
    """A home's invitations."""
    with tempfile.TemporaryDirectory() as folder:
        invitations = Invitations(Home(Path(folder)), _federation().id)
        invitations.path.parent.mkdir()
        invitations.path.write_bytes(data)
        with suppress(PeerError):
            for each in invitations.all():
                assert invitations.get(each.keys.tag)
                assert each.newcomer is None or each.newcomer.key_text() == each.key


def proposal_file(data: bytes) -> None:
    """A proposal in a home, as other admins' machines made it: the file, or its record in a file that is whole."""
    record = Block(CID(b"\x01\x71\x12\x20" + hashlib.sha256(data).digest()), data)
    whole = b"".join(write_car([record.cid], [record]))
    for file in (data, whole):
        with tempfile.TemporaryDirectory() as folder, suppress(PeerError):
            home = Home(Path(folder))
            kept = home.proposals / str(_federation().id) / "proposal.car"
            kept.parent.mkdir(parents=True)
            kept.write_bytes(file)
            for pending in ProposalStore(home, _federation()).all():
                if pending.proposal is not None:
                    pending.proposal.changes()


def config_file(data: bytes) -> None:
    """A home's ``config.toml``."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / config.FILE_NAME).write_bytes(data)
        with suppress(PeerError):
            config.read(Path(folder), COMMANDS)


def attestation(data: bytes) -> None:
    """A file in which somebody vouches for a run, and the statement that is signed in one."""
    with suppress(BadEnvelope, BadSignature):
        open_envelope(data, PAYLOAD_TYPE)
    with suppress(BadStatement, UnknownPredicate):
        statement = read_statement(data)
        assert read_statement(write_statement(statement)) == statement


def admission(data: bytes) -> None:
    """The checks and the bound that an owner names."""
    text = data.decode(errors="replace")
    with suppress(ValueError):
        Admission.parse(text, text)


FILES: Final[dict[str, Target]] = {
    "key-text": key_text,
    "key-file": key_file,
    "words": words,
    "federation-file": federation_file,
    "invitations-file": invitations_file,
    "proposal-file": proposal_file,
    "config-file": config_file,
    "attestation": attestation,
    "admission": admission,
}
