"""A machine with a real run, and members with valid keys that tell it whatever they like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from chains import (
    ALICE,
    APP,
    BOB,
    CONTENT,
    ENVIRONMENT,
    KEEPER,
    SECOND,
    SERVER,
    TIME,
    TTL,
    Blocks,
    Scribe,
    begun,
    id_of,
    node_of,
    reader_of,
)

from crypto.keys import SigningKey
from protocol.app.calls import AppReady, Examine, Failed, Outgoing, Push
from protocol.blocks.bundle import NamedBundle
from protocol.blocks.cid import CID, Block, cbor_block
from protocol.blocks.listing import Listing
from protocol.chain.chain import OpenMessage
from protocol.chain.closure import missing
from protocol.records.bodies import Ack, ReasonPrivate, Reply
from protocol.records.signed_records import private_bytes, sign_record
from protocol.roles.acting import Acting
from protocol.roles.client.client import Client
from protocol.roles.client.client_plan import ClientPlan
from protocol.roles.effects import (
    Effect,
    FetchContent,
    FetchRecord,
    KeepAcks,
    KeepReply,
    KeepVote,
    PinRun,
    Report,
    Store,
    UnpackApp,
    What,
    WriteHead,
)
from protocol.roles.events import AppCalled, Done, Due, Event, Fetched, Received, Started
from protocol.roles.following.followed_run import NOTHING as NOTHING_VERIFIED
from protocol.roles.following.followed_run import Verified
from protocol.roles.keeper.keeper import Keeper
from protocol.roles.keeper.kept_runs import NOTHING, Remembered
from protocol.roles.leader.leader import Leader
from protocol.roles.leader.run_plan import LeaderSettings, RunPlan
from protocol.roles.newest_manifest import Author, TrustedManifest
from protocol.roles.standby.standby import Standby
from protocol.roles.standby.standby_plan import SignedAcks, StandbyPlan
from protocol.wire.announcements import Announcement, Head, ManifestRef, Position, Said, sign_announcement

"""The app of a scribe's run."""
E = TypeVar("E", bound=Effect)
Fetch = FetchRecord | FetchContent | Examine | UnpackApp


class Attacked:
    """A machine whose fetches come when the test says so, or never."""

    def __init__(self, machine: Leader | Client | Standby | Keeper, scribe: Scribe) -> None:
        self.machine = machine
        self.scribe = scribe
        self.now = TIME
        self.disk_works = True
        """Whether what is to be kept is on disk at once; else the test says when."""
        self.effects: list[Effect] = []
        self.fetching: dict[int, Fetch] = {}
        self._counters: Counter[SigningKey] = Counter()
        self.feed(Started(()))

    def feed(self, event: Event) -> None:
        """Let the machine take an event."""
        for effect in self.machine.handle(event, self.now):
            self.effects.append(effect)
            match effect:
                case Store(id=id) | WriteHead(id=id) | KeepReply(id=id) | PinRun(id=id) | KeepAcks(id=id):
                    if self.disk_works:
                        self.feed(Done(id))
                case KeepVote(id=id):
                    if self.disk_works:
                        self.feed(Done(id))
                case FetchRecord() | FetchContent() | Examine() | UnpackApp():
                    self.fetching[effect.id] = effect

    def say(self, who: SigningKey, body: Said, **more: Any) -> None:
        """A member says something."""
        self.feed(self.said(who, body, **more))

    def said(
        self, who: SigningKey, body: Said, *, blocks: Iterable[Block] = (), addresses: tuple[str, ...] = ()
    ) -> Received:
        """What a member says, as it arrives."""
        self._counters[who] += 1
        said = Announcement(self.scribe.first.cid, id_of(who), self._counters[who], body, addresses, tuple(blocks))
        return Received(sign_announcement(said, who))

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        self.feed(Due())

    def fail(self, *fetches: Fetch) -> None:
        """Nobody has what is fetched: all of it, if nothing is named."""
        for fetch in fetches or tuple(self.fetching.values()):
            del self.fetching[fetch.id]
            self.feed(Failed(fetch.id, "nobody has it"))

    def give(self, fetch: FetchRecord, blocks: Mapping[CID, bytes] | None = None) -> None:
        """The record that is fetched is here, with ``blocks``, or those of the scribe that it needs."""
        del self.fetching[fetch.id]
        self.feed(Fetched(fetch.id, self._closure(fetch.cid) if blocks is None else blocks))

    def give_all(self) -> None:
        """Every record that is fetched is here, and those that are fetched then."""
        while records := [fetch for fetch in self.fetching.values() if isinstance(fetch, FetchRecord)]:
            self.give(records[0])

    def _closure(self, cid: CID) -> dict[CID, bytes]:
        source = self.scribe.source
        blocks = {cid: source[cid]}
        while lacking := missing(cid, Blocks(blocks)):
            blocks.update((each, source[each]) for each in lacking)
        return blocks

    def all(self, kind: type[E]) -> list[E]:
        """The effects of a kind, so far."""
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def reported(self, what: What) -> list[Any]:
        """What was reported so far."""
        return [report.fields for report in self.all(Report) if report.what is what]

    @property
    def manifest(self) -> ManifestRef:
        """The newest that the machine has."""
        return self.machine.machine.newest.ref


