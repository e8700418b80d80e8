"""A federation whose keys come from seeds, and a scribe who writes honest chains for it; tests then spoil them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from crypto import dsse
from crypto.handover import NewKeys
from crypto.identity import ANY_FEDERATION, sign_first_keys
from crypto.keys import DecryptionKey, SigningKey
from crypto.symmetric import SymmetricKey
from protocol.blocks.cid import CID, Block, MissingBlock, cbor_block, encode_cbor, raw_block
from protocol.blocks.listing import Listing, pack
from protocol.blocks.typed import to_plain
from protocol.chain.chain import Chain, OpenMessage, Step
from protocol.federation.epochs import NewEpoch, new_epoch
from protocol.federation.manifest import PUBLIC, Manifest, first_manifest, manifest_at, node_id
from protocol.federation.readers import Reader
from protocol.federation.run_keys import Epoch, private_fields
from protocol.federation.unsigned_versions import UnsignedVersion, new_federation, with_member
from protocol.records.bodies import (
    Body,
    Close,
    Collect,
    CollectPrivate,
    Dispatch,
    DispatchPrivate,
    EncryptionKeyText,
    GridError,
    Group,
    Handover,
    Index,
    Look,
    Member,
    NewEnvironment,
    Outcome,
    ReasonPrivate,
    RecordType,
    Reply,
    Role,
    Roster,
    Run,
    RunPrivate,
    TakenReply,
    Takeover,
    TakeoverCause,
    Vote,
    Warrant,
)
from protocol.records.contexts import OwnKeySeal, ReplyPrivate, seal_for
from protocol.records.environment import Environment, Kernel, Numerics, Package
from protocol.records.message_ids import message_id
from protocol.records.private_parts import private_part
from protocol.records.signed_records import RECORD_TYPE, parse_record, private_bytes, sign_record


def key(name: str) -> SigningKey:
    """The signing key of the member called ``name``."""
    return SigningKey.from_seed(hashlib.sha256(name.encode()).digest())


ADMIN, SERVER, SECOND, ALICE, BOB, CAROL, DAVE, KEEPER, STRANGER = map(
    key, ("admin", "server", "second server", "alice", "bob", "carol", "dave", "keeper", "stranger")
)
VOTERS = (SECOND, ALICE, BOB)
"""Enough of the tests' federation to make the second server the leader."""
TIME, TTL = 1_700_000_000.25, 3600.0
CONTENT = raw_block(b"a content").cid
ANSWER = raw_block(b"an answer").cid
APP = cbor_block({"files": []}).cid
ENVIRONMENT = Environment(
    numerics=Numerics.PORTABLE,
    python="3.11.9",
    platform="linux-x86_64",
    machine="x86_64",
    cpu="Intel Xeon",
    gpu="",
    libc="glibc 2.36",
    threads=1,
    kernels=(Kernel("numpy", "X86_V2"), Kernel("torch", "DEFAULT")),
    packages=(Package("flwr", "1.41.0"), Package("numpy", "2.4.6"), Package("torch", "2.15.0")),
)


@cache
def decryption_key(signer: SigningKey) -> DecryptionKey:
    """What opens what is sealed for the member with this first key."""
    return DecryptionKey.from_seed(hashlib.sha256(b"decryption" + id_of(signer)).digest())


def reader_of(signer: SigningKey) -> Reader:
    """The member with this first key, as a reader."""
    return Reader(id_of(signer), [decryption_key(signer)])


def id_of(signer: SigningKey) -> bytes:
    """The member id that belongs to a first key."""
    return signer.verify_key.raw


def node_of(signer: SigningKey) -> int:
    """The node id of the member with this first key."""
    return node_id(id_of(signer))


