"""A member that missed a new manifest key learns of it from those that hear it. A removed member learns only that."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from attacked import listening
from chains import (
    ADMIN,
    ALICE,
    APP,
    BOB,
    CAROL,
    ENVIRONMENT,
    MEMBERS,
    SERVER,
    TIME,
    Blocks,
    Scribe,
    decryption_key,
    id_of,
    key,
    unsigned_federation,
)

from crypto.handover import NewKeys
from crypto.keys import DecryptionKey, SigningKey
from crypto.symmetric import SymmetricKey
from protocol.app.calls import AppReady
from protocol.blocks.bundle import NamedBundle
from protocol.blocks.cid import CID
from protocol.chain.closure import missing
from protocol.federation.manifest import Manifest, manifest_at
from protocol.federation.readers import Reader
from protocol.federation.unsigned_versions import (
    UnsignedVersion,
    next_version,
    with_member,
    with_revoked,
    without_member,
)
from protocol.records.bodies import EncryptionKeyText, Handover, Member, Role
from protocol.records.signed_records import sign_record
from protocol.roles.client.client import Client
from protocol.roles.client.client_plan import ClientPlan
from protocol.roles.effects import (
    Effect,
    FetchRecord,
    KeepManifest,
    Publish,
    Report,
    Stop,
    StopCause,
    Store,
    What,
    WriteHead,
)
from protocol.roles.events import Done, Due, Event, Fetched, ManifestChanged, Received, Started
from protocol.roles.leader.leader import Leader
from protocol.roles.leader.run_plan import LeaderSettings, RunPlan
from protocol.roles.newest_manifest import Author, TrustedManifest
from protocol.wire.announcement_seals import AnnouncementSeals
from protocol.wire.announcements import (
    Announcement,
    AnnouncementError,
    Beat,
    Drop,
    ManifestRef,
    PeerState,
    parse_announcement,
    sign_announcement,
    topic_all,
    topic_leader,
)

BY_ADMIN = {"by": id_of(ADMIN), "time": TIME}
SOURCE = Blocks()
ALL_KEYS = Reader(id_of(SERVER), [decryption_key(SERVER)])


def version(unsigned: UnsignedVersion, before: Manifest | None = None, reader: Reader = ALL_KEYS) -> Manifest:
    block = sign_record(unsigned.body, [ADMIN])
    SOURCE.add(block, *unsigned.blocks)
    return manifest_at(block.cid, before.federation if before else block.cid, SOURCE, before, reader)


FIRST = version(unsigned_federation(key=SymmetricKey.generate()))
WITHOUT_BOB = version(without_member(FIRST, id_of(BOB), **BY_ADMIN), FIRST)
WITHOUT_CAROL = version(without_member(WITHOUT_BOB, id_of(CAROL), **BY_ADMIN), WITHOUT_BOB)


class Peer:
    """One machine, and what it has said and done."""

    def __init__(
        self,
        signer: SigningKey,
        manifest: Manifest,
        keys: Sequence[SigningKey] = (),
        decryption: Sequence[DecryptionKey] = (),
    ) -> None:
        reader = Reader(id_of(signer), decryption or [decryption_key(signer)])
        author = Author(id_of(signer), tuple(keys) or (signer,), 1, reader)
        trusted = TrustedManifest(manifest_at(manifest.cid, FIRST.federation, SOURCE, reader=reader), SOURCE)
        self.machine: Leader | Client
        if signer is SERVER:
            settings = LeaderSettings(min_clients=9, client_timeout=60.0)
            self.machine = Leader(
                author, trusted, RunPlan(NamedBundle(APP, APP, None), bytes(32), "trial", "1", (), 3), settings
            )
            self.topics = {topic_all(FIRST.federation), topic_leader(FIRST.federation)}
        else:
            self.machine = Client(author, trusted, ClientPlan(APP, bytes(32)), {})
            self.topics = {topic_all(FIRST.federation)}
        self.effects: list[Effect] = []

    @property
    def version(self) -> int:
        return self.machine.machine.newest.manifest.version

    @property
    def is_over(self) -> bool:
        return bool(self.stops)

    @property
    def stops(self) -> list[Stop]:
        return [effect for effect in self.effects if isinstance(effect, Stop)]

    def reported(self, what: What) -> list[Any]:
        return [effect.fields for effect in self.effects if isinstance(effect, Report) and effect.what is what]


def record(cid: CID) -> dict[CID, bytes]:
    """What a fetch of a record brings."""
    blocks = {cid: SOURCE[cid]}
    while lacking := missing(cid, Blocks(blocks)):
        blocks.update((each, SOURCE[each]) for each in lacking)
    return blocks


class Swarm:
    """Machines that hear each other, and find every record that they ask for."""

    def __init__(self, *peers: Peer) -> None:
        self.peers = peers
        self.now = TIME
        self._coming: deque[tuple[Peer, Event]] = deque()
        self.feed(*((peer, Started(())) for peer in peers))

    def feed(self, *events: tuple[Peer, Event]) -> None:
        """Let peers take events, and all that comes of it."""
        self._coming.extend(events)
        while self._coming:
            peer, event = self._coming.popleft()
            if not peer.is_over:
                for effect in peer.machine.handle(event, self.now):
                    peer.effects.append(effect)
                    self._carry_out(peer, effect)

    def _carry_out(self, peer: Peer, effect: Effect) -> None:
        match effect:
            case Store(id=id) | WriteHead(id=id):
                self._coming.append((peer, Done(id)))
            case FetchRecord(id, cid):
                self._coming.append((peer, Fetched(id, record(cid))))
            case Publish(topic, data):
                others = (other for other in self.peers if other is not peer and topic in other.topics)
                self._coming.extend((other, Received(data)) for other in others)

    def wait(self, seconds: int) -> None:
        for _ in range(seconds * 2):
            self.now += 0.5
            self.feed(*((peer, Due()) for peer in self.peers))


def test_a_client_that_was_away_follows_its_leader_over_each_change_of_the_key() -> None:
    server, alice = Peer(SERVER, WITHOUT_CAROL), Peer(ALICE, FIRST)
    Swarm(server, alice).wait(5)
    assert alice.version == 3
    assert server.reported(What.PEER_HERE) == [{"name": "alice"}]
    assert len([each for each in alice.effects if isinstance(each, KeepManifest)]) == 1


def test_once_told_both_go_on_under_the_newer_key() -> None:
    server, alice = Peer(SERVER, WITHOUT_CAROL), Peer(ALICE, FIRST)
    swarm = Swarm(server, alice)
    swarm.wait(5)
    alice.machine.machine.inbox.dropped.clear()
    alice.effects.clear()
    swarm.wait(10)
    assert not alice.machine.machine.inbox.dropped
    said = [effect.data for effect in alice.effects if isinstance(effect, Publish)]
    assert len(said) > 3
    carols = Peer(CAROL, WITHOUT_BOB)
    Swarm(carols).feed(*((carols, Received(data)) for data in said))
    assert carols.machine.machine.inbox.dropped == {Drop.UNREADABLE: len(said)}


def test_a_leader_follows_a_client_whose_owner_changed_the_manifest_first() -> None:
    server, alice = Peer(SERVER, FIRST), Peer(ALICE, FIRST)
    swarm = Swarm(server, alice)
    swarm.feed((alice, ManifestChanged(WITHOUT_BOB.cid, record(WITHOUT_BOB.cid))))
    swarm.wait(5)
    assert server.version == alice.version == 2


def test_a_client_with_the_newer_manifest_finds_a_leader_that_starts_with_the_older() -> None:
    alice, server = Peer(ALICE, WITHOUT_CAROL), Peer(SERVER, FIRST)
    Swarm(alice, server).wait(5)
    assert server.version == 3
    assert server.reported(What.PEER_HERE) == [{"name": "alice"}]


def test_whoever_starts_again_still_hears_those_with_older_keys() -> None:
    """Its keys of before are in the blocks of the manifests that it has."""
    server, alice, carol = Peer(SERVER, WITHOUT_BOB), Peer(ALICE, FIRST), Peer(CAROL, WITHOUT_BOB)
    Swarm(server, alice, carol).wait(5)
    assert (alice.version, carol.version) == (2, 2)
    assert [said["name"] for said in server.reported(What.MEMBER_BEHIND)] == ["alice"]


def test_a_removed_client_is_told_by_which_version_and_ends() -> None:
    server, alice, bob = Peer(SERVER, WITHOUT_BOB), Peer(ALICE, WITHOUT_BOB), Peer(BOB, FIRST)
    Swarm(server, alice, bob).wait(20)
    (stop,) = bob.stops
    assert stop == Stop("bob was removed from the federation trial by manifest version 2", StopCause.REMOVED)


def test_a_client_that_was_removed_long_ago_is_told_when_it_comes_back() -> None:
    """By a leader that never had it as a member while it ran, and over more than one change of the key."""
    server, bob = Peer(SERVER, WITHOUT_CAROL), Peer(BOB, FIRST)
    Swarm(server, bob).wait(5)
    assert [stop.cause for stop in bob.stops] == [StopCause.REMOVED]


def test_what_a_removed_client_can_open_names_the_manifest_and_nothing_else() -> None:
    server, bob = Peer(SERVER, WITHOUT_BOB), Peer(BOB, FIRST)
    swarm = Swarm(server)
    swarm.feed((server, AppReady(ENVIRONMENT)))
    assert server.reported(What.RUN_OPENED)  # of which its other beats speak
    said = [effect.data for effect in Swarm(bob).peers[0].effects if isinstance(effect, Publish)]
    swarm.feed(*((server, Received(data)) for data in said))
    source = [effect.data for effect in server.effects if isinstance(effect, Publish)]
    seals = AnnouncementSeals(FIRST, SOURCE, Reader(id_of(BOB), [decryption_key(BOB)]))
    opened = [body for data in source if (body := body_for(seals, data)) is not None]
    newest = ManifestRef(WITHOUT_BOB.cid, 2)
    assert opened
    assert all(body == Beat(newest, PeerState.LEADING) for body in opened)


def body_for(seals: AnnouncementSeals, data: bytes) -> object:
    try:
        return parse_announcement(seals.open(data, TIME)).announcement.body
    except AnnouncementError:
        return None


def test_a_removed_client_that_does_not_stop_is_told_at_most_once_a_second() -> None:
    server, bob = Peer(SERVER, WITHOUT_BOB), Peer(BOB, FIRST)
    alone = Swarm(bob)
    alone.wait(20)
    said = [Received(effect.data) for effect in bob.effects if isinstance(effect, Publish)]
    assert len(said) > 5
    Swarm(server).feed(*((server, event) for event in said))
    assert len(server.reported(What.MEMBER_BEHIND)) == 1


def test_somebody_that_never_was_a_member_is_told_nothing() -> None:
    """Though it has the manifest key, as a member's thief may."""
    server = Peer(SERVER, WITHOUT_BOB)
    body = Beat(ManifestRef(FIRST.cid, 1), PeerState.IDLE)
    said = Announcement(FIRST.federation, id_of(ADMIN), 1, body)
    stranger = AnnouncementSeals(FIRST, SOURCE, ALL_KEYS).seal(sign_announcement(said, ADMIN))
    Swarm(server).feed((server, Received(stranger)))
    assert server.machine.machine.inbox.dropped == {Drop.STRANGER: 1}
    assert not server.reported(What.MEMBER_BEHIND)


