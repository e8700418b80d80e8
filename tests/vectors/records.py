"""A federation and a run with a record of each type, signed with keys from seeds (``make.py`` writes records.json)."""

from __future__ import annotations

from dataclasses import replace

from chains import (
    ADMIN,
    ALICE,
    ANSWER,
    BOB,
    CAROL,
    CONTENT,
    ENVIRONMENT,
    MEMBERS,
    SECOND,
    SERVER,
    TIME,
    Scribe,
    id_of,
    node_of,
)

from crypto.dsse import pae, sign
from crypto.keys import SigningKey
from protocol.blocks.cid import CID, Block
from protocol.blocks.listing import Listing
from protocol.federation.manifest import node_id
from protocol.federation.unsigned_versions import next_version
from protocol.records.bodies import (
    Ack,
    Body,
    Comparison,
    Outcome,
    ReasonPrivate,
    Recomputed,
    RecomputedAck,
    TakeoverCause,
    Voting,
)
from protocol.records.message_ids import message_id
from protocol.records.signed_records import RECORD_TYPE, parse_record, private_bytes, sign_record
from protocol.witnesses.dispute import Dispute

SIGNERS = {"admin": ADMIN, "server": SERVER, "second server": SECOND, "alice": ALICE, "bob": BOB, "carol": CAROL}


def record_vectors() -> dict[str, object]:
    """What the file holds. Bytes are hexadecimal; ``data`` is a record's block, ``id`` the CID of its body alone."""
    scribe = Scribe()
    chain = _chain(scribe)
    stopped, elsewhere = Scribe(), Scribe()
    replies = [parse_record(Block(cid, data)) for cid, data in scribe.source.items()]
    return {
        "keys": {name: {"seed": key.secret_bytes().hex(), "public": id_of(key).hex()} for name, key in SIGNERS.items()},
        "node_ids": {name: {"id": each.id.hex(), "node": node_id(each.id)} for name, each in MEMBERS.items()},
        "dsse": _dsse(ADMIN),
        "message_ids": _message_ids(scribe),
        "federation": str(scribe.first.cid),
        "manifests": [_shown(scribe, scribe.first.cid), _shown(scribe, scribe.chain.manifest.cid)],
        "addressed": _addressed(scribe),
        "voting": _voting(scribe),
        "planned": _planned(),
        "witnessed": _witnessed(scribe),
        "replies": [_shown(scribe, each.cid) for each in replies if each.body.TYPE == "reply"],
        "chain": [_shown(scribe, cid) for cid in chain],
        "acks": [_shown(scribe, cid) for cid in _acks(scribe)],
        "stopped": [_shown(stopped, cid) for cid in _stopped(stopped)],
        **_took_over(Scribe()),
        "elsewhere": [_shown(elsewhere, cid) for cid in _elsewhere(elsewhere)],
    }


ADDRESSES = (
    "/dns4/peers.hospital.org/tcp/443/tls/ws/p2p/12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X",
    "/ip4/10.0.0.5/tcp/4001/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
)


def _addressed(scribe: Scribe) -> dict[str, object]:
    """The version after the newest, with addresses in it."""
    unsigned = next_version(scribe.chain.manifest, by=id_of(ADMIN), time=TIME, addresses=ADDRESSES)
    block = sign_record(unsigned.body, [ADMIN])
    return {"cid": str(block.cid), "data": block.data.hex(), "addresses": list(ADDRESSES)}


def _voting(scribe: Scribe) -> dict[str, object]:
    """The version after the newest, in which servers vote, and for one run Alice and the servers."""
    named = (ALICE, SERVER, SECOND)
    voters = {scribe.chain.run: list(map(id_of, named))}
    manifest = scribe.chain.manifest
    unsigned = next_version(manifest, by=id_of(ADMIN), time=TIME, voting=Voting.SERVERS, voters=voters)
    block = sign_record(unsigned.body, [ADMIN])
    names = [name for name, each in SIGNERS.items() if each in named]
    return {"cid": str(block.cid), "data": block.data.hex(), "run": str(scribe.chain.run), "voters": names}


def _planned() -> dict[str, object]:
    """The first record of a run of which not everything stays, and whose best model is marked."""
    block = sign_record(Scribe().run(keep=KEEP, best=BEST), [SERVER])
    return {"cid": str(block.cid), "data": block.data.hex(), "keep": KEEP, "best": BEST}


def _witnessed(scribe: Scribe) -> dict[str, object]:
    """The first record of a run that needs two witnesses, the version after the newest that asks for one in all runs,
    and a dispute block."""
    run = sign_record(Scribe().run(witnesses=2), [SERVER])
    settings = replace(scribe.chain.manifest.settings, witnesses=1)
    unsigned = next_version(scribe.chain.manifest, by=id_of(ADMIN), time=TIME, settings=settings)
    manifest, dispute = sign_record(unsigned.body, [ADMIN]), Dispute(CONTENT, ANSWER)
    return {
        "run": {"cid": str(run.cid), "data": run.data.hex(), "witnesses": 2},
        "manifest": {"cid": str(manifest.cid), "data": manifest.data.hex(), "witnesses": 1},
        "dispute": {
            "cid": str(dispute.block().cid),
            "data": dispute.block().data.hex(),
            "record": str(dispute.record),
            "word": str(dispute.word),
        },
    }


