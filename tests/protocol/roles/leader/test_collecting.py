"""A leader between two records: what it makes of a reply while the manifest changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from chains import (
    ADMIN,
    ALICE,
    ANSWER,
    APP,
    CONTENT,
    ENVIRONMENT,
    SERVER,
    TIME,
    TTL,
    Blocks,
    id_of,
    node_of,
    unsigned_federation,
)

from crypto.keys import SigningKey
from protocol.app.calls import AppReady, ErrorCode, Examine, Examined, Outgoing, Push, Replies, Wait
from protocol.blocks.bundle import NamedBundle
from protocol.blocks.cid import CID
from protocol.federation.manifest import manifest_at
from protocol.federation.unsigned_versions import with_revoked
from protocol.keeping.best import parse_best
from protocol.records.bodies import Outcome, ReasonPrivate, Reply
from protocol.records.signed_records import parse_record, private_bytes, sign_record
from protocol.replies.checks_and_limits import Examination
from protocol.replies.reply_layout import MetricLayout, MetricRecordLayout, ReplyLayout
from protocol.roles.effects import Effect, Hand, PinRun, Publish, Report, Store, What, WriteHead
from protocol.roles.events import AppCalled, Done, Event, ManifestChanged, Received, Started, ToClose
from protocol.roles.leader.leader import Leader
from protocol.roles.leader.run_plan import LeaderSettings, RunPlan
from protocol.roles.newest_manifest import Author, TrustedManifest
from protocol.status.role_status import Best
from protocol.wire.announcements import Announcement, ReplyReady, sign_announcement

E = TypeVar("E", bound=Effect)


class ALeader:
    """The server's machine, on a disk that is always done, with one message open to Alice."""

    def __init__(self) -> None:
        unsigned = unsigned_federation()
        block = sign_record(unsigned.body, [ADMIN])
        self.source = Blocks()
        self.source.add(block, *unsigned.blocks)
        self.manifest = manifest_at(block.cid, block.cid, self.source)
        plan = RunPlan(NamedBundle(APP, APP, None), bytes(32), "trial", "1", (), 3, best_by=parse_best("loss"))
        settings = LeaderSettings(min_clients=1, client_timeout=60.0)
        trusted = TrustedManifest(self.manifest, self.source)
        self.machine = Leader(Author(id_of(SERVER), (SERVER,), 1), trusted, plan, settings)
        self.effects: list[Effect] = []
        self.disk_is_done = True
        self.undone: list[int] = []
        self.feed(Started(()), AppReady(ENVIRONMENT))
        self.feed(AppCalled(Push(1, (Outgoing(CONTENT, "train", "1", TTL, node_of(ALICE), round=3),))))
        (self.message,) = self.machine.chain.open.values()

    def feed(self, *events: Event) -> None:
        for event in events:
            for effect in self.machine.handle(event, TIME):
                self.effects.append(effect)
                if isinstance(effect, Store | WriteHead | PinRun):
                    self.undone.append(effect.id)
        if self.disk_is_done and self.undone:
            self.finish()

    def finish(self) -> None:
        """The disk has done what it was asked to."""
        self.disk_is_done = True
        while self.undone:
            self.feed(Done(self.undone.pop(0)))

    def all(self, kind: type[E]) -> list[E]:
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def hear_reply(self, signer: SigningKey) -> Examine:
        """Its answer comes; what the leader wants of it first."""
        self.hear(signer, "", content=ANSWER, code=None)
        (examine,) = self.all(Examine)
        return examine

    def hear(self, signer: SigningKey, reason: str, *, content: CID | None, code: int | None) -> None:
        """Its answer comes."""
        body = Reply(
            by=id_of(signer), time=TIME, private=private_bytes(ReasonPrivate(reason=reason)),
            run=self.machine.chain.run, message=self.message.id, dispatch=self.message.dispatch, created=TIME, ttl=TTL,
            content=content, code=code, key=b"",
        )  # fmt: skip
        block = sign_record(body, [signer])
        ready = ReplyReady(body.run, body.message, block.cid)
        said = Announcement(self.manifest.federation, id_of(signer), 1, ready, (), (block,))
        self.feed(Received(sign_announcement(said, signer)))

    @property
    def best(self) -> Best | None:
        run = self.machine.machine.status(TIME).run
        return None if run is None else run.best

    def reported(self, what: What) -> list[Mapping[str, object]]:
        return [report.fields for report in self.all(Report) if report.what is what]

    def revoke(self, signer: SigningKey) -> None:
        """The admin takes the member out, and the leader hears of it."""
        member = self.manifest.members[id_of(signer)]
        unsigned = with_revoked(self.manifest, member, by=id_of(ADMIN), time=TIME)
        block = sign_record(unsigned.body, [ADMIN])
        self.source.add(block, *unsigned.blocks)
        self.feed(ManifestChanged(block.cid, self.source))


