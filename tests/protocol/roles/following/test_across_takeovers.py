"""A client goes across a takeover, also one that forks before its head; but only who was elected takes it along."""

from __future__ import annotations

import copy

import pytest
from attacked import Attacked, following, nowhere, position
from chains import (
    ADMIN,
    ALICE,
    ANSWER,
    APP,
    BOB,
    CAROL,
    CONTENT,
    ENVIRONMENT,
    SECOND,
    SERVER,
    TIME,
    VOTERS,
    Scribe,
    begun,
    id_of,
    node_of,
)
from disputed_runs import against, three_servers

from crypto.keys import SigningKey
from protocol.app.calls import Answered, AppReady, Task
from protocol.blocks.cid import CID, Block, cbor_block, raw_block
from protocol.federation.unsigned_versions import without_member
from protocol.records.bodies import Ack, Chained, Reply, TakenReply
from protocol.records.signed_records import parse_record
from protocol.roles.catch_up import REMEMBERED, CatchUp
from protocol.roles.catching_up import held_records
from protocol.roles.catching_up.held_records import CLAIMS_KEPT
from protocol.roles.client.client import Client
from protocol.roles.client.client_plan import ClientPlan
from protocol.roles.client.kept_run import KeptRun
from protocol.roles.copied_homes import LISTENING
from protocol.roles.effects import (
    FetchContent,
    FetchRecord,
    Hand,
    KeepAcks,
    KeepProof,
    KeepReply,
    Publish,
    StartApp,
    Stop,
    Store,
    What,
    WriteHead,
)
from protocol.roles.events import Done
from protocol.roles.newest_manifest import Author, TrustedManifest
from protocol.wire.announcements import Bye, Head, ReplyReady, parse_announcement

OTHER = raw_block(b"another content").cid
STATE = cbor_block("the state of Alice's app").cid


def branch(scribe: Scribe) -> Scribe:
    """One that goes on from the same head, with the same blocks."""
    other = copy.copy(scribe)
    other.chain = scribe.chain.copy()
    return other


def hear(client: Attacked, scribe: Scribe) -> None:
    """The leader announces its head, and the records that the client fetches for that are there."""
    client.say(scribe.leader, Head(position(scribe)))
    while wanted := [
        fetch for fetch in client.fetching.values() if isinstance(fetch, FetchRecord) and fetch.kind is Chained
    ]:
        client.give(wanted[0])


def follows(client: Attacked, scribe: Scribe) -> bool:
    """Whether it has the head of a chain on disk as that of the run."""
    return client.all(WriteHead)[-1].head == scribe.chain.head


def give_own(client: Attacked) -> None:
    """It looks at what it has to announce, and its own records are on its disk."""
    client.wait(0.0)
    own = {block.cid: block.data for block in replies(client)}
    for fetch in [
        fetch for fetch in client.fetching.values() if isinstance(fetch, FetchRecord) and fetch.kind is Reply
    ]:
        client.give(fetch, {fetch.cid: own[fetch.cid]})


def stored(scribe: Scribe, block: Block) -> CID:
    """A client's reply, as the leader has it."""
    scribe.source.add(block)
    return block.cid


def forked(lost: int = 1) -> tuple[Attacked, Scribe]:
    """A client with ``lost`` records of the server's, and a second server that was elected to go on before them."""
    scribe = begun()
    elected = branch(scribe)
    for _ in range(lost):
        waits = any(message.node == node_of(ALICE) for message in scribe.chain.open.values())
        scribe.add(scribe.collect(scribe.taken(ALICE)) if waits else scribe.dispatch(scribe.group(ALICE)))
    client = following(scribe)
    elected.lead()
    return client, elected


def test_a_client_goes_back_to_before_a_record_that_most_servers_contradict() -> None:
    scribe = three_servers()
    elected = branch(scribe)
    scribe.add(scribe.dispatch())
    client = following(scribe)
    assert follows(client, scribe)
    takeover = against(elected)
    elected.leader = SECOND
    elected.add(takeover)
    elected.add(elected.dispatch())
    hear(client, elected)
    assert follows(client, elected)


def test_who_leads_after_a_takeover_is_followed_and_who_led_before_is_not() -> None:
    scribe = begun()
    client = following(scribe)
    elected = branch(scribe)
    elected.lead()
    elected.add(elected.collect(elected.taken(ALICE)))
    hear(client, elected)
    assert follows(client, elected)
    scribe.add(scribe.collect(scribe.taken(BOB)))
    hear(client, scribe)
    assert follows(client, elected)


