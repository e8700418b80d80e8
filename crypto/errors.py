"""What can be wrong with keys, signatures and key files: a class for each, with what people can do about it."""

from __future__ import annotations

from typing import ClassVar


class CryptoError(Exception):
    """The base of them all. ``str`` says what is wrong, ``fix`` what to do. Neither holds a secret."""

    fix: ClassVar[str] = ""


class BadKey(CryptoError):
    """Bytes or text that are no usable public or private key."""

    fix = "ask the owner for the key again: `peer keys show --federation ID` prints it there"


class BadSignature(CryptoError):
    """A signature that the key did not make over these bytes."""

    fix = "the bytes were changed, or somebody else signed them: get them again from their author"


class BadEnvelope(CryptoError):
    """Bytes that are no envelope of one signer, or one of another kind of thing."""

    fix = "get the file again from its author: an attestation is what `peer audit --attest FILE` wrote"


class CannotDecrypt(CryptoError):
    """Bytes that are encrypted for somebody else, or were changed."""

    fix = "ask a server of the federation to grant you its keys: peer federation grant"


class ChangedPlaintext(CryptoError):
    """Bytes that are not what was encrypted first, and would be encrypted with the same nonce."""

    fix = "start the peer again; if it happens again, test this machine's memory and disk"


class BadKeyText(CryptoError):
    """A text that is no KEY, is cut short, or is not signed by its owner."""

    fix = "copy the whole line that `peer keys show --federation ID` prints on the owner's machine"


class BadName(CryptoError):
    """A name that cannot be an identity's."""

    fix = "choose 1 to 64 letters, digits, '-', '_' or '.', beginning with a letter or digit"


class TooManyKeys(CryptoError):
    """An identity that was rotated too often."""

    fix = "make a new identity: peer keys init --name NAME, and have it added in place of this one"


class BadWords(CryptoError):
    """Words that spell no secrets."""

    fix = "compare them with what `peer keys backup --words` printed: all of them, in that order"


class KeyFileError(CryptoError):
    """A key file that cannot be used. One of the classes below says why."""


class KeyFileDamaged(KeyFileError):
    """Not a key file, cut short, or changed since its owner's key signed it."""

    fix = "put back a copy of it: `peer keys restore FILE` reads what `peer keys backup FILE` wrote"


class KeyFileUnsupported(KeyFileError):
    """A key file of another version, or one that asks for more memory or time than is allowed."""

    fix = "open it with the version of Pollen that wrote it"


class WrongPassphrase(KeyFileError):
    """The key file is whole, but this passphrase does not open it."""

    fix = "try again; `peer keys passwd NAME` changes a passphrase, nothing recovers a lost one"


class BadPassphrase(KeyFileError):
    """A passphrase that cannot lock a key file."""

    fix = "give one that is not empty, or say --no-passphrase to store the keys unlocked"