def nowhere(name: object) -> CID:
    """The CID of a record that nobody has."""
    return cbor_block(f"nobody has {name}").cid


def position(scribe: Scribe, **changes: Any) -> Position:
    """Where a scribe's chain is."""
    chain = scribe.chain
    given = {"run": chain.run, "head": chain.head, "height": chain.height, "term": chain.term}
    return Position(**given | changes)


def following(scribe: Scribe | None = None) -> Attacked:
    """Alice's client, at the head of a run."""
    scribe = scribe or begun()
    client = listening(scribe)
    client.say(SERVER, Head(position(scribe)))
    client.give_all()
    return client


def listening(scribe: Scribe) -> Attacked:
    """Alice's client, which has heard of no run yet."""
    trusted = TrustedManifest(scribe.first, scribe.source)
    client = Attacked(Client(Author(id_of(ALICE), (ALICE,), 1), trusted, ClientPlan(APP, bytes(32)), {}), scribe)
    client.feed(AppReady(ENVIRONMENT))
    return client


def standing_by(
    scribe: Scribe,
    kept: Mapping[CID, SignedAcks] = MappingProxyType({}),
    acting: Acting | None = None,
    verified: Verified = NOTHING_VERIFIED,
    session: bytes = b"",
    **changes: Any,
) -> Attacked:
    """The second server, which has heard of no run yet."""
    trusted = TrustedManifest(scribe.first, scribe.source)
    plan = StandbyPlan(**{"app": APP, "replay_format": 5} | changes)
    author = Author(id_of(SECOND), (SECOND,), 1, session=session, acting=acting)
    return Attacked(Standby(author, trusted, plan, kept, verified), scribe)


def keeping(scribe: Scribe, remembered: Remembered = NOTHING) -> Attacked:
    """A keeper of the federation, which has heard of no run yet."""
    trusted = TrustedManifest(scribe.first, _versions(scribe))
    return Attacked(Keeper(Author(id_of(KEEPER), (KEEPER,), 1, reader_of(KEEPER)), trusted, remembered), scribe)


def _versions(scribe: Scribe) -> dict[CID, bytes]:
    """The blocks of its manifest, without those of its run."""
    blocks = {scribe.first.cid: scribe.source[scribe.first.cid]}
    while lacking := missing(scribe.first.cid, Blocks(blocks)):
        blocks.update((each, scribe.source[each]) for each in lacking)
    return blocks


def leading(**changes: Any) -> Attacked:
    """A leader that has sent a message to Alice and one to Bob. Its scribe has no run. ``changes`` are to its plan."""
    scribe = Scribe()
    trusted = TrustedManifest(scribe.first, scribe.source)
    settings = LeaderSettings(min_clients=2, client_timeout=600.0)
    plan = RunPlan(NamedBundle(APP, APP, None), bytes(32), "trial", "1", (), 3, **changes)
    leader = Attacked(Leader(Author(id_of(SERVER), (SERVER,), 1), trusted, plan, settings), scribe)
    leader.feed(AppReady(ENVIRONMENT))
    sent = tuple(Outgoing(CONTENT, "train", "1", 3600.0, node_of(client)) for client in (ALICE, BOB))
    leader.feed(AppCalled(Push(1, sent, None)))
    return leader


def message_to(leader: Attacked, client: SigningKey) -> OpenMessage:
    """The message of a leader that a client has not answered yet."""
    assert isinstance(leader.machine, Leader)
    messages = leader.machine.chain.open.values()
    members = leader.machine.machine.newest.manifest
    return next(each for each in messages if members.member_by_node(each.node).id == id_of(client))


def reply_of(leader: Attacked, client: SigningKey, content: CID, **changes: object) -> Block:
    """The client's answer to it."""
    message = message_to(leader, client)
    given = {
        "by": id_of(client),
        "time": TIME,
        "epoch": None,
        "private": private_bytes(ReasonPrivate(reason="")),
        "run": leader.machine.chain.run,
        "message": message.id,
        "dispatch": message.dispatch,
        "created": TIME,
        "ttl": TTL,
        "content": content,
        "code": None,
        "key": b"",
    }
    return sign_record(Reply(**given | changes), [client])


def ack(leader: Attacked, signer: SigningKey = ALICE, **changes: Any) -> Block:
    """Alice's ack of the leader's head."""
    assert isinstance(leader.machine, Leader)
    chain = leader.machine.chain
    given = {"by": id_of(ALICE), "time": TIME, "run": chain.run, "term": 1, "height": chain.height, "head": chain.head}
    return sign_record(Ack(**{**given, "replies": Listing(())} | changes), [signer])
