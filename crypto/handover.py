"""How a member id passes from one signing key to the next: both sign the new keys (README.md, "Hand-overs")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cbrrr

from crypto import dsse
from crypto.errors import BadKey, BadSignature
from crypto.keys import SigningKey, VerifyKey

HANDOVER_TYPE: Final = "application/vnd.pollen.handover+dag-cbor"
"""The DSSE type under which a hand-over is signed."""


@dataclass(frozen=True, slots=True)
class NewKeys:
    """The keys that the member ``id`` has from then on in a federation."""

    federation: bytes
    """As in `crypto.identity.PublicIdentity`."""
    id: bytes
    signing: bytes
    suite: str
    encryption: bytes

    def sign(self, key: SigningKey) -> bytes:
        """The signature by an old key, or by the new one, 64 bytes."""
        return dsse.sign(key, HANDOVER_TYPE, self._signed_bytes())

    def check(self, key: bytes, signature: bytes) -> None:
        """Check that ``signature`` is by ``key``.

        Raises:
            BadSignature: if it is not.
        """
        try:
            verify_key = VerifyKey.parse(key)
        except BadKey as error:
            raise BadSignature(str(error)) from error
        dsse.verify(verify_key, HANDOVER_TYPE, self._signed_bytes(), signature)

    def _signed_bytes(self) -> bytes:
        encryption: cbrrr.DagCborTypes = {"key": self.encryption, "suite": self.suite}
        return cbrrr.encode_dag_cbor(
            {"encryption": encryption, "federation": self.federation, "id": self.id, "signing": self.signing}
        )
