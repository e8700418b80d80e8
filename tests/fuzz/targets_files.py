"""Targets: what people hand each other, in files and as text."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

import click
from fuzzing import Target

from crypto.errors import BadKey, BadKeyText, BadName, BadWords, KeyFileError
from crypto.identity import PublicIdentity, parse_name
from crypto.keyfile import read_public, unlock
from crypto.keys import VerifyKey
from crypto.words import from_words, to_words
from peer import config
from peer.errors import PeerError
from peer.federation import read_federation
from protocol.admission import Admission

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
    """A key file. Those of the corpus are not locked: what a passphrase opens is its owner's."""
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


def config_file(data: bytes) -> None:
    """A home's ``config.toml``."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / config.FILE_NAME).write_bytes(data)
        with suppress(PeerError):
            config.read(Path(folder), COMMANDS)


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
    "config-file": config_file,
    "admission": admission,
}