@pytest.mark.parametrize(
    ("unsigned", "why"),
    [
        (with_revoked(FIRST, FIRST.members[id_of(BOB)], **BY_ADMIN), "version 2, which revokes its keys"),
        (
            with_member(FIRST, replace(FIRST.members[id_of(BOB)], roles=(Role.AUDITOR,)), None, **BY_ADMIN),
            "bob is auditor in trial since manifest version 2, not client",
        ),
    ],
    ids=["revoked", "another role"],
)
def test_a_client_that_loses_its_part_says_how(unsigned: UnsignedVersion, why: str) -> None:
    newer, bob = version(unsigned, FIRST), Peer(BOB, FIRST)
    Swarm(bob).feed((bob, ManifestChanged(newer.cid, record(newer.cid))))
    (stop,) = bob.stops
    assert stop.why.endswith(why)
    assert stop.cause is StopCause.REMOVED


def test_a_removed_client_of_a_federation_that_does_not_encrypt_ends_as_well() -> None:
    client = listening(Scribe())
    newer = client.scribe.next_manifest(without_member(client.scribe.first, id_of(ALICE), **BY_ADMIN))
    client.say(SERVER, Beat(ManifestRef(newer.cid, 2), PeerState.IDLE))
    client.give_all()
    (stop,) = client.all(Stop)
    assert stop.cause is StopCause.REMOVED


