"""The joining vectors: a ticket, what follows from it, one message of each kind (``make.py`` writes joining.json)."""

from __future__ import annotations

import msgpack
from chains import ALICE, decryption_key

from crypto.identity import Identity
from protocol.blocks.cid import cbor_block
from protocol.joining.messages import Answer, Join, Pending, Refused, Welcomed, WhyRefused, seal_answer, seal_join
from protocol.joining.tickets import Ticket
from protocol.records.contexts import JoinSide


def joining_vectors() -> dict[str, object]:
    """What the file holds; bytes are hexadecimal."""
    manifest = cbor_block("manifest")
    ticket = Ticket(
        federation=cbor_block("federation").cid,
        name="hospital-b",
        addresses=("/ip4/127.0.0.1/tcp/4001",),
        swarm_key=bytes(32),
        secret=bytes(range(32)),
        expires=1_800_000_000,
    )
    keys = ticket.keys
    newcomer = Identity("hospital-b", ALICE, decryption_key(ALICE)).public_for(bytes(ticket.federation))
    answers: dict[str, Answer] = {
        "welcomed": Welcomed(newcomer.id, manifest.cid, (manifest.data,), ticket.addresses),
        "pending": Pending(newcomer.id),
        "refused": Refused(newcomer.id, WhyRefused.UNFIT, "a reason"),
    }
    join = seal_join(keys, Join(newcomer))
    pending = seal_answer(keys, answers["pending"])
    return {
        "ticket": ticket.text(),
        "federation": str(ticket.federation),
        "secret": ticket.secret.hex(),
        "root": keys.root.hex(),
        "tag": keys.tag.hex(),
        "key": newcomer.key_text(),
        "join": join.hex(),
        "answers": {name: seal_answer(keys, answer).hex() for name, answer in answers.items()},
        "dropped": {
            "another element": msgpack.packb([*msgpack.unpackb(pending), None]).hex(),
            "another kind": msgpack.packb([keys.tag, "hello", b""]).hex(),
            "a join where an answer belongs": join.hex(),
            "a tag that is too short": msgpack.packb([keys.tag[1:], "answer", b""]).hex(),
            "a longer header": (b"\xdc\x00\x03" + pending[1:]).hex(),
            "another key": msgpack.packb([keys.tag, "answer", keys.encrypt(b"\x92", JoinSide.NEWCOMER)]).hex(),
            "a field more": _answer(ticket, ["pending", {"to": newcomer.id, "more": 1}]),
            "fields in another order": _answer(ticket, ["refused", {"why": "used", "to": newcomer.id, "note": ""}]),
            "a reason that is none": _answer(ticket, ["refused", {"to": newcomer.id, "why": "so", "note": ""}]),
        },
    }


def _answer(ticket: Ticket, value: object) -> str:
    keys = ticket.keys
    return msgpack.packb([keys.tag, "answer", keys.encrypt(msgpack.packb(value), JoinSide.INVITER)]).hex()