def member(signer: SigningKey, *roles: Role, place: CID | SigningKey | None = ADMIN) -> Member:
    """A new member, of the federation ``place``, or of version 1 of one that ``place`` founds, or (None) of any."""
    public = decryption_key(signer).public
    encryption = EncryptionKeyText(suite=public.suite.value, key=public.raw)
    proof = sign_first_keys(signer, encryption.suite, encryption.key, place_of(place))
    return Member(id=id_of(signer), signing=id_of(signer), encryption=encryption, roles=roles, proof=proof)


def place_of(place: CID | SigningKey | None) -> bytes:
    """What a member's signatures about its keys name."""
    match place:
        case None:
            return ANY_FEDERATION
        case CID():
            return bytes(place)
    return id_of(place)


def rotated(
    before: Member,
    old: SigningKey,
    new: SigningKey,
    encryption: bytes = b"a newer key",
    *,
    place: CID | SigningKey = ADMIN,
) -> Member:
    """The member with new keys in the federation ``place``, which its old and its new signing key hand over to."""
    keys = NewKeys(place_of(place), before.id, id_of(new), before.encryption.suite, encryption)
    return replace(
        before,
        signing=keys.signing,
        encryption=EncryptionKeyText(suite=keys.suite, key=encryption),
        proof=None,
        handover=Handover(old=keys.sign(old), new=keys.sign(new)),
    )


def members_of(founder: SigningKey) -> dict[str, Member]:
    """The members of version 1 of a federation of the founder's."""
    roles = {
        "server": (SERVER, Role.SERVER),
        "second server": (SECOND, Role.SERVER),
        "alice": (ALICE, Role.CLIENT),
        "bob": (BOB, Role.CLIENT),
        "carol": (CAROL, Role.CLIENT, Role.AUDITOR),
    }
    return {name: member(signer, *each, place=founder) for name, (signer, *each) in roles.items()}


MEMBERS = members_of(ADMIN)
WITH_KEEPER = {**MEMBERS, "keeper": member(KEEPER, Role.KEEPER)}


def block_of(data: bytes) -> Block:
    """Any bytes as a dag-cbor block under the CID they hash to."""
    return Block(CID(b"\x01\x71\x12\x20" + hashlib.sha256(data).digest()), data)


def signature_of(value: object, signer: SigningKey = SERVER) -> bytes:
    """The signature over any value as a record's body."""
    return dsse.sign(signer, RECORD_TYPE, encode_cbor(value))


def signed_value(value: object) -> Block:
    """Any value as the body of a record block that the server signed."""
    return cbor_block({"body": value, "sigs": [{"by": id_of(SERVER), "sig": signature_of(value)}]})


class Blocks(dict[CID, bytes]):
    """A block source in memory."""

    def get(self, cid: CID) -> bytes:  # type: ignore[override]  # as `BlockSource` has it
        """The block, or MissingBlock."""
        try:
            return self[cid]
        except KeyError:
            raise MissingBlock(cid) from None

    def add(self, *blocks: Block) -> None:
        """Store blocks."""
        self.update({block.cid: block.data for block in blocks})


def unsigned_federation(members: Mapping[str, Member] = MEMBERS, **changes: Any) -> UnsignedVersion:
    """Version 1 of the tests' federation, not yet signed."""
    names = {each.id: name for name, each in members.items()}
    given = {
        "admins": [id_of(ADMIN)],
        "by": id_of(ADMIN),
        "time": TIME,
        "name": "trial",
        "names": names,
    } | changes
    return new_federation(members=members.values(), **given)