def test_a_member_that_stays_behind_is_told_at_most_once_a_second() -> None:
    server, alice = Peer(SERVER, WITHOUT_BOB), Peer(ALICE, FIRST)
    apart = Swarm(alice)
    apart.wait(20)
    alone = Swarm(server)
    said = [Received(effect.data) for effect in alice.effects if isinstance(effect, Publish)]
    assert len(said) > 10
    alone.feed(*((server, event) for event in said[:8]))
    assert len(server.reported(What.MEMBER_BEHIND)) == 1
    alone.wait(1)
    alone.feed(*((server, event) for event in said[8:]))
    assert len(server.reported(What.MEMBER_BEHIND)) == 2


def rotated(member: Member, old: SigningKey, new: SigningKey, decryption: DecryptionKey, federation: CID) -> Member:
    public = decryption.public
    keys = NewKeys(bytes(federation), member.id, id_of(new), public.suite.value, public.raw)
    return Member(
        id=member.id,
        signing=keys.signing,
        encryption=EncryptionKeyText(suite=keys.suite, key=keys.encryption),
        roles=member.roles,
        handover=Handover(old=keys.sign(old), new=keys.sign(new)),
    )


def with_rotated(before: Manifest, name: str, old: SigningKey, new: SigningKey, secret: DecryptionKey) -> Manifest:
    members = {**before.members, id_of(old): rotated(MEMBERS[name], old, new, secret, before.federation)}
    reader = Reader(id_of(SERVER), [secret, decryption_key(SERVER)])
    return version(next_version(before, members=members.values(), **BY_ADMIN), before, reader)


def test_a_leader_that_rotated_its_keys_is_followed_by_a_client_that_was_away() -> None:
    newer, secret = key("server's newer key"), DecryptionKey.generate()
    manifest = with_rotated(FIRST, "server", SERVER, newer, secret)
    server = Peer(SERVER, manifest, [newer, SERVER], [secret, decryption_key(SERVER)])
    alice = Peer(ALICE, FIRST)
    Swarm(server, alice).wait(5)
    assert alice.version == 2
    assert server.reported(What.PEER_HERE) == [{"name": "alice"}]


def test_a_client_that_rotated_its_keys_is_followed_by_its_leader() -> None:
    newer, secret = key("alice's newer key"), DecryptionKey.generate()
    manifest = with_rotated(FIRST, "alice", ALICE, newer, secret)
    alice = Peer(ALICE, manifest, [newer, ALICE], [secret, decryption_key(ALICE)])
    server = Peer(SERVER, FIRST)
    Swarm(server, alice).wait(5)
    assert server.version == 2
    assert server.reported(What.PEER_HERE) == [{"name": "alice"}]
