"""The predicate of a model file that its signer took out of a run. docs/attestations.md describes each field.

It vouches for the P-256 key too with which the same file is signed for tools that take no Ed25519
(`protocol.attestations.model_signature`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Annotated, Final, Literal

import msgspec

from protocol.attestations.audit_predicate import CheckedModel, Tool
from protocol.blocks.cid import CID

MODEL_TYPE: Final = "https://pollen-fl/model/v1"


class ModelRun(msgspec.Struct, frozen=True, kw_only=True):
    """The run that a model is from."""

    head: CID
    """The newest record then: it fixes all others."""
    run: CID
    federation: CID


class VouchedKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key of the signer's, for signatures that other tools take."""

    scheme: Literal["ecdsa-sha2-nistp256"]
    pem: Annotated[str, msgspec.Meta(max_length=1_024)]
    """The public key: a SubjectPublicKeyInfo."""

    @property
    def sha256(self) -> str:
        """Of the PEM: the hint by which a signature names the key."""
        return hashlib.sha256(self.pem.encode()).hexdigest()


class ModelPredicate(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Where a model file is from, and with which other key the signer signs it."""

    signed_at: str
    """RFC 3339, in UTC, by the signer's clock."""
    tool: Tool
    run: ModelRun
    """Its chain was verified; nothing was replayed."""
    model: CheckedModel
    key: VouchedKey

    def spoken_of(self) -> Iterator[tuple[str, str]]:
        """What has to be among the subjects, and its digest."""
        yield "model file", self.model.sha256
        yield "key", self.key.sha256
