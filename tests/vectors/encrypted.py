"""An encrypted run with every secret that opens it (``make.py`` writes encrypted.json and encrypted_before.json)."""

from __future__ import annotations

from unittest.mock import patch

from chains import (
    ADMIN,
    ALICE,
    BOB,
    CAROL,
    CONTENT,
    DAVE,
    MEMBERS,
    SECOND,
    SERVER,
    TIME,
    Scribe,
    decryption_key,
    id_of,
    reader_of,
)
from contents import FILES
from sealed import fixed_secrets

from crypto.identity import Identity, RetiredKeys
from crypto.keys import DecryptionKey, SigningKey
from crypto.symmetric import ChunkNonce
from protocol.blocks.bundle import write_bundle
from protocol.blocks.cid import CID, Block, BlockError
from protocol.blocks.content import ContentForm
from protocol.federation.epochs import grant
from protocol.federation.erasures import closed_word, read_word, topic_erasure
from protocol.federation.run_keys import Epoch, read_private
from protocol.federation.shreddings import with_shredded
from protocol.federation.unsigned_versions import next_version
from protocol.records.bodies import (
    Ack,
    Body,
    Close,
    Collect,
    CollectPrivate,
    Dispatch,
    DispatchPrivate,
    Erasure,
    ReasonPrivate,
    Reply,
    Run,
    RunPrivate,
)
from protocol.records.signed_records import parse_record, private_bytes, sign_record
from protocol.roles.leader.run_plan import first_content_key

MEMBER_KEYS = {"server": SERVER, "second server": SECOND, "alice": ALICE, "bob": BOB, "carol": CAROL, "dave": DAVE}
NEW_SIGNING, NEW_DECRYPTION = SigningKey.from_seed(bytes([21]) * 32), DecryptionKey.from_seed(bytes([22]) * 32)
"""Alice's, after she has destroyed the old ones."""
PRIVATE = {
    Run: RunPrivate,
    Dispatch: DispatchPrivate,
    Collect: CollectPrivate,
    Close: ReasonPrivate,
    Reply: ReasonPrivate,
}


def encrypted_before_vectors() -> dict[str, object]:
    """The same run as it was recorded before the keys of an epoch said how nonces are made."""
    with (
        patch("protocol.federation.epochs.CHUNK_NONCE", ChunkNonce.HMAC),
        patch("protocol.roles.leader.run_plan.CHUNK_NONCE", ChunkNonce.HMAC),
    ):
        return encrypted_vectors()


def encrypted_vectors() -> dict[str, object]:
    """What the file holds: ``opened`` has the private parts in the clear, by record; bytes are hexadecimal.

    ``chain`` has the records in order, ``beside`` a grant of epoch 1 and an ack, ``blocks`` all others that are needed.
    ``shredding`` is the version after the newest, which shreds the run from epoch 2 on; and Alice's word that she has
    destroyed the keys, as a record, as a line, and as it goes over the topic under the swarm key.
    """
    with fixed_secrets():
        scribe = Scribe(encrypted=True, reader=reader_of(SERVER))
        chain, epochs = _chain(scribe)
        beside = [scribe.sign(each, signer) for each, signer in _beside(scribe, epochs[0])]
        shredding = _shredding(scribe)
    shown = {*chain, *(block.cid for block in beside)}
    key = scribe.manifest.key
    assert key is not None
    return {
        "federation": str(scribe.first.cid),
        "members": {name: {"id": id_of(each).hex(), "seed": _seed(name)} for name, each in MEMBER_KEYS.items()},
        "manifest_key": key.secret_bytes().hex(),
        "epochs": {str(epoch.number): _secrets(epoch) for epoch in epochs},
        "chain": [_block(scribe, cid) for cid in chain],
        "shredding": shredding,
        "beside": [_block(scribe, block.cid) for block in beside],
        "opened": _opened(scribe),
        "blocks": [_block(scribe, cid) for cid in scribe.source if cid not in shown],
    }


