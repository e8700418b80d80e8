"""What a standby signs of a run: what its own app did, and nothing that another cause may have."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
from attacked import position, standing_by
from chains import ALICE, ANSWER, APP, BOB, CONTENT, ENVIRONMENT, MEMBERS, SERVER, TIME, Scribe

from protocol.app.calls import (
    AppReady,
    Compared,
    DispatchEntry,
    Diverged,
    Finished,
    NextEntry,
    QuietEntry,
    ScriptEnd,
    Start,
)
from protocol.app.calls import Replayed as ScriptOver
from protocol.blocks.cid import cbor_block
from protocol.federation.epochs import seed_block
from protocol.keeping.plan import KeepPlan, Last
from protocol.pacing.backoff import SLOWEST_RETRY
from protocol.records.bodies import Ack, Comparison, Outcome, RecomputedAck
from protocol.records.environment import Environment
from protocol.records.signed_records import parse_record
from protocol.replay.differences import Difference
from protocol.roles.effects import FetchContent, FetchRecord, Hand, KeepAcks, StartApp, What
from protocol.roles.events import AppCalled, AppLost, Done, Fetched, RoomChanged
from protocol.roles.following.followed_run import Verified
from protocol.roles.standby.replaying import ASKED_AGAIN
from protocol.roles.standby.standby_plan import SignedAcks
from protocol.status.role_status import Lack, Wait
from protocol.wire.announcements import Beat, Bye, Canvass, Head, PeerState, ReplyReady

OWN = cbor_block("what our app made").cid
ROUNDING = Difference("it differs", "arrays", "w", largest=1e-9, ulps=1.0)
OTHER_MACHINE = replace(ENVIRONMENT, machine="aarch64")


def scribe(**planned: str) -> Scribe:
    """A run with two exchanges, of a federation with a second server; ``planned`` says what stays of it."""
    made = Scribe(MEMBERS)
    made.source.add(seed_block(bytes(32), None))
    made.add(made.run(seed=seed_block(bytes(32), None).cid, **planned))
    for _ in range(2):
        made.add(made.dispatch())
        made.add(made.collect(made.taken(ALICE), made.taken(BOB)))
    return made


class Replayed:
    """A standby whose app does what the test says. Everything that it fetches is there."""

    def __init__(
        self, kept: SignedAcks | None = None, run: Scribe | None = None, *, hears: bool = True, **changes: Any
    ) -> None:
        self.scribe = run or scribe()
        self.peer = standing_by(self.scribe, {self.scribe.chain.run: kept or SignedAcks()}, **changes)
        self._call = 0
        if hears:
            self.hear()

    def hear(self) -> None:
        self.peer.say(SERVER, Head(position(self.scribe)))
        self.fetched()

    def fetched(self) -> None:
        while self.peer.fetching:
            fetch = next(iter(self.peer.fetching.values()))
            if isinstance(fetch, FetchRecord) and fetch.kind is not None:
                self.peer.give(fetch)
            elif isinstance(fetch, FetchRecord):
                del self.peer.fetching[fetch.id]
                self.peer.feed(Fetched(fetch.id, {fetch.cid: self.scribe.source[fetch.cid]}))
            else:
                assert isinstance(fetch, FetchContent)
                del self.peer.fetching[fetch.id]
                self.peer.feed(Done(fetch.id))

    def ready(self, environment: Environment = ENVIRONMENT) -> None:
        """Its app process has its imports."""
        self.peer.feed(AppReady(environment))

    def asks(self, times: int = 1) -> None:
        """The app asks for the next records."""
        for _ in range(times):
            self._call += 1
            self.says(NextEntry(self._call))
            self.fetched()

    def says(self, call: Any) -> None:
        self.peer.feed(AppCalled(call))
        self.fetched()

    @property
    def acks(self) -> list[Ack]:
        bodies = [parse_record(block).body for keep in self.peer.all(KeepAcks) for block in keep.blocks]
        return [body for body in bodies if isinstance(body, Ack)]

    @property
    def words(self) -> list[tuple[int, int, Comparison]]:
        """Of its acks, from where to where they are about what, and what they say."""
        told = [ack for ack in self.acks if isinstance(ack, RecomputedAck)]
        return [(ack.recomputed.since, ack.height, ack.recomputed.comparison) for ack in told]


def test_what_is_equal_is_signed_at_the_newest_dispatch_with_all_that_came_before() -> None:
    standby = Replayed()
    standby.ready()
    standby.asks()
    standby.says(Compared(1, 2))
    assert not standby.words  # a newer dispatch is here: its ack covers this one
    standby.asks(2)
    standby.says(Compared(3, 2))
    assert standby.words == [(1, 3, Comparison.EQUAL)]


def test_a_run_is_confirmed_once_its_app_came_to_the_recorded_end() -> None:
    standby = Replayed(once=True)
    standby.scribe.add(standby.scribe.close())
    standby.hear()
    standby.ready()
    standby.asks(5)
    standby.says(Compared(1, 2))
    standby.says(Compared(3, 2))
    standby.says(Finished(99, ANSWER))
    assert standby.words[-1] == (1, 5, Comparison.EQUAL)
    assert standby.peer.machine.machine.state.name == "STOPPED"


def test_a_standby_for_one_run_does_not_stop_because_one_was_closed_long_ago() -> None:
    run = scribe()
    run.add(run.close())
    verified = Verified({run.chain.run: position(run)}, frozenset())
    standby = Replayed(run=run, once=True, verified=verified, hears=False)
    standby.peer.say(SERVER, Canvass(position(run, height=4), run.chain.manifest.cid, 2))  # it lacks the close
    standby.fetched()
    standby.ready()
    standby.asks(5)
    standby.says(Compared(1, 2))
    standby.says(Compared(3, 2))
    standby.says(Finished(99, ANSWER))
    assert standby.words
    assert standby.peer.machine.machine.state.name == "LISTENING"


def test_what_an_apps_threads_send_in_another_order_is_signed_once_all_of_it_is_compared() -> None:
    standby = Replayed()
    standby.ready()
    standby.asks(3)  # it has read ahead
    standby.says(Compared(3, 2))
    assert not standby.words
    standby.says(Compared(1, 2))
    standby.scribe.add(standby.scribe.dispatch())
    standby.hear()
    standby.asks(2)
    standby.says(Compared(5, 2))
    assert standby.words[-1] == (1, 5, Comparison.EQUAL)


def test_a_word_that_is_signed_again_is_the_same_record() -> None:
    first, later = Replayed(), Replayed()
    later.peer.wait(3600.0)
    for standby in (first, later):
        standby.ready()
        standby.asks(3)
        standby.says(Compared(1, 2))
        standby.says(Compared(3, 2))
    assert first.acks == later.acks != []


def test_a_word_has_the_time_of_the_record_that_it_confirms() -> None:
    run = Scribe(MEMBERS)
    run.source.add(seed_block(bytes(32), None))
    run.add(run.run(seed=seed_block(bytes(32), None).cid, time=TIME + 1))
    for number in (10, 20):
        run.add(run.dispatch(time=TIME + number))
        run.add(run.collect(run.taken(ALICE), run.taken(BOB), time=TIME + number + 5))
    standby = Replayed(run=run)
    standby.ready()
    standby.asks(3)
    standby.says(Compared(1, 2))
    standby.says(Compared(3, 2))
    assert [(ack.height, ack.time) for ack in standby.acks] == [(3, TIME + 20)]


@pytest.mark.parametrize("why", ["updates were dropped", "it is closed"])
def test_what_is_not_kept_by_policy_is_said_and_accuses_nobody(why: str) -> None:
    drops = why == "updates were dropped"
    run = scribe(keep=str(KeepPlan(updates=Last(1), drop_updates=drops)))
    if not drops:
        run.add(run.close())
    standby = Replayed(run=run)
    standby.ready()
    standby.asks()
    standby.peer.feed(AppCalled(NextEntry(2)))
    standby.peer.give_all()
    standby.peer.fail()
    (told,) = standby.peer.reported(What.NOT_TOLD)
    assert "not kept by policy: models=all updates=last:1" in told["why"]
    assert not standby.words


def test_what_is_missing_of_an_open_run_that_keeps_all_is_asked_for_again() -> None:
    standby = Replayed()
    standby.ready()
    standby.asks()
    standby.peer.feed(AppCalled(NextEntry(2)))
    standby.peer.give_all()
    asked = len(standby.peer.all(FetchContent))
    standby.peer.fail()
    standby.peer.wait(60.0)
    assert not standby.peer.reported(What.NOT_TOLD)
    assert len(standby.peer.all(FetchContent)) > asked


def test_a_standby_leaves_a_closed_run_of_which_something_is_gone_with_its_leader() -> None:
    standby = Replayed(once=True)
    standby.scribe.add(standby.scribe.close())
    standby.hear()
    standby.ready()
    standby.asks()
    standby.peer.feed(AppCalled(NextEntry(2)))  # the collect, whose replies nobody has any more
    standby.peer.give_all()
    standby.peer.fail()
    standby.peer.wait(SLOWEST_RETRY)
    assert not standby.peer.reported(What.NOT_TOLD)  # its leader is here, and may have them
    standby.peer.say(SERVER, Bye())
    for _ in range(ASKED_AGAIN):
        standby.peer.fail()
        standby.peer.wait(SLOWEST_RETRY + 1.0)
    assert not standby.peer.reported(What.NOT_TOLD)
    standby.peer.fail()
    (told,) = standby.peer.reported(What.NOT_TOLD)
    assert "the run's leader has left" in told["why"]
    standby.fetched()
    assert [(type(ack), ack.height) for ack in standby.acks] == [(Ack, 5)], "it has verified the run all the same"
    assert standby.peer.machine.machine.state.name == "STOPPED"


def test_what_the_leader_sent_from_another_environment_is_judged_by_that() -> None:
    standby = Replayed()
    standby.ready()
    standby.asks()
    standby.says(Compared(1, 2))
    standby.scribe.add(standby.scribe.environment(OTHER_MACHINE))
    standby.scribe.add(standby.scribe.dispatch())
    standby.hear()
    standby.ready()  # the app has to know from its start that something may differ
    starts = [hand.value for hand in standby.peer.all(Hand) if isinstance(hand.value, Start)]
    assert [start.changes_environment for start in starts] == [False, True]
    standby.asks(6)
    for height in (1, 3):
        standby.says(Compared(height, 2))
    standby.says(Compared(6, 2, ROUNDING, b"ours"))
    assert not standby.words
    assert [fields["height"] for fields in standby.peer.reported(What.NOT_TOLD)] == [6]


def differs(standby: Replayed, ours: bytes = b"ours") -> None:
    """Its app sends something else in the second dispatch."""
    standby.asks()
    standby.says(Compared(1, 2))
    standby.asks(2)
    standby.says(Diverged(3, "message 0 differs", 0, ours=ours, content=OWN))


def test_what_differs_twice_is_contradicted_with_what_the_app_made() -> None:
    standby = Replayed()
    standby.ready()
    differs(standby)
    assert not standby.acks  # not before it has done so twice
    standby.ready()
    starts = [hand.value for hand in standby.peer.all(Hand) if isinstance(hand.value, Start)]
    assert [start.elsewhere for start in starts] == [False, True]
    differs(standby)
    (ack,) = standby.acks
    assert isinstance(ack, RecomputedAck)
    assert (ack.height, ack.recomputed.comparison) == (3, Comparison.DIVERGED)
    assert (ack.recomputed.message, ack.recomputed.content) == (0, OWN)
    assert OWN in [fetch.cid for fetch in standby.peer.all(FetchContent)]  # which pins it


@pytest.mark.parametrize("again", ["otherwise", "equal"])
def test_an_app_that_does_not_do_the_same_thing_twice_accuses_nobody(again: str) -> None:
    standby = Replayed()
    standby.ready()
    differs(standby)
    standby.ready()
    if again == "otherwise":
        differs(standby, b"something else")
    else:
        standby.asks(3)
        standby.says(Compared(1, 2))
        standby.says(Compared(3, 2))
    assert not standby.words
    assert standby.peer.reported(What.NOT_TOLD)


@pytest.mark.parametrize("changes", [{"raised": "ValueError"}, {"raised_there": True}])
def test_an_app_that_raises_in_one_place_alone_accuses_nobody(changes: dict[str, Any]) -> None:
    standby = Replayed()
    standby.ready()
    standby.asks()
    standby.says(Diverged(1, "it raised", ours=b"ours", **changes))
    assert len(standby.peer.all(StartApp)) == 1
    assert standby.peer.reported(What.NOT_TOLD)


@pytest.mark.parametrize("remembers", [True, False])
def test_a_word_against_a_leader_that_never_comes_back_waits_for_no_answer_of_it_unless_the_home_was_moved(
    remembers: bool,
) -> None:
    standby = Replayed(session=bytes(16), remembers=lambda _run: remembers)
    for _ in range(2):
        standby.ready()
        differs(standby)
    standby.peer.wait(5.0)
    assert not standby.acks  # it may have signed another before, and its leader is still here to say so
    standby.peer.wait(60.0)
    assert [word[2] for word in standby.words] == ([Comparison.DIVERGED] if remembers else [])


def test_what_another_processor_may_have_caused_is_in_no_word_and_the_next_exchange_is_judged_by_itself() -> None:
    standby = Replayed()
    standby.ready(OTHER_MACHINE)
    standby.asks()
    standby.says(Compared(1, 2, ROUNDING, b"ours"))
    standby.asks(2)
    standby.says(Compared(3, 2))
    assert standby.words == [(2, 3, Comparison.EQUAL)]


def test_a_standby_that_has_contradicted_a_run_says_nothing_else_of_it_after_a_restart() -> None:
    run = scribe()
    standby = Replayed(SignedAcks((1, 3), contradicted=run.chain.head), run)
    standby.scribe.add(standby.scribe.dispatch())
    standby.hear()
    standby.ready()
    standby.asks(5)
    for height in (1, 3, 5):
        standby.says(Compared(height, 2))
    assert not standby.acks


def test_nothing_is_signed_twice_at_one_height() -> None:
    standby = Replayed(SignedAcks((1, 3)))
    standby.ready()
    standby.asks(3)
    standby.says(Compared(1, 2))
    standby.says(Compared(3, 2))
    assert not standby.acks


def test_an_app_process_that_is_lost_again_and_again_accuses_nobody() -> None:
    standby = Replayed()
    for _ in range(3):
        standby.ready()
        standby.peer.feed(AppLost("killed"))
    assert len(standby.peer.all(StartApp)) == 3
    assert standby.peer.reported(What.NOT_TOLD)


@pytest.mark.parametrize("said", [Compared(9, 2), Diverged(9, "", ours=b""), Finished(1, None), Compared(0, 0)])
def test_an_app_process_that_speaks_of_what_it_was_not_given_is_not_believed(said: Any) -> None:
    standby = Replayed()
    standby.ready()
    standby.asks()
    standby.says(said)
    assert not standby.words
    assert standby.peer.reported(What.NOT_TOLD)


def test_an_app_that_waits_gets_the_next_record_once_it_is_there() -> None:
    standby = Replayed()
    standby.ready()
    standby.asks(5)
    before = len(standby.peer.all(Hand))
    standby.scribe.add(standby.scribe.dispatch())
    standby.hear()
    assert len(standby.peer.all(Hand)) == before + 1


def test_an_app_that_nobody_approved_is_not_started() -> None:
    standby = Replayed(app=None, approved=frozenset())
    assert not standby.peer.all(StartApp)
    assert standby.peer.reported(What.APP_UNAPPROVED)


def test_another_replay_format_is_declined() -> None:
    standby = Replayed(replay_format=6)
    assert not standby.peer.all(StartApp)
    assert "replay format 5" in str(standby.peer.reported(What.RUN_REFUSED))


def test_a_script_of_a_run_that_was_stopped_ends_and_is_confirmed() -> None:

    standby = Replayed()
    standby.scribe.add(standby.scribe.close(outcome=Outcome.STOPPED, model=None))
    standby.hear()
    standby.ready()
    standby.asks(6)
    assert isinstance(standby.peer.all(Hand)[-1].value, ScriptEnd)
    standby.says(Compared(1, 2))
    standby.says(Compared(3, 2))
    standby.says(ScriptOver())
    assert standby.words[-1] == (1, 5, Comparison.EQUAL)


def test_a_standby_is_no_leader_to_others_and_does_not_follow_one_that_stands_by() -> None:
    standby = standing_by(scribe())
    standby.say(SERVER, Beat(standby.manifest, PeerState.WORKING, position(standby.scribe)))
    assert not standby.fetching


def test_a_standby_without_room_replays_no_further_until_there_is_room() -> None:
    standby = Replayed()
    standby.ready()
    before = standby.peer.all(FetchContent)
    standby.peer.feed(RoomChanged("the budget is used up"))
    standby.asks()
    status = standby.peer.machine.machine.status(standby.peer.now)
    assert (standby.peer.all(FetchContent), status.waits) == (before, (Wait(Lack.ROOM),))
    standby.peer.feed(RoomChanged(""))
    standby.fetched()
    standby.asks()
    assert len(standby.peer.all(FetchContent)) > len(before)


def test_a_standby_says_what_stays_of_the_run_by_its_plan() -> None:
    made = Scribe(MEMBERS)
    made.source.add(seed_block(bytes(32), None))
    made.add(made.run(seed=seed_block(bytes(32), None).cid, keep="models=last:2 updates=all"))
    status = Replayed(run=made).peer.machine.machine.status(0.0)
    assert status.run is not None
    assert status.run.keep == "models=last:2 updates=all"


def test_a_dispatch_is_compared_before_its_content_is_here_which_is_fetched_to_lead_the_run() -> None:
    run = Scribe(MEMBERS)
    run.source.add(seed_block(bytes(32), None))
    run.add(run.run(seed=seed_block(bytes(32), None).cid))
    run.add(run.dispatch())
    standby = Replayed(run=run)
    standby.ready()
    standby.peer.feed(AppCalled(NextEntry(1)))
    standby.peer.give_all()
    assert [entry.value.head.height for entry in standby.peer.all(Hand) if hasattr(entry.value, "head")] == [1]
    assert [fetch.cid for fetch in standby.peer.all(FetchContent)] == [APP, CONTENT]
    standby.peer.fail()
    standby.peer.wait(60.0)
    assert [fetch.cid for fetch in standby.peer.all(FetchContent)] == [APP, CONTENT, CONTENT]


def test_on_another_processor_a_dispatch_waits_for_its_content_although_its_messages_are_answered() -> None:
    standby = Replayed()
    standby.ready(OTHER_MACHINE)
    standby.peer.feed(AppCalled(NextEntry(1)))
    standby.peer.give_all()
    assert [fetch.cid for fetch in standby.peer.all(FetchContent)] == [APP, CONTENT]
    standby.peer.fail()
    assert heights_handed(standby) == []
    standby.peer.wait(60.0)
    standby.fetched()
    assert heights_handed(standby) == [1]


def test_on_another_processor_what_a_new_message_says_is_fetched_before_the_apps_turn_comes_and_needed_to_lead() -> (
    None
):
    standby = Replayed()
    standby.ready(OTHER_MACHINE)
    standby.scribe.add(standby.scribe.dispatch())
    standby.peer.say(SERVER, Head(position(standby.scribe)))
    standby.peer.give_all()
    assert [fetch.cid for fetch in standby.peer.all(FetchContent)] == [APP, CONTENT]
    assert "a message that is open is not here yet" in standby.peer.machine.why_not_lead()
    standby.fetched()
    assert standby.peer.machine.why_not_lead() == ""


def test_before_it_knows_how_its_app_computes_a_standby_does_not_lead_a_run_with_an_open_message() -> None:
    standby = Replayed()
    standby.scribe.add(standby.scribe.dispatch())
    standby.peer.say(SERVER, Head(position(standby.scribe)))
    standby.peer.give_all()
    assert "a message is open" in standby.peer.machine.why_not_lead()
    standby.ready()
    assert standby.peer.machine.why_not_lead() == ""


def test_nor_once_it_knows_that_this_is_another_processor_until_what_was_sent_before_is_here() -> None:
    standby = Replayed()
    standby.scribe.add(standby.scribe.dispatch())
    standby.peer.say(SERVER, Head(position(standby.scribe)))
    standby.peer.give_all()
    standby.ready(OTHER_MACHINE)
    assert "a message that is open is not here yet" in standby.peer.machine.why_not_lead()
    standby.fetched()
    assert standby.peer.machine.why_not_lead() == ""


def heights_handed(standby: Replayed) -> list[int]:
    """Of the records that its app was given."""
    return [hand.value.head.height for hand in standby.peer.all(Hand) if isinstance(hand.value, DispatchEntry)]


def test_a_standby_could_lead_at_once_when_its_app_has_replayed_all_but_the_newest_exchange() -> None:
    standby = Replayed()
    could = [standby.peer.machine.is_up()]
    standby.ready()
    could.append(standby.peer.machine.is_up())
    standby.asks(2)
    assert [*could, standby.peer.machine.is_up()] == [False, False, True]


def test_the_runs_app_is_fetched_though_ours_is_the_same_since_the_leader_alone_may_have_it_as_the_run_does() -> None:
    standby = Replayed()
    standby.ready()
    assert [fetch.cid for fetch in standby.peer.all(FetchContent)] == [APP]


def test_the_content_of_a_reply_is_fetched_when_its_client_announces_it_and_nobody_else() -> None:
    run = Scribe(MEMBERS)
    run.source.add(seed_block(bytes(32), None))
    run.add(run.run(seed=seed_block(bytes(32), None).cid))
    run.add(run.dispatch())
    standby = Replayed(run=run)
    standby.ready()
    reply = run.reply_body(ALICE)
    block = run.sign(reply, ALICE)
    ready = ReplyReady(run.chain.run, reply.message, block.cid)
    for speaker in (BOB, ALICE, ALICE):
        standby.peer.say(speaker, ready, blocks=[block])
    assert [fetch.cid for fetch in standby.peer.all(FetchContent)].count(ANSWER) == 1


# -- across a takeover -------------------------------------------------------------------------------------------------


def forked(standby: Replayed, *, before: Scribe) -> None:
    """The server is elected anew, goes on after the head of ``before``, and sends something else."""
    before.lead(leader=SERVER, voters=(SERVER, ALICE, BOB))
    before.add(before.dispatch(before.group(ALICE, content=OWN)))
    standby.scribe = before
    standby.hear()


def branch(run: Scribe) -> Scribe:
    other = copy.copy(run)
    other.chain = run.chain.copy()
    return other


def at_a_dispatch() -> tuple[Scribe, Scribe]:
    """A run that ends with a dispatch, and the same without that."""
    run = scribe()
    before = branch(run)
    run.add(run.dispatch())
    return run, before


def test_an_app_that_was_given_a_lost_record_begins_anew_and_confirms_what_is_there_instead() -> None:
    run, before = at_a_dispatch()
    standby = Replayed(run=run)
    standby.ready()
    standby.asks(5)
    for height in (1, 3, 5):
        standby.says(Compared(height, 2))
    forked(standby, before=before)
    assert len(standby.peer.all(StartApp)) == 2
    standby.ready()
    standby.asks(6)
    for height in (1, 3, 6):
        standby.says(Compared(height, 2))
    assert standby.words == [(1, 5, Comparison.EQUAL), (1, 6, Comparison.EQUAL)]
    assert [ack.term for ack in standby.acks] == [1, 2]


def test_an_app_that_was_given_nothing_that_is_lost_goes_on() -> None:
    run, before = at_a_dispatch()
    standby = Replayed(run=run)
    standby.ready()
    standby.asks(4)
    for height in (1, 3):
        standby.says(Compared(height, 2))
    forked(standby, before=before)
    standby.asks(2)
    standby.says(Compared(6, 1))
    assert len(standby.peer.all(StartApp)) == 1
    assert standby.words[-1] == (1, 6, Comparison.EQUAL)


def test_a_record_that_is_read_as_it_gets_lost_is_not_given_to_the_app() -> None:
    run, before = at_a_dispatch()
    standby = Replayed(run=run)
    standby.ready()
    standby.asks(4)
    standby.peer.feed(AppCalled(NextEntry(99)))  # the record at height 5 is on its way
    late = next(iter(standby.peer.fetching.values()))
    del standby.peer.fetching[late.id]
    before.lead(leader=SERVER, voters=(SERVER, ALICE, BOB))
    standby.peer.say(SERVER, Head(position(before)))
    standby.peer.give(next(iter(standby.peer.fetching.values())))
    assert standby.peer.reported(What.RECORDS_LOST)
    given = len(standby.peer.all(Hand))
    assert isinstance(late, FetchRecord)
    standby.peer.feed(Fetched(late.id, {late.cid: run.source[late.cid]}))
    standby.fetched()
    assert [type(hand.value) for hand in standby.peer.all(Hand)[given:]] == [QuietEntry]


def test_a_server_that_contradicted_a_lost_record_confirms_what_is_there_instead() -> None:
    run, before = at_a_dispatch()
    standby = Replayed(SignedAcks((1, 5), contradicted=run.chain.head), run)
    forked(standby, before=before)
    standby.ready()
    standby.asks(6)
    for height in (1, 3, 6):
        standby.says(Compared(height, 2))
    assert standby.words == [(1, 6, Comparison.EQUAL)]
