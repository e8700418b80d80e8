"""An encrypted run with every secret that opens it (``make.py`` writes encrypted.json)."""

from __future__ import annotations

from chains import (
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

from crypto.keys import SigningKey
from protocol.blocks.bundle import write_bundle
from protocol.blocks.cid import CID, Block, BlockError
from protocol.blocks.content import ContentForm
from protocol.federation.epochs import grant
from protocol.federation.run_keys import Epoch, read_private
from protocol.records.bodies import (
    Ack,
    Body,
    Close,
    Collect,
    CollectPrivate,
    Dispatch,
    DispatchPrivate,
    ReasonPrivate,
    Reply,
    Run,
    RunPrivate,
)
from protocol.records.signed_records import parse_record, private_bytes
from protocol.roles.leader.run_plan import first_content_key

MEMBER_KEYS = {"server": SERVER, "second server": SECOND, "alice": ALICE, "bob": BOB, "carol": CAROL, "dave": DAVE}
PRIVATE = {
    Run: RunPrivate,
    Dispatch: DispatchPrivate,
    Collect: CollectPrivate,
    Close: ReasonPrivate,
    Reply: ReasonPrivate,
}


def encrypted_vectors() -> dict[str, object]:
    """What the file holds: ``opened`` has the private parts in the clear, by record; bytes are hexadecimal.

    ``chain`` has the records in order, ``beside`` a grant of epoch 1 and an ack, ``blocks`` all others that are needed.
    """
    with fixed_secrets():
        scribe = Scribe(encrypted=True, reader=reader_of(SERVER))
        chain, epochs = _chain(scribe)
        beside = [scribe.sign(each, signer) for each, signer in _beside(scribe, epochs[0])]
    shown = {*chain, *(block.cid for block in beside)}
    key = scribe.manifest.key
    assert key is not None
    return {
        "federation": str(scribe.first.cid),
        "members": {name: {"id": id_of(each).hex(), "seed": _seed(name)} for name, each in MEMBER_KEYS.items()},
        "manifest_key": key.secret_bytes().hex(),
        "epochs": {str(epoch.number): _secrets(epoch) for epoch in epochs},
        "chain": [_block(scribe, cid) for cid in chain],
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