def test_a_reply_whose_key_is_revoked_while_it_is_examined_is_refused() -> None:
    leader = ALeader()
    examine = leader.hear_reply(ALICE)
    leader.revoke(ALICE)
    leader.feed(Examined(examine.id, Examination()), AppCalled(Wait(2, (leader.message.id,), None)))
    refused = [report.fields["why"] for report in leader.all(Report) if report.what is What.REPLY_REFUSED]
    assert len(refused) == 1
    assert "is not by the client member" in str(refused[0])
    (replies,) = (each.value for each in leader.all(Hand) if isinstance(each.value, Replies))
    assert [reply.code for reply in replies.replies] == [ErrorCode.NODE_UNAVAILABLE]


def test_the_best_model_is_told_once_its_answers_are_given_to_the_app() -> None:
    leader = ALeader()
    examine = leader.hear_reply(ALICE)
    layout = ReplyLayout(metrics=(MetricRecordLayout("metrics", (MetricLayout("loss", number=0.5),)),))
    leader.feed(Examined(examine.id, Examination(layout=layout)))
    assert leader.best == Best("loss:min", None, None, resumed=False)
    leader.feed(AppCalled(Wait(2, (leader.message.id,), None)))
    assert leader.best == Best("loss:min", 3, 0.5, resumed=False)


def test_what_a_client_app_raised_is_told_as_soon_as_its_reply_is_here() -> None:
    leader = ALeader()
    leader.hear(ALICE, "no memory", content=None, code=2)
    (told,) = leader.reported(What.REPLY_FAILED)
    assert (told["name"], told["type"], told["round"], told["why"]) == ("alice", "train", 3, "no memory")


def test_a_message_that_is_given_up_is_told_with_its_client_and_round() -> None:
    leader = ALeader()
    leader.revoke(ALICE)
    leader.feed(AppCalled(Wait(2, (leader.message.id,), None)))
    (told,) = leader.reported(What.MESSAGE_GIVEN_UP)
    assert (told["type"], told["round"]) == ("train", 3)
    assert "no longer a member" in str(told["why"])


def test_a_roster_goes_into_the_journal_with_the_manifest_that_it_brings() -> None:
    leader = ALeader()
    leader.revoke(ALICE)
    *_, roster = [store for store in leader.all(Store) if store.own]
    records = [parse_record(block) for block in roster.blocks if b"sigs" in block.data]
    kinds = {record.body.TYPE for record in records}
    assert kinds == {"roster", "federation"}


def test_a_run_that_its_owner_stops_is_closed_with_the_reason_whatever_its_app_still_does() -> None:
    leader = ALeader()
    leader.feed(ToClose("the server's owner stopped it"))
    assert leader.machine.chain.closed
    (closed,) = leader.reported(What.RUN_CLOSED)
    assert closed["outcome"] == Outcome.STOPPED


def test_a_stopped_run_is_not_closed_before_what_is_on_its_way_is_on_disk() -> None:
    leader = ALeader()
    leader.disk_is_done = False
    leader.feed(AppCalled(Push(2, (Outgoing(CONTENT, "train", "2", TTL, node_of(ALICE), round=4),))))
    leader.feed(ToClose("the server's owner stopped it"))
    assert not leader.machine.chain.closed
    leader.finish()
    assert leader.machine.chain.closed


def test_a_record_and_its_head_are_asked_for_at_once_and_announced_when_both_are_on_disk() -> None:
    leader = ALeader()
    leader.disk_is_done = False
    before = len(leader.effects)

    def kinds() -> list[type[Effect]]:
        return [type(each) for each in leader.effects[before:] if isinstance(each, Store | WriteHead | Publish)]

    leader.feed(AppCalled(Push(2, (Outgoing(CONTENT, "train", "2", TTL, node_of(ALICE), round=4),))))
    assert kinds() == [Store, WriteHead]
    leader.feed(Done(leader.undone.pop(0)))
    assert kinds() == [Store, WriteHead]
    leader.finish()
    assert kinds() == [Store, WriteHead, Publish]
