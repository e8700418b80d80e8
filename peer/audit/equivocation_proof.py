"""A proof of equivocation, checked on its own: who signed two records, at which place, and how the two differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from crypto.keys import VerifyKey
from peer.home.federations import StoredFederation
from protocol.blocks.cid import CID, Block, BlockSource
from protocol.records.bodies import Ack, Chained, Reply, Vote
from protocol.records.broken_promises import BrokenPromise
from protocol.records.equivocation import Equivocation, NoProof, read_proof
from protocol.records.signed_records import body_value

MAX_SHOWN: Final = 200
"""Characters of one value that are shown."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A field in which the two bodies differ. The value is empty if a body has no such field."""

    field: str
    first: str
    second: str


@dataclass(frozen=True, slots=True)
class ProvenSigner:
    """Whom a proof is about."""

    member: str
    """As both records name it: a did:key."""
    names: tuple[str, ...]
    """What the federations of this home call the member."""
    key: str
    """The key that signed both records, a did:key."""

    def value(self) -> dict[str, Any]:
        """As ``--json`` shows it."""
        return {"by": self.member, "names": list(self.names), "signer": self.key}


@dataclass(frozen=True, slots=True)
class CheckedProof:
    """A proof that holds."""

    cid: CID
    found: Equivocation
    signer: ProvenSigner

    @property
    def place(self) -> dict[str, str | int]:
        """Where both are."""
        match self.found.first.body:
            case Reply(run=run, message=message):
                return {"run": str(run), "message": message.hex()}
            case Chained(run=run, term=term, height=height):
                return {"run": str(run), "term": term, "height": height}
            case Ack(run=run, term=term, height=height):
                return {"acks of run": str(run), "term": term, "height": height}
            case Vote(run=run, term=term):
                return {"votes in run": str(run), "term": term}
            case other:
                raise AssertionError(f"a {other.TYPE} has no place")

    def differences(self) -> Iterator[Difference]:
        """The fields in which the two differ."""
        first, second = body_value(self.found.first.body), body_value(self.found.second.body)
        for field in dict.fromkeys([*first, *second]):
            if first.get(field) != second.get(field) or (field in first) != (field in second):
                yield Difference(field, _shown(first, field), _shown(second, field))

    def value(self) -> dict[str, Any]:
        """As ``--json`` shows it."""
        records = (self.found.first, self.found.second)
        return {
            "proof": str(self.cid),
            "verdict": "equivocation",
            **self.signer.value(),
            "place": self.place,
            "records": [{"cid": str(record.cid), "type": record.body.TYPE.value} for record in records],
            "differences": [
                {"field": each.field, "first": each.first, "second": each.second} for each in self.differences()
            ],
        }


def check_proof(block: Block, source: BlockSource, known: Sequence[StoredFederation]) -> CheckedProof:
    """Check a proof, and that the key which signed both records belongs to the member that they name.

    The federations that are ``known`` tell that. If none of them lists the member, its id does, which is its first key.

    Raises:
        BlockError: if it proves nothing about that member, or one of its records is not here.
    """
    found = read_proof(block, source)
    return CheckedProof(block.cid, found, proven_signer(found, known))


def proven_signer(found: Equivocation | BrokenPromise, known: Sequence[StoredFederation]) -> ProvenSigner:
    """The member that both records name, if the key that signed them belongs to it, as far as the federations that are
    ``known`` and the member's id tell.

    Raises:
        NoProof: if it does not.
    """
    member, key = VerifyKey(found.by).did, VerifyKey(found.key).did
    if why := _why_not_its_key(found, known):
        signed = f"the key {key} signed both records, in the name of the member {member}"
        raise NoProof(f"{signed}: {why}, so it proves nothing about that member")
    manifests = [stored.manifest for stored in known if found.by in stored.manifest.members]
    names = tuple(dict.fromkeys(manifest.name_of(found.by) for manifest in manifests))
    return ProvenSigner(member, names, key)


def _why_not_its_key(found: Equivocation | BrokenPromise, known: Sequence[StoredFederation]) -> str:
    """Why the key is not the member's; empty if it is, by a federation that is known or by the member's id."""
    had = [(stored, keys) for stored in known if (keys := stored.signing_keys(found.by))]
    if any(found.key in stored.manifest.revoked for stored, _ in had):
        return "that key is revoked, and whoever stole it may have signed"
    if any(found.key in keys for _, keys in had):
        return ""
    if had:
        return "that key is not the member's, and anybody may sign in anybody's name"
    return "" if found.key == found.by else "no federation of this home lists the member, and its id is another key"


def _shown(body: dict[str, Any], field: str) -> str:
    value = body.get(field, "")
    text = value.hex() if isinstance(value, bytes) else str(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
