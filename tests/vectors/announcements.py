"""The announcement vectors: one of each kind, and bytes that are malformed (``make.py`` writes announcements.json)."""

from __future__ import annotations

import msgspec
from chains import ALICE, MEMBERS, SERVER, Scribe, decryption_key, id_of
from sealed import fixed_secrets

from crypto.keys import SigningKey
from protocol.blocks.cid import cbor_block
from protocol.wire.announcement_seals import AnnouncementSeals
from protocol.wire.announcements import (
    AckReady,
    Alive,
    Announcement,
    Beat,
    Bye,
    Canvass,
    Canvassed,
    HandsOver,
    Head,
    Hello,
    Known,
    ManifestRef,
    PeerState,
    Position,
    Proof,
    ProposalReady,
    Recall,
    Recalled,
    Refusal,
    ReplyReady,
    Said,
    VoteAsked,
    VoteReady,
    WarrantReady,
    sign_announcement,
)

SEED = bytes(range(32))


def announcement_vectors() -> dict[str, object]:
    """What the file holds. Bytes are hexadecimal; signatures are Ed25519's, so the same key gives the same bytes."""
    key = SigningKey.from_seed(SEED)
    good = {name: _good(announcement, key) for name, announcement in _announcements(key.verify_key.raw).items()}
    return {
        "seed": SEED.hex(),
        "public_key": key.verify_key.raw.hex(),
        "good": good,
        "malformed": _malformed(good),
        "sealed": _sealed(),
    }


def _announcements(author: bytes) -> dict[str, Announcement]:
    federation, run, head, record = (cbor_block(text) for text in ("federation", "run", "head", "record"))
    manifest = ManifestRef(cbor_block("manifest").cid, 2)
    position = Position(run.cid, head.cid, 7, 1)
    said: dict[str, Said] = {
        "hello": Hello(manifest, PeerState.IDLE),
        "beat": Beat(manifest, PeerState.LEADING, position, "round 3"),
        "head": Head(position),
        "reply": ReplyReady(run.cid, bytes(range(32)), record.cid),
        "bye": Bye("stopped"),
        "proof": Proof(head.cid, record.cid),
        "ack": AckReady(run.cid, record.cid),
        "recall": Recall(bytes(range(16)), run.cid, (bytes(range(32)),)),
        "recalled": Recalled(
            bytes(range(32)), bytes(range(16)), position, (Known(bytes(range(32)), record.cid),), record.cid
        ),
        "alive": Alive(bytes(range(16)), bytes(range(16, 32)), 7 << 32, True),
        "proposal": ProposalReady(manifest, head.cid, record.cid),
        "canvass": Canvass(position, manifest.cid, 2),
        "canvassed": Canvassed(bytes(range(32)), run.cid, 2, 1, Refusal.LEADER_HEARD, position),
        "vote-asked": VoteAsked(position, manifest.cid, 2),
        "vote": VoteReady(run.cid, bytes(range(32)), 2, record.cid),
        "hands-over": HandsOver(position, bytes(range(32))),
        "warrant": WarrantReady(run.cid, record.cid),
        "canvass against a dispatch": Canvass(position, manifest.cid, 2, head.cid),
    }
    inline = {
        "head": (head,),
        "reply": (record,),
        "proof": (head, record),
        "ack": (record,),
        "recalled": (record,),
        "proposal": (record,),
        "vote": (record,),
        "warrant": (record,),
    }
    return {
        name: Announcement(
            federation=federation.cid,
            by=author,
            counter=number,
            body=body,
            addresses=("/ip4/127.0.0.1/tcp/4001",),
            blocks=inline.get(name, ()),
        )
        for number, (name, body) in enumerate(said.items(), start=1)
    }


def _good(announcement: Announcement, key: SigningKey) -> dict[str, object]:
    wire = sign_announcement(announcement, key)
    payload, _, signature = msgspec.msgpack.decode(wire)
    return {
        "federation": str(announcement.federation),
        "counter": announcement.counter,
        "kind": announcement.kind,
        "blocks": [str(block.cid) for block in announcement.blocks],
        "payload": payload.hex(),
        "signature": signature.hex(),
        "wire": wire.hex(),
    }


def _malformed(good: dict[str, dict[str, object]]) -> dict[str, str]:
    wire = bytes.fromhex(str(good["head"]["wire"]))
    payload, key, signature = msgspec.msgpack.decode(wire)
    fields = msgspec.msgpack.decode(payload)

    def with_payload(changed: dict[str, object]) -> str:
        return msgspec.msgpack.encode([msgspec.msgpack.encode(changed), key, signature]).hex()

    return {
        "empty": "",
        "cut-short": wire[:-1].hex(),
        "bytes-after": (wire + b"\0").hex(),
        "nested-deeply": (b"\x91" * 5000).hex(),
        "unknown-field": with_payload({**fields, "more": 1}),
        "fields-in-another-order": with_payload(dict(reversed(fields.items()))),
        "body-of-another-kind": with_payload({**fields, "kind": "bye"}),
        "negative-counter": with_payload({**fields, "counter": -1}),
        "no-cid": with_payload({**fields, "federation": bytes(36)}),
    }


def _sealed() -> dict[str, object]:
    """One announcement, sealed for all members and to one, with what opens it."""
    with fixed_secrets():
        scribe = Scribe(encrypted=True)
        manifest = scribe.first
        signed = sign_announcement(Announcement(manifest.federation, id_of(SERVER), 1, Bye("stopped")), SERVER)
        seals = AnnouncementSeals(manifest, scribe.source)
        wires = {"for_all": seals.seal(signed).hex(), "for_one": seals.seal_for(MEMBERS["alice"], signed).hex()}
    assert manifest.key is not None
    return {
        "federation": bytes(manifest.federation).hex(),
        "manifest_key": manifest.key.secret_bytes().hex(),
        "member": id_of(ALICE).hex(),
        "member_key": decryption_key(ALICE).secret_bytes().hex(),
        "signed": signed.hex(),
        **wires,
    }