KEEP, BEST = "models=last:4+best updates=last:2 drop-updates", "accuracy:max"


def _chain(scribe: Scribe) -> list[CID]:
    """The run: two exchanges with a reply, an error, a refused reply and an unanswered message; a roster between."""
    records = [scribe.add(scribe.run()).record.cid]

    def add(body: Body) -> None:
        records.append(scribe.add(body).record.cid)

    looks = scribe.pack([scribe.look(ALICE, BOB, CAROL, count=2)])
    query = scribe.group(CAROL, content=ANSWER, type="query", kind=1)
    add(scribe.dispatch(scribe.group(ALICE, BOB), query, kinds=[("train", "1"), ("query", "1")], looks=looks))
    refused = scribe.taken(BOB).reply
    carol = scribe.message(CAROL).id
    add(scribe.collect(scribe.taken(ALICE), scribe.error(BOB, refused=refused), unanswered=[carol], empties=3))
    add(scribe.roster(scribe.with_dave().cid))
    add(scribe.collect(scribe.taken(CAROL, content=None, code=2, reason="out of memory")))
    add(scribe.close())
    return records


def _acks(scribe: Scribe) -> list[CID]:
    """Of the close: by a client, by a server that has recomputed the run, and by one that came to something else."""
    chain = scribe.chain
    assert chain.head is not None
    place = {"time": TIME + 9, "run": chain.run, "term": 1, "height": chain.height, "head": chain.head}
    ack = Ack(by=id_of(ALICE), replies=Listing(()), **place)
    equal = Recomputed(since=1, comparison=Comparison.EQUAL, message=None, content=None)
    otherwise = Recomputed(since=1, comparison=Comparison.DIVERGED, message=None, content=CONTENT)
    by_second = {"by": id_of(SECOND), "replies": Listing(())} | place
    return [
        scribe.sign(ack, ALICE).cid,
        *(scribe.sign(RecomputedAck(recomputed=each, **by_second), SECOND).cid for each in (equal, otherwise)),
    ]


def _stopped(scribe: Scribe) -> list[CID]:
    """A run that the server's owner closed before its app had ended."""
    private = private_bytes(ReasonPrivate(reason="the server's owner stopped it"))
    first = scribe.add(scribe.run()).record.cid
    return [first, scribe.add(scribe.close(outcome=Outcome.STOPPED, model=None, private=private)).record.cid]


def _took_over(scribe: Scribe) -> dict[str, object]:
    """A run whose second server takes over between a dispatch and its collect, and the votes for it; and, beside it, an
    admin's warrant and the takeover by that."""
    taken = [scribe.add(scribe.run()), scribe.add(scribe.dispatch())]
    warrant = scribe.sign(scribe.warrant(), ADMIN)
    by_warrant = scribe.sign(scribe.takeover(cause=TakeoverCause.HANDOVER, warrant=warrant.cid), SECOND)
    taken.append(scribe.lead())
    votes = taken[-1].votes
    taken += [scribe.add(scribe.collect(scribe.error(ALICE), scribe.error(BOB))), scribe.add(scribe.close())]
    return {
        "votes": [_shown(scribe, vote.cid) for vote in votes],
        "took_over": [_shown(scribe, step.record.cid) for step in taken],
        "warranted": [_shown(scribe, block.cid) for block in (warrant, by_warrant)],
    }


def _elsewhere(scribe: Scribe) -> list[CID]:
    """A run with which its server went on under another C library."""
    first = scribe.add(scribe.run()).record.cid
    return [first, scribe.add(scribe.environment(replace(ENVIRONMENT, libc="glibc 2.41"))).record.cid]


def _dsse(key: SigningKey) -> dict[str, str]:
    payload = b"\xa0"  # an empty map
    return {
        "type": RECORD_TYPE,
        "payload": payload.hex(),
        "signed": pae(RECORD_TYPE, payload).hex(),
        "signature": sign(key, RECORD_TYPE, payload).hex(),
    }


def _message_ids(scribe: Scribe) -> list[dict[str, object]]:
    run = scribe.chain.run
    asked = [
        (node_of(ALICE), 0, CONTENT, "train"),
        (node_of(ALICE), 1, CONTENT, "train"),
        (node_of(BOB), 300, ANSWER, "query.a"),
    ]
    return [
        {
            "run": str(run),
            "node": node,
            "ordinal": ordinal,
            "content": str(content),
            "type": type,
            "id": message_id(run, node, ordinal, content, type).hex(),
        }
        for node, ordinal, content, type in asked
    ]


def _shown(scribe: Scribe, cid: CID) -> dict[str, str]:
    record = parse_record(Block(cid, scribe.source[cid]))
    return {"type": record.body.TYPE.value, "cid": str(cid), "id": str(record.id), "data": scribe.source[cid].hex()}