class Scribe:
    """Writes one run's records as an honest leader would, and keeps every block.

    The methods named after a record type give its *body*, next in the chain; `add` signs it and appends it.
    """

    def __init__(
        self,
        members: Mapping[str, Member] = MEMBERS,
        *,
        encrypted: bool = False,
        reader: Reader = PUBLIC,
        founders: Sequence[SigningKey] = (ADMIN,),
        **changes: Any,
    ) -> None:
        """``reader`` checks the chain; the scribe itself has every key. ``founders`` are the admins of version
        1, and ``changes`` are to it."""
        self.source = Blocks()
        self.leader = SERVER
        by = {"admins": list(map(id_of, founders)), "by": id_of(founders[0])}
        members = members_of(founders[0]) if members is MEMBERS else members
        unsigned = unsigned_federation(members, key=SymmetricKey.generate() if encrypted else None, **by, **changes)
        self.source.add(*unsigned.blocks)
        self.first = first_manifest(parse_record(self.sign(unsigned.body, *founders)), self.source, reader_of(SERVER))
        self.manifest = self.first
        self.reader = reader
        self.chain = Chain(self.first.cid, reader)
        self.epoch: Epoch | None = None
        """The newest of the chain."""
        self._drafted: dict[CID, Epoch] = {}

    def sign(self, body: Body, *signers: SigningKey) -> Block:
        """The signed and stored record, by the leader if nobody else is named."""
        block = sign_record(body, signers or [self.leader])
        self.source.add(block)
        return block

    def add(self, body: Body) -> Step:
        """Sign and append."""
        step = self.chain.append_block(self.sign(body), self.source)
        if isinstance(body, Run | Roster) and body.keys is not None:
            self.epoch = self._drafted[body.keys]
        return step

    def pack(self, items: Iterable[object]) -> Listing:
        """The listing of ``items``, its blocks stored."""
        listing, blocks = pack(to_plain(tuple(items)))
        self.source.add(*blocks)
        return listing

    def keys(self, manifest: Manifest | None = None, **changes: Any) -> NewEpoch:
        """The keys of the next epoch for the readers in ``manifest`` (the scribe's if none is named)."""
        made = new_epoch(manifest or self.manifest, self.epoch, by=id_of(self.leader), time=TIME)
        self.source.add(*made.blocks)
        return replace(made, body=replace(made.body, **changes))

    def begin(self, made: NewEpoch | None, *signers: SigningKey) -> CID | None:
        """What the run or roster that begins the epoch links; None if there is no epoch."""
        if made is None:
            return None
        cid = self.sign(made.body, *signers).cid
        self._drafted[cid] = replace(made.epoch, body=made.body)
        return cid

    def private(self, value: object, kind: str, epoch: Epoch | None) -> dict[str, Any]:
        """A private part and its epoch, encrypted as an honest leader would if there is an epoch."""
        return private_fields(value, epoch, RecordType(kind), self.chain.height + 1)

    def place(self, **changes: Any) -> dict[str, Any]:
        """What the next record has in common with all others."""
        chain = self.chain
        start = chain.head is None
        return {
            "by": id_of(self.leader),
            "time": TIME + chain.height + 1,
            "run": None if start else chain.run,
            "prev": chain.head,
            "height": chain.height + 1,
            "term": chain.term,
            "looks": Listing(()),
            "empties": 0,
        } | changes

    def run(
        self, made: NewEpoch | None = None, app: CID = APP, *, keep: str = "", best: str = "", **changes: Any
    ) -> Run:
        """``made`` is the first epoch, if it is not the honest one; ``app`` is the app's id. ``keep`` is its plan, if
        not everything stays, and ``best`` what marks its best model."""
        made = made or (self.keys() if self.first.encrypted else None)
        private = RunPrivate(
            name="app",
            version="1.0",
            config=(("num-rounds", 3),),
            app=app,
            replay_format=5,
            environment=ENVIRONMENT,
            best=best,
        )
        links = {
            "manifest": self.manifest.cid,
            "bundle": app,
            "seed": cbor_block({"seed": b"s"}).cid,
            "initial_model": None,
            "keys": self.begin(made),
        }
        shown = self.private(private, Run.TYPE, made and made.epoch)
        return Run(**self.place(**shown, **links) | {"keep": keep} | changes)

    def group(
        self,
        *clients: SigningKey,
        content: CID = CONTENT,
        type: str = "train",
        kind: int = 0,
        after: Sequence[SigningKey] = (),
    ) -> Group:
        """A group of one message for each of ``clients``; ``after`` are those whom the dispatch addresses before it."""
        to = []
        for at, client in enumerate(clients):
            ordinal = self.chain.ordinal(node_of(client)) + [*after, *clients[:at]].count(client)
            to.append((message_id(self.chain.run, node_of(client), ordinal, content, type), node_of(client)))
        return Group(content=content, ttl=TTL, kind=kind, to=tuple(to))

    def dispatch(
        self, *groups: Group, kinds: Sequence[tuple[str, str]] = (("train", "1"),), **changes: Any
    ) -> Dispatch:
        """One message to Alice and one to Bob, if no groups are given."""
        listing = self.pack(groups or [self.group(ALICE, BOB)])
        private = self.private(DispatchPrivate(kinds=tuple(kinds)), Dispatch.TYPE, self.epoch)
        return Dispatch(**self.place(groups=listing, **private) | changes)

    def message(self, client: SigningKey) -> OpenMessage:
        """The oldest open message to ``client``."""
        return next(each for each in self.chain.open.values() if each.node == node_of(client))

    def reply_body(self, client: SigningKey, **changes: Any) -> Reply:
        """The client's answer to its oldest open message."""
        message, epoch = self.message(client), self.epoch
        reason = ReasonPrivate(reason=changes.pop("reason", ""))
        key, sealed = self.own_key(client, epoch) if epoch else (None, b"")
        given = {
            "by": id_of(client),
            "time": TIME,
            "run": self.chain.run,
            "message": message.id,
            "dispatch": message.dispatch,
            "created": TIME + 1,
            "ttl": TTL,
            "content": ANSWER,
            "code": None,
            "epoch": epoch and epoch.number,
            "private": self.reply_private(reason, client, key),
            "key": sealed,
        }
        return Reply(**given | changes)

    def reply_private(self, value: object, client: SigningKey, key: SymmetricKey | None) -> bytes:
        """The private part of the client's answer to its oldest open message, under its own key if there is one."""
        if key is None or self.epoch is None:
            return private_bytes(value)
        context = ReplyPrivate(self.chain.run, self.epoch.number, id_of(client), self.message(client).id)
        return private_part(value, key, context)

    def own_key(self, client: SigningKey, epoch: Epoch) -> tuple[SymmetricKey, bytes]:
        """A key of the client's for an epoch, and what of it a reply shows."""
        own = SymmetricKey.generate()
        return own, seal_for(epoch.public, own.secret_bytes(), OwnKeySeal(self.chain.run, epoch.number, id_of(client)))

    def taken(self, client: SigningKey, *signers: SigningKey, **changes: Any) -> TakenReply:
        """The client's reply, signed by itself if nobody else is named, and stored."""
        return TakenReply(reply=self.sign(self.reply_body(client, **changes), *(signers or [client])).cid)

    def error(self, client: SigningKey, **changes: Any) -> GridError:
        """An error of the Grid's for the client's oldest open message."""
        given = {
            "message": self.message(client).id,
            "code": 3,
            "why": 0,
            "created": TIME + 2,
            "refused": None,
        }
        return GridError(**given | changes)

    def collect(
        self,
        *answers: TakenReply | GridError,
        unanswered: Iterable[bytes] = (),
        reasons: Sequence[str] = ("no answer in time",),
        **changes: Any,
    ) -> Collect:
        private = self.private(CollectPrivate(reasons=tuple(reasons)), Collect.TYPE, self.epoch)
        listings = {"answers": self.pack(answers), "unanswered": self.pack(unanswered)}
        return Collect(**self.place(**private, **listings) | changes)

    def next_manifest(self, unsigned: UnsignedVersion, *signers: SigningKey) -> Block:
        """A later version, signed by the admin if nobody else is named, and stored."""
        self.source.add(*unsigned.blocks)
        return self.sign(unsigned.body, *(signers or [ADMIN]))

    def with_dave(self) -> Block:
        """The manifest in which Dave is a client too."""
        unsigned = with_member(
            self.manifest, member(DAVE, Role.CLIENT, place=self.first.cid), "dave", by=id_of(ADMIN), time=TIME
        )
        return self.next_manifest(unsigned)

    def roster(self, manifest: CID, **changes: Any) -> Roster:
        """It begins the next epoch if the federation encrypts and no ``keys`` are given."""
        if self.epoch and "keys" not in changes:
            changes["keys"] = self.begin(self.keys(self.read_manifest(manifest)))
        return Roster(**self.place(manifest=manifest, keys=None) | changes)

    def read_manifest(self, cid: CID) -> Manifest:
        """The version in a block, as the server reads it."""
        return manifest_at(cid, self.first.cid, self.source, reader=reader_of(SERVER))

    def environment(self, new: Environment, **changes: Any) -> NewEnvironment:
        return NewEnvironment(**self.place(**self.private(new, NewEnvironment.TYPE, self.epoch)) | changes)

    def index(self, **changes: Any) -> Index:
        return Index(**self.place(records=self.chain.recent) | changes)

    def vote(self, voter: SigningKey, leader: SigningKey = SECOND, **changes: Any) -> Vote:
        """A vote for ``leader`` to go on after the head, in the next term."""
        chain = self.chain
        given = {
            "by": id_of(voter),
            "time": TIME,
            "run": chain.run,
            "term": chain.term + 1,
            "candidate": id_of(leader),
            "head": chain.head,
            "height": chain.height,
            "manifest": chain.manifest.cid,
        }
        return Vote(**given | changes)

    def takeover(
        self,
        *votes: Block,
        leader: SigningKey = SECOND,
        voters: Sequence[SigningKey] = VOTERS,
        **changes: Any,
    ) -> Takeover:
        """A takeover by ``leader``, with ``votes``, or else those of ``voters``. Its leader has to sign it."""
        votes = votes or tuple(self.sign(self.vote(each, leader), each) for each in sorted(voters, key=id_of))
        given = {"by": id_of(leader), "term": self.chain.term + 1, "cause": TakeoverCause.SILENCE}
        return Takeover(**self.place(votes=self.pack(block.cid for block in votes)) | given | changes)

    def warrant(self, leader: SigningKey = SECOND, **changes: Any) -> Warrant:
        """An admin's word that ``leader`` is to lead after this term."""
        chain = self.chain
        given = {"by": id_of(ADMIN), "time": TIME, "run": chain.run, "term": chain.term, "candidate": id_of(leader)}
        return Warrant(**given | {"expires": TIME + 60.0} | changes)

    def lead(self, *votes: Block, leader: SigningKey = SECOND, **changes: Any) -> Step:
        """Append a takeover by ``leader``, whose key signs from then on."""
        body = self.takeover(*votes, leader=leader, **changes)
        self.leader = leader
        return self.add(body)

    def close(self, **changes: Any) -> Close:
        private = self.private(ReasonPrivate(reason=""), Close.TYPE, self.epoch)
        return Close(**self.place(outcome=Outcome.RETURNED, model=ANSWER, **private) | changes)

    def look(self, *clients: SigningKey, count: int = 1) -> Look:
        return Look(nodes=tuple(sorted(map(node_of, clients))), count=count)

    def fill_until(self, height: int) -> None:
        """Append exchanges of one message until the head has ``height``."""
        while self.chain.height < height:
            if self.chain.index_due:
                self.add(self.index())
            elif self.chain.open:
                self.add(self.collect(self.taken(ALICE)))
            else:
                self.add(self.dispatch(self.group(ALICE)))


def begun(
    *, encrypted: bool = False, reader: Reader = PUBLIC, members: Mapping[str, Member] = MEMBERS, **changes: Any
) -> Scribe:
    """A scribe with a run record, with ``changes``, and a dispatch to Alice and Bob."""
    scribe = Scribe(members, encrypted=encrypted, reader=reader)
    scribe.add(scribe.run(**changes))
    scribe.add(scribe.dispatch())
    return scribe