def test_what_the_new_leader_says_while_its_takeover_is_fetched_is_not_lost() -> None:
    scribe = begun()
    client = following(scribe)
    scribe.lead()
    client.say(scribe.leader, Head(position(scribe)))
    scribe.add(scribe.close())
    client.say(scribe.leader, Head(position(scribe)))
    client.say(scribe.leader, Bye())
    client.give_all()
    assert follows(client, scribe), "nobody says it again"


@pytest.mark.parametrize("lost", [1, 3, REMEMBERED + 3])
def test_a_takeover_that_forks_before_our_head_is_followed(lost: int) -> None:
    client, elected = forked(lost)
    hear(client, elected)
    assert follows(client, elected)
    assert client.reported(What.RECORDS_LOST)
    assert not client.all(KeepProof)


def without_bob_and_carol() -> tuple[Attacked, Scribe, CID]:
    """A client that has verified a roster which removes both, the chain up to before it, and that manifest."""
    scribe = begun()
    before = branch(scribe)
    manifest = scribe.manifest
    for removed in (BOB, CAROL):
        unsigned = without_member(manifest, id_of(removed), by=id_of(ADMIN), time=TIME)
        manifest = scribe.read_manifest(scribe.next_manifest(unsigned).cid)
    scribe.add(scribe.roster(manifest.cid))
    return following(scribe), before, manifest.cid


@pytest.mark.parametrize(("voter", "is_followed"), [(CAROL, False), (ALICE, True)])
def test_members_that_a_verified_roster_removes_bring_nobody_to_the_lead_from_before_it(
    voter: SigningKey, is_followed: bool
) -> None:
    client, elected, _ = without_bob_and_carol()
    elected.lead(voters=(SECOND, BOB, voter))
    hear(client, elected)
    assert follows(client, elected) is is_followed


def test_who_did_not_follow_removed_members_follows_whom_the_others_elect_after_them() -> None:
    client, elected, newest = without_bob_and_carol()
    elected.lead(voters=(SECOND, BOB, CAROL))
    elected.add(elected.roster(newest))
    hear(client, elected)
    assert not follows(client, elected), "they were still there"
    elected.lead(voters=(SECOND, ALICE))
    client.wait(60.0)
    hear(client, elected)
    assert follows(client, elected)


def test_a_takeover_before_a_close_that_nobody_confirmed_is_followed() -> None:
    scribe = begun()
    elected = branch(scribe)
    scribe.add(scribe.close())
    client = following(scribe)
    elected.lead()
    hear(client, elected)
    assert follows(client, elected)
    assert len(client.reported(What.RUN_FOLLOWED)) == 2


def closed_before_it_listened() -> tuple[Attacked, Scribe]:
    """A client that has just started, is to leave after the run and has its close, and a server that was elected to go
    on before that."""
    scribe = begun()
    elected = branch(scribe)
    scribe.add(scribe.close())
    author, trusted = Author(id_of(ALICE), (ALICE,), 1, session=b"a" * 16), TrustedManifest(scribe.first, scribe.source)
    client = Attacked(Client(author, trusted, ClientPlan(APP, bytes(32), once=True), {}), scribe)
    client.feed(AppReady(ENVIRONMENT))
    client.disk_works = False
    hear(client, scribe)
    elected.lead()
    return client, elected


def test_a_close_that_a_takeover_leads_around_is_not_acked_once_it_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_records, "CLAIM_BYTES", 1)  # so what is before the takeover is to be fetched again
    client, elected = closed_before_it_listened()
    client.say(SECOND, Head(position(elected)))
    while not client.reported(What.RECORDS_LOST):
        client.give(next(each for each in client.fetching.values() if isinstance(each, FetchRecord)))
    client.wait(LISTENING)
    hear(client, elected)
    assert not client.all(KeepAcks)


def test_a_client_that_was_to_leave_after_a_close_stays_if_a_takeover_leads_around_that() -> None:
    client, elected = closed_before_it_listened()
    client.wait(LISTENING)
    (close,) = client.all(WriteHead)[-1:]
    hear(client, elected)
    for kept in (*client.all(KeepAcks), close):
        client.feed(Done(kept.id))
    assert not client.all(Stop)


def test_a_server_that_nobody_elected_is_not_followed_and_takes_ever_less_of_our_time() -> None:
    scribe = begun()
    client = following(scribe)
    honest = branch(scribe)
    votes = [scribe.sign(scribe.vote(each), each) for each in VOTERS[:1]]
    liar = scribe.sign(scribe.takeover(*votes), SECOND)
    for _ in range(300):
        client.now += 0.01
        client.say(SECOND, Head(position(scribe, head=liar.cid, height=scribe.chain.height + 1, term=2)))
        client.give_all()
    assert 0 < len(client.reported(What.CLAIM_REFUSED)) < 8
    honest.add(honest.collect(honest.taken(ALICE)))
    hear(client, honest)
    assert follows(client, honest)


