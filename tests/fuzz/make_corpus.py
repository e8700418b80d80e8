"""Writes the first inputs of each target, real ones: ``python tests/fuzz/make_corpus.py``.

They are the same each time. Inputs that were saved because they broke something stay.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "protocol")]

import attested  # noqa: E402  # the path is set just above
import chains  # noqa: E402  # the path is set just above
import corpus  # noqa: E402
import msgspec  # noqa: E402
import numpy as np  # noqa: E402
from flwr.app import Array, ArrayRecord, ConfigRecord, MetricRecord, RecordDict  # noqa: E402

from crypto.envelope import sign_envelope  # noqa: E402
from crypto.identity import Identity  # noqa: E402
from crypto.keyfile import write_unlocked  # noqa: E402
from crypto.words import to_words  # noqa: E402
from peer.home.federations import StoredFederation  # noqa: E402
from peer.home.invitations import FORMAT as INVITATIONS_FORMAT  # noqa: E402
from peer.home.invitations import InvitationsFile  # noqa: E402
from protocol.app.calls import (  # noqa: E402
    Answered,
    AppReady,
    Finished,
    GetNodes,
    Nodes,
    Outgoing,
    Progress,
    Pull,
    Push,
    Start,
    Task,
    Wait,
)
from protocol.app.pipe import encode as to_frame  # noqa: E402
from protocol.attestations.statement import PAYLOAD_TYPE, write_statement  # noqa: E402
from protocol.blocks.bundle import write_bundle  # noqa: E402
from protocol.blocks.car import write_car  # noqa: E402
from protocol.blocks.cid import Block, cbor_block, decode_cbor, encode_cbor, raw_block  # noqa: E402
from protocol.blocks.content import write_manifest  # noqa: E402
from protocol.blocks.listing import pack  # noqa: E402
from protocol.blocks.typed import to_plain  # noqa: E402
from protocol.federation.epochs import seed_block  # noqa: E402
from protocol.federation.unsigned_versions import next_version  # noqa: E402
from protocol.joining.messages import Pending, Refused, Welcomed, WhyRefused, seal_answer  # noqa: E402
from protocol.joining.tickets import Invitation, Ticket, TicketKeys  # noqa: E402
from protocol.records.bodies import Role, Voting  # noqa: E402
from protocol.records.contexts import JoinSide  # noqa: E402
from protocol.records.signed_records import body_value, parse_record, sign_record  # noqa: E402
from protocol.wire.announcements import (  # noqa: E402
    Announcement,
    Beat,
    Bye,
    Head,
    Hello,
    ManifestRef,
    PeerState,
    Position,
    ReplyReady,
    parse_announcement,
    sign_announcement,
)
from strategy.contents.codec import encode as encode_records  # noqa: E402

VECTORS = Path(__file__).parent.parent / "vectors"
IDENTITY = Identity.from_secret_bytes("hospital-a", bytes(range(64)))


def a_run() -> chains.Scribe:
    """A run with a record of each type that a plain one has."""
    scribe = chains.begun()
    scribe.add(scribe.collect(scribe.taken(chains.ALICE), scribe.error(chains.BOB)))
    dave = scribe.with_dave()
    scribe.add(scribe.roster(dave.cid))
    scribe.add(scribe.dispatch(scribe.group(chains.DAVE)))
    scribe.add(scribe.close())
    return scribe


def a_takeover() -> tuple[list[Block], Block]:
    """The votes for a takeover and the takeover itself, and a manifest that says who votes."""
    scribe = chains.begun()
    step = scribe.lead(leader=chains.SERVER, voters=(chains.SERVER, chains.ALICE, chains.BOB))
    blocks = [chains.block_of(scribe.source[each.cid]) for each in (*step.votes, step.record)]
    voters = {scribe.chain.run: [chains.id_of(chains.ALICE)]}
    unsigned = next_version(
        scribe.first, by=chains.id_of(chains.ADMIN), time=chains.TIME, voting=Voting.SERVERS, voters=voters
    )
    return blocks, scribe.next_manifest(unsigned)


def records(scribe: chains.Scribe) -> list[Block]:
    """The record blocks of a run, and what else is signed in it."""
    blocks = [chains.block_of(data) for cid, data in scribe.source.items() if not cid.is_raw]
    return [block for block in blocks if isinstance(decode_cbor(block.data), dict) and b"sigs" in block.data]


def privates(blocks: Iterable[Block]) -> list[bytes]:
    return [private for block in blocks if (private := parse_record(block).body.private)]


def bodies(blocks: Iterable[Block]) -> list[bytes]:
    return [encode_cbor(body_value(parse_record(block).body)) for block in blocks]


def flower_records() -> list[bytes]:
    """Bodies of contents."""
    model = ArrayRecord({"w": Array(np.arange(6, dtype=np.float32).reshape(2, 3)), "b": Array(np.zeros(3))})
    metrics = MetricRecord({"loss": 0.5, "n": 3, "all": [1.0, 2.0], "none": float("nan"), "large": 2**63 - 1})
    config = ConfigRecord({"text": "a", "bytes": b"b", "flag": True, "list": ["a", "b"], "half": "\ud800"})
    written = []
    for content in (RecordDict({"model": model, "metrics": metrics, "config": config}), RecordDict()):
        manifest = decode_cbor(encode_records(content, None).manifest[0].data)
        written.append(decode_cbor(manifest["private"])[1])
    _, _, records = decode_cbor(written[0])
    return [*written, encode_cbor([2, records])]  # an earlier format is read


def npy_files() -> list[bytes]:
    arrays = [np.arange(6, dtype=np.float32), np.zeros((2, 2), dtype=">f8"), np.array(1), np.array([True])]
    return [Array(array).data for array in arrays]


def announcements(scribe: chains.Scribe) -> list[bytes]:
    run = scribe.chain.run
    position = Position(run, scribe.chain.head or run, scribe.chain.height, 1)
    manifest = ManifestRef(scribe.first.cid, 1)
    said = (
        Hello(manifest, PeerState.IDLE),
        Beat(manifest, PeerState.WORKING, position, "a note"),
        Head(position),
        ReplyReady(run, bytes(32), run),
        Bye("it is late"),
    )
    addresses = ("/ip4/127.0.0.1/tcp/4001/p2p/12D3KooWa",)
    block = chains.block_of(scribe.source[run])
    return [
        sign_announcement(
            Announcement(scribe.first.cid, chains.id_of(chains.ALICE), at + 1, body, addresses, (block,)[: at % 2]),
            chains.ALICE,
        )
        for at, body in enumerate(said)
    ]


def joining(scribe: chains.Scribe) -> tuple[list[bytes], list[bytes]]:
    """Messages on the wire (under another ticket's keys than the target has), and bodies of them."""
    keys, me = TicketKeys.of(bytes(32), scribe.first.cid), IDENTITY.id
    answers = (
        Welcomed(me, scribe.first.cid, (scribe.source[scribe.first.cid],), ("/ip4/10.0.0.1/tcp/4001/p2p/a",)),
        Pending(me),
        Refused(me, WhyRefused.USED, "used"),
    )
    opened = [
        keys.decrypt(msgspec.msgpack.decode(seal_answer(keys, answer))[2], JoinSide.INVITER) for answer in answers
    ]  # a random nonce is new each time
    body = msgspec.msgpack.encode({"key": IDENTITY.public.key_text()})
    wire = [msgspec.msgpack.encode((keys.tag, kind, bytes(40))) for kind in ("join", "answer")]
    return wire, [*opened, body]


def frames() -> list[bytes]:
    run = chains.CONTENT
    values: tuple[Any, ...] = (
        AppReady(chains.ENVIRONMENT),
        Answered(bytes(32), 1.5, run, None, "", run),
        Progress("half"),
        GetNodes(1),
        Push(2, (Outgoing(run, "train", "1", 3600.0, 5),), 1),
        Pull(3, (bytes(32),)),
        Wait(4, (bytes(32),), None),
        Finished(5, None, "it broke", None),
        Nodes(1, (5, 6)),
        Start(run, 5, bytes(32), (("lr", 0.1),), (("partition-id", 1),)),
        Task(bytes(32), run, "train", "1", 3600.0, 1.5, None),
    )
    return [to_frame(value) for value in values]


def federation_file(scribe: chains.Scribe) -> bytes:
    return StoredFederation(scribe.first, dict(scribe.source), bytes(32), ("/ip4/10.0.0.1/tcp/4001/p2p/a",)).to_bytes()


def invitations_file() -> bytes:
    """One ticket that is open, and one that was used."""
    federation = cbor_block("federation").cid
    open_one = Invitation(
        TicketKeys.of(bytes(range(32)), cbor_block("federation").cid), "hospital-b", (Role.CLIENT,), 2**31
    )
    used = (
        replace(open_one, keys=TicketKeys.of(bytes(32), federation), name="hospital-a").used_by(IDENTITY.public).done()
    )
    return encode_cbor(to_plain(InvitationsFile(INVITATIONS_FORMAT, (open_one, used))))


def proposal_files(scribe: chains.Scribe) -> list[bytes]:
    """A proposal as a file, and its record alone."""
    unsigned = next_version(scribe.first, by=chains.id_of(chains.ADMIN), time=chains.TIME, threshold=1)
    record = sign_record(unsigned.body, [chains.ADMIN])
    return [b"".join(write_car([record.cid], [record, *unsigned.blocks])), record.data]


def contents_vectors() -> list[bytes]:
    found = json.loads((VECTORS / "contents.json").read_text())
    return [
        bytes.fromhex(found["records"]["body"]),
        bytes.fromhex(found["shared"]["body"]),
        *(bytes.fromhex(block["data"]) for block in found["records"]["blocks"] if len(block["data"]) < 20_000),
    ]


def all_inputs() -> dict[str, list[bytes]]:
    """The inputs of each target."""
    run = a_run()
    signed = records(run)
    took_over, voting = a_takeover()
    said = announcements(run)
    wire, joined = joining(run)
    files = [("app.py", b"print()"), ("pyproject.toml", b"[project]\nname = 'a'\n")]
    bundle_body = decode_cbor(decode_cbor(write_bundle(files)[1][0].data)["private"])[1]
    tree = [raw_block(bytes([at])).cid for at in range(3)]
    root, _ = pack([{"reply": chains.CONTENT}] * 4000)
    leaf = encode_cbor([{"reply": chains.CONTENT}] * 3)
    small_root = cbor_block({"count": 3, "leaves": [cbor_block([b"1", b"2", b"3"]).cid]})
    ticket = Ticket(run.first.cid, "hospital-b", ("/ip4/10.0.0.1/tcp/4001/p2p/a",), bytes(32), bytes(range(32)), 2**31)
    plain = write_manifest(b"body", tree)[1][0].data
    encrypted = cbor_block({"links": root.value, "epoch": 1, "private": b""}).data
    values = encode_cbor([1, 1.5, "a", b"b", None, True, {"a": chains.CONTENT}])
    return {
        "cid": [part for link in (chains.CONTENT, run.chain.run) for part in (bytes(link), str(link).encode())],
        "dag-cbor": [signed[0].data, values, small_root.data],
        "record": [block.data for block in [*signed, *took_over]],
        "private-part": privates(signed),
        "chain": [*(body for body in bodies(signed) if b"federation" not in body), *bodies(took_over[-1:])],
        "manifest": [*(body for body in bodies(signed) if b"federation" in body), *bodies([voting])],
        "listing": [small_root.data, encode_cbor([b"1", b"2"]), leaf, encode_cbor(2)],
        "seed": [seed_block(bytes(32), None).data, cbor_block({"epoch": 1, "private": bytes(60)}).data],
        "content-manifest": [plain, encrypted],
        "content": [*flower_records(), *contents_vectors()[:2]],
        "numpy-array": npy_files(),
        "bundle": [bundle_body],
        "car": [b"".join(write_car([signed[0].cid], signed[:3])), b"".join(write_car([], []))],
        "announcement": said,
        "signed-announcement": [parse_announcement(data).envelope.payload for data in said],
        "sealed-announcement": [msgspec.msgpack.encode((bytes(8), bytes(200))), said[0]],
        "join-message": wire,
        "join-body": joined,
        "ticket": [ticket.text().encode()],
        "pipe": frames(),
        "symmetric": [bytes(28), bytes(100)],
        "sealed": [bytes(1120), bytes(1200)],
        "key-text": [IDENTITY.public.key_text().encode(), IDENTITY.public.signing.did.encode(), b"hospital-a"],
        "key-file": [write_unlocked(IDENTITY)],
        "words": [" ".join(to_words(IDENTITY.secret_bytes())).encode()],
        "federation-file": [federation_file(run)],
        "invitations-file": [invitations_file()],
        "proposal-file": proposal_files(run),
        "config-file": [b'ipfs = "kubo"\nhome = "/tmp"\n', b"json = true\n"],
        "attestation": attestations(),
        "admission": [b"all", b"size,finite", b"3xmedian", b"1e3"],
    }


def attestations() -> list[bytes]:
    """A signed statement of each kind, and the statements alone."""
    statements = [write_statement(each) for each in (attested.AUDITED, attested.SIGNED)]
    return [*(sign_envelope(IDENTITY.signing, PAYLOAD_TYPE, each) for each in statements), *statements]


if __name__ == "__main__":
    for target, inputs in all_inputs().items():
        for at, data in enumerate(dict.fromkeys(inputs)):
            corpus.save(target, f"{at:02}", data)