def _chain(scribe: Scribe) -> tuple[list[CID], list[Epoch]]:
    """Two exchanges, and a roster with Dave between them that begins epoch 2."""
    records = [scribe.add(_run(scribe)).record.cid]
    epochs = [_newest(scribe)]

    def add(body: Body) -> None:
        records.append(scribe.add(body).record.cid)

    add(scribe.dispatch(scribe.group(ALICE, BOB)))
    add(scribe.collect(scribe.taken(ALICE), scribe.error(BOB)))
    add(scribe.roster(scribe.with_dave().cid))
    epochs.append(_newest(scribe))
    add(scribe.dispatch(scribe.group(CAROL)))
    add(scribe.collect(scribe.taken(CAROL, content=None, code=2, reason="out of memory")))
    add(scribe.close())
    return records, epochs


def _run(scribe: Scribe) -> Run:
    """The run record, of the app that contents.json has, whose bundle is encrypted under the model key of epoch 1."""
    made = scribe.keys()
    assert made.epoch.model is not None
    app, _ = write_bundle(FILES)
    bundle, blocks = write_bundle(
        FILES, ContentForm(first_content_key(made.epoch.model, scribe.first.cid, made.body.by))
    )
    scribe.source.add(*blocks)
    return scribe.run(made, app, bundle=bundle)


def _newest(scribe: Scribe) -> Epoch:
    assert scribe.epoch is not None
    return scribe.epoch


def _beside(scribe: Scribe, epoch: Epoch) -> list[tuple[Body, SigningKey]]:
    given = grant(scribe.chain.run, epoch, scribe.manifest, MEMBERS["carol"], by=id_of(SERVER), time=TIME)
    ack = Ack(
        by=id_of(ALICE),
        time=TIME,
        run=scribe.chain.run,
        term=1,
        height=scribe.chain.height,
        head=scribe.chain.head or CONTENT,
        replies=scribe.pack([]),
    )
    return [(given, SERVER), (ack, ALICE)]


def _shredding(scribe: Scribe) -> dict[str, object]:
    shredded = with_shredded((), [scribe.chain.run], epoch=2, reason="a patient asked")
    unsigned = next_version(scribe.chain.manifest, by=id_of(ADMIN), time=TIME, shredded=shredded)
    version = sign_record(unsigned.body, [ADMIN])
    alice = Identity("alice", NEW_SIGNING, NEW_DECRYPTION, [RetiredKeys(ALICE, None)])
    body = Erasure(
        by=id_of(ALICE),
        time=TIME,
        manifest=version.cid,
        version=scribe.chain.manifest.version + 1,
        destroyed=True,
        key=alice.public_for(bytes(scribe.first.cid)).key_text(),
    )
    word = read_word(sign_record(body, [NEW_SIGNING]).data)
    swarm_key = bytes(range(32))
    return {
        "version": {"cid": str(version.cid), "data": version.data.hex()},
        "blocks": [{"cid": str(block.cid), "data": block.data.hex()} for block in unsigned.blocks],
        "word": {"cid": str(word.block.cid), "data": word.block.data.hex()},
        "line": word.line(),
        "swarm_key": swarm_key.hex(),
        "message": closed_word(word, scribe.first.cid, swarm_key).hex(),
        "topic": topic_erasure(scribe.first.cid),
    }


def _opened(scribe: Scribe) -> dict[str, str]:
    opened = {}
    for cid, data in scribe.source.items():
        try:
            body = parse_record(Block(cid, data)).body
        except BlockError:
            continue
        kind = PRIVATE.get(type(body))
        if kind is not None:
            opened[str(cid)] = private_bytes(read_private(body, kind, scribe.chain.keys)).hex()
    return opened


def _seed(name: str) -> str:
    return decryption_key(MEMBER_KEYS[name]).secret_bytes().hex()


def _secrets(epoch: Epoch) -> dict[str, str]:
    assert epoch.model is not None
    assert epoch.update is not None
    return {"model": epoch.model.secret_bytes().hex(), "update": epoch.update.secret_bytes().hex()}


def _block(scribe: Scribe, cid: CID) -> dict[str, str]:
    return {"cid": str(cid), "data": scribe.source[cid].hex()}