def test_a_head_that_nobody_has_keeps_the_leader_from_nothing() -> None:
    scribe = begun()
    client = following(scribe)
    client.say(SECOND, Head(position(scribe, head=nowhere("head"), height=9, term=9)))
    scribe.add(scribe.collect(scribe.taken(ALICE)))
    client.say(SERVER, Head(position(scribe)))
    record = next(
        fetch for fetch in client.fetching.values() if isinstance(fetch, FetchRecord) and fetch.cid == scribe.chain.head
    )
    client.give(record)
    assert follows(client, scribe)


def test_a_takeover_is_followed_though_one_record_of_its_way_is_to_be_had_at_a_time() -> None:
    client, elected = forked()
    for _ in range(5):
        elected.add(elected.dispatch(elected.group(ALICE)))
        elected.add(elected.collect(elected.taken(ALICE)))
    for _ in range(2 * elected.chain.height):
        client.say(SECOND, Head(position(elected)))
        for try_it in (client.give, client.fail):
            fetches = [each for each in client.fetching.values() if isinstance(each, FetchRecord)]
            if fetches:
                try_it(fetches[0])
        client.wait(60.0)
    client.give_all()
    assert follows(client, elected)


def test_what_was_fetched_for_many_members_in_vain_is_not_kept_for_each() -> None:
    scribe = begun()
    elected = branch(scribe)
    elected.lead()
    elected.add(elected.dispatch(elected.group(ALICE)))
    head = position(elected).head
    run = CatchUp(scribe.chain.run, id_of(SERVER), scribe.manifest, scribe.source, scribe.chain.copy())
    run.forks = lambda _fork: None

    def asks_for_the_head(member: bytes) -> bool:
        run.claim(member, position(elected), ())
        list(run.steps())
        asks = head in run.wanted()
        if asks:
            run.fetched(head, {head: scribe.source[head]})
            list(run.steps())
        for cid in run.wanted():
            run.not_fetched(cid, "nobody has it")
        return asks

    members = [bytes([number]) for number in range(CLAIMS_KEPT + 1)]
    assert all(asks_for_the_head(member) for member in members)
    assert not asks_for_the_head(members[-1])
    assert asks_for_the_head(members[0])


def test_a_manifest_that_a_verified_roster_brings_into_force_is_known_from_then_on() -> None:
    client, _, newest = without_bob_and_carol()
    assert client.manifest.cid == newest


def test_an_old_leader_that_goes_on_in_its_term_has_not_equivocated() -> None:
    client, elected = forked()
    hear(client, elected)
    client.say(SERVER, Head(position(client.scribe)), blocks=[])
    assert not client.fetching
    assert not client.all(KeepProof)


# -- what was answered -------------------------------------------------------------------------------------------------


def answer(client: Attacked, content: CID = ANSWER) -> None:
    """Alice's app answers the message that it has."""
    for fetch in [fetch for fetch in client.fetching.values() if isinstance(fetch, FetchContent)]:
        del client.fetching[fetch.id]
        client.feed(Done(fetch.id))
    client.feed(Answered(tasks(client)[-1].message, client.now, content, state=STATE))


def tasks(client: Attacked) -> list[Task]:
    """What the app was given to work on."""
    for fetch in [fetch for fetch in client.fetching.values() if isinstance(fetch, FetchContent)]:
        del client.fetching[fetch.id]
        client.feed(Done(fetch.id))
    return [hand.value for hand in client.all(Hand) if isinstance(hand.value, Task)]


def replies(client: Attacked) -> list[Block]:
    """The replies that were signed, in order."""
    return [block for store in client.all(Store) if store.own for block in store.blocks]


def announced(client: Attacked) -> list[ReplyReady]:
    said = [parse_announcement(each.data).announcement.body for each in client.all(Publish)]
    return [body for body in said if isinstance(body, ReplyReady)]


def lost_dispatch(*, same: bool) -> tuple[Attacked, Scribe]:
    """A client that was sent a message in a record which is lost, and the leader that was elected, which sends the
    ``same`` message or another."""
    scribe = Scribe()
    scribe.add(scribe.run())
    elected = branch(scribe)
    scribe.add(scribe.dispatch())
    client = following(scribe)
    elected.lead()
    elected.add(elected.dispatch(elected.group(ALICE, content=CONTENT if same else OTHER)))
    return client, elected


