"""For each chain rule, chains whose last record breaks only that rule (``make.py`` writes chain_rules.json)."""

from __future__ import annotations

from chains import DAVE, SERVER, Scribe, block_of, decryption_key, id_of
from sealed import fixed_secrets
from spoiled import CASES, Case

from protocol.blocks.cid import CID, Block
from protocol.chain.rules import RULES
from protocol.records.bodies import Chained
from protocol.records.signed_records import parse_record

LONGEST = 32
"""Records before the one that breaks the rule: rules about indexes take 256, and are left to the specification."""


def chain_rule_vectors() -> dict[str, object]:
    """What the file holds.

    ``blocks`` has those of all cases. If a case has a ``reader``, a member and the seed of its decryption key, only a
    reader with that key finds the rule broken. A case's ``bad`` block stands under the CID that it claims, and its
    ``false_blocks`` are what a source gives that does not check.
    """
    blocks: dict[str, str] = {}
    cases = [shown for case in CASES if (shown := _case(case, blocks)) is not None]
    rules = {rule.number: rule.name for rule in RULES.values()}
    return {"rules": rules, "cases": cases, "blocks": dict(sorted(blocks.items()))}


def _case(case: Case, blocks: dict[str, str]) -> dict[str, object] | None:
    with fixed_secrets():
        scribe = case.start()
        if scribe.chain.height > LONGEST:
            return None
        bad = case.spoil(scribe).bad
    chain = _records(scribe.chain.head, scribe.source)
    scribe.source.pop(bad.cid, None)
    false = {str(cid): data.hex() for cid, data in scribe.source.items() if block_of(data).cid != cid}
    blocks.update({str(cid): data.hex() for cid, data in scribe.source.items() if str(cid) not in false})
    return {
        "rule": case.rule.name,
        "case": case.spoil.__name__.replace("_", " "),
        "federation": str(scribe.first.cid),
        "chain": [str(cid) for cid in chain],
        "reader": _reader(scribe),
        "false_blocks": false,
        "bad": {"cid": str(bad.cid), "data": bad.data.hex()},
    }


def _reader(scribe: Scribe) -> dict[str, str] | None:
    """The reader that checks the case's chain, if it has keys."""
    for signer in (SERVER, DAVE):
        if scribe.reader.member == id_of(signer):
            return {"member": id_of(signer).hex(), "seed": decryption_key(signer).secret_bytes().hex()}
    return None


def _records(head: CID | None, source: dict[CID, bytes]) -> list[CID]:
    """The chain up to ``head``, oldest first."""
    chain: list[CID] = []
    while head is not None:
        chain.append(head)
        body = parse_record(Block(head, source[head])).body
        assert isinstance(body, Chained)
        head = body.prev
    return chain[::-1]
