"""The signature of one model file in the format of the OpenSSF's model signing, version 1.0.

The format (https://github.com/ossf/model-signing-spec, https://github.com/sigstore/model-transparency) is an in-toto
statement that names each file of a model by its hash, in a DSSE envelope, in a sigstore bundle. A model that is one
file has one resource, called ``.``. The key is named by the SHA-256 of its PEM.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

from crypto.envelope import envelope_value
from crypto.model_key import ModelKey
from protocol.attestations.statement import PAYLOAD_TYPE, STATEMENT_TYPE

_BUNDLE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PREDICATE: Final = "https://model_signing/signature/v1.0"


def sign_model(name: str, sha256: str, key: ModelKey) -> bytes:
    """The signature file of a model file that is called ``name`` and has this SHA-256, in hex."""
    payload = json.dumps(_statement(name, sha256)).encode()
    envelope = envelope_value(PAYLOAD_TYPE, payload, key.sign, key_id="")
    material = {"publicKey": {"hint": hashlib.sha256(key.public_pem.encode()).hexdigest()}, "tlogEntries": []}
    bundle = {"mediaType": _BUNDLE, "verificationMaterial": material, "dsseEnvelope": envelope}
    return json.dumps(bundle, indent=2).encode() + b"\n"


def _statement(name: str, sha256: str) -> dict[str, Any]:
    whole = hashlib.sha256(bytes.fromhex(sha256)).hexdigest()  # of the digests of all resources
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": whole}}],
        "predicateType": _PREDICATE,
        "predicate": {
            "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": False},
            "resources": [{"name": ".", "algorithm": "sha256", "digest": sha256}],
        },
    }