def test_an_answer_to_a_lost_dispatch_is_signed_anew_for_its_successor_and_not_computed_again() -> None:
    client, elected = lost_dispatch(same=True)
    answer(client)
    hear(client, elected)
    give_own(client)
    client.wait(1.0)
    _, second = replies(client)
    assert len(tasks(client)) == 1
    assert announced(client)[-1].record == second.cid
    assert parse_record(second).body.time == elected.message(ALICE).created
    assert elected.add(elected.collect(TakenReply(reply=stored(elected, second)))).answered


def test_the_reply_that_is_signed_anew_is_kept_in_place_of_the_one_before_and_with_its_state() -> None:
    client, elected = lost_dispatch(same=True)
    answer(client)
    hear(client, elected)
    give_own(client)
    kept = client.all(KeepReply)
    assert [(keep.reply, keep.anew) for keep in kept] == [
        (block.cid, new) for block, new in zip(replies(client), (False, True), strict=True)
    ]


def test_no_reply_is_announced_before_its_new_signature_is_on_disk() -> None:
    client, elected = lost_dispatch(same=True)
    answer(client)
    before = len(announced(client))
    client.disk_works = False
    hear(client, elected)
    give_own(client)
    client.wait(1.0)
    assert len(announced(client)) == before


def test_a_message_that_the_app_works_on_goes_on_if_it_is_sent_again() -> None:
    client, elected = lost_dispatch(same=True)
    tasks(client)
    hear(client, elected)
    answer(client)
    (reply,) = replies(client)
    assert len(tasks(client)) == 1
    assert parse_record(reply).body.dispatch == elected.chain.head


def test_the_app_turns_to_what_is_sent_instead_and_knows_nothing_of_what_is_lost() -> None:
    client, elected = lost_dispatch(same=False)
    answer(client)
    hear(client, elected)
    assert [task.state for task in tasks(client)] == [None, None]


def test_the_app_leaves_what_is_lost_for_what_is_sent_instead() -> None:
    client, elected = lost_dispatch(same=False)
    tasks(client)
    starts = len(client.all(StartApp))
    hear(client, elected)
    assert client.reported(What.TASK_ABANDONED)
    assert len(client.all(StartApp)) == starts + 1
    client.feed(AppReady(ENVIRONMENT))
    assert tasks(client)[-1].content == OTHER


def test_a_reply_that_only_a_lost_collect_took_is_announced_again() -> None:
    scribe = begun()
    client = following(scribe)
    answer(client)
    elected = branch(scribe)
    scribe.add(scribe.collect(TakenReply(reply=stored(scribe, replies(client)[0]))))
    hear(client, scribe)
    before = len(announced(client))
    elected.lead()
    hear(client, elected)
    give_own(client)
    client.wait(1.0)
    assert len(announced(client)) > before
    assert len(replies(client)) == 1


def test_a_process_that_begins_after_the_takeover_signs_anew_what_the_one_before_had_answered() -> None:
    before, elected = lost_dispatch(same=True)
    answer(before)
    reply = before.all(KeepReply)[-1]
    kept = {reply.run: KeptRun({reply.message: reply.reply}, {reply.message: STATE})}
    trusted = TrustedManifest(elected.first, elected.source)
    client = Attacked(Client(Author(id_of(ALICE), (ALICE,), 9), trusted, ClientPlan(APP, bytes(32)), kept), elected)
    client.feed(AppReady(ENVIRONMENT))
    hear(client, elected)
    client.wait(0.0)
    (own,) = [fetch for fetch in client.fetching.values() if isinstance(fetch, FetchRecord)]
    (block,) = replies(before)
    client.give(own, {block.cid: block.data})
    assert not tasks(client)
    assert [keep.anew for keep in client.all(KeepReply)] == [True]
    assert announced(client)[-1].record == replies(client)[-1].cid
    before.now += 9.0
    hear(before, elected)
    give_own(before)
    assert replies(before)[-1].cid == announced(client)[-1].record, "whoever signs it anew, it is the same record"


# -- what was acked ----------------------------------------------------------------------------------------------------


def test_a_lower_head_in_a_higher_term_is_acked_though_a_lost_one_was() -> None:
    client, elected = lost_dispatch(same=False)
    answer(client)
    hear(client, elected)
    answer(client, STATE)
    acks = [parse_record(block) for keep in client.all(KeepAcks) for block in keep.blocks]
    places = [(record.body.term, record.body.height) for record in acks if isinstance(record.body, Ack)]
    assert places == [(1, 1), (2, 2)]
