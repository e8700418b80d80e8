"""A server that stands by leads the run that it follows, and one that was taken over from stands by."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from attacked import Attacked, nowhere, position
from chains import (
    ALICE,
    ANSWER,
    APP,
    BOB,
    CONTENT,
    ENVIRONMENT,
    SECOND,
    SERVER,
    TTL,
    VOTERS,
    Scribe,
    id_of,
    node_of,
)

from crypto.keys import SigningKey
from protocol.app.calls import (
    AppReady,
    CollectEntry,
    DispatchEntry,
    Finished,
    NextEntry,
    Outgoing,
    Push,
    Pushed,
    QuietEntry,
    ScriptEnd,
)
from protocol.blocks.bundle import NamedBundle
from protocol.blocks.cid import CID, Block
from protocol.chain.chain import Chain
from protocol.federation.epochs import seed_block
from protocol.records.bodies import Chained, Dispatch, Reply, Takeover, TakeoverCause
from protocol.records.signed_records import parse_record, sign_record
from protocol.roles.effects import Examine, FetchRecord, Hand, Publish, StartApp, Stop, Store, What, WriteHead
from protocol.roles.events import AppCalled, AppLost, Done, Failed, Fetched, ToClose
from protocol.roles.leader.forgotten_records import MOST_FALSE
from protocol.roles.leader.leader import BEATS, Leader
from protocol.roles.leader.leader_states import LeaderState
from protocol.roles.leader.run_plan import LeaderSettings, ResumedRun, RunPlan, WonTerm
from protocol.roles.newest_manifest import Author, TrustedManifest
from protocol.roles.server.server import LISTENS_FIRST, LeadPlan, Server, ServerPlan
from protocol.roles.standby.standby import Standby
from protocol.roles.standby.standby_plan import StandbyPlan
from protocol.votes.silence import LEADER_BEAT
from protocol.wire.announcements import (
    Beat,
    Bye,
    Canvass,
    Canvassed,
    Head,
    PeerState,
    Position,
    Refusal,
    ReplyReady,
    beat_interval,
    parse_announcement,
)

SETTINGS = LeaderSettings(min_clients=1, client_timeout=600.0)

KNOWS_WHO_IS_HERE = BEATS * beat_interval(len(VOTERS))
"""Seconds from its takeover on after which a new leader has heard all that are here."""

CUT_OFF = 20.0
"""Seconds after which nobody counts as heard."""


class AServer(Attacked):
    """A server in a federation with another. Everything that it fetches is there."""

    def __init__(self, scribe: Scribe, key: SigningKey = SECOND, lead: LeadPlan | None = None, **changes: Any) -> None:
        trusted = TrustedManifest(scribe.first, scribe.source)
        standby = StandbyPlan(**{"app": APP, "replay_format": 5} | changes)
        server = Server(Author(id_of(key), (key,), 1), trusted, ServerPlan(SETTINGS, standby, lead), {})
        self.server = server
        self._call = 0
        super().__init__(server, scribe)

    def here(self) -> None:
        """What it fetches is here, and what it has stored."""
        for store in self.all(Store):
            self.scribe.source.add(*store.blocks)
        while fetched := [fetch for fetch in self.fetching.values() if not isinstance(fetch, Examine)]:
            fetch = fetched[0]
            if isinstance(fetch, FetchRecord) and fetch.kind is not None:
                self.give(fetch)
                continue
            del self.fetching[fetch.id]
            if isinstance(fetch, FetchRecord):
                self.feed(Fetched(fetch.id, {fetch.cid: self.scribe.source[fetch.cid]}))
            else:
                self.feed(Done(fetch.id))

    def hears(self, key: SigningKey = SERVER) -> None:
        """The leader announces its newest record."""
        self.say(key, Head(position(self.scribe, term=self.scribe.chain.term)))
        self.here()

    def asks(self) -> Any:
        """Its app asks for the next entry of its script; what it is handed."""
        self._call += 1
        self.feed(AppCalled(NextEntry(self._call)))
        self.here()
        return self.handed

    @property
    def handed(self) -> Any:
        """What its app was handed last."""
        return self.all(Hand)[-1].value

    def wins(self, head: CID | None = None, *, leader: SigningKey = SECOND, here: bool = True) -> None:
        """A majority votes for it, with its newest record or with ``head``."""
        assert isinstance(self.server.role, Standby)
        scribe = self.scribe
        votes = tuple(scribe.sign(scribe.vote(each, leader), each) for each in sorted({*VOTERS, leader}, key=id_of))
        term = scribe.chain.term + 1
        self.server.role.won = WonTerm(term, TakeoverCause.SILENCE, head or scribe.chain.head, votes)
        self.wait(0.0)
        if here:
            self.here()

    @property
    def written(self) -> list[Chained]:
        """The records that it wrote itself."""
        stored = (parse_record(store.blocks[0]).body for store in self.all(Store) if store.own)
        return [body for body in stored if isinstance(body, Chained)]


def scribe(exchanges: int = 1) -> Scribe:
    """A run with some exchanges, and then a dispatch."""
    made = Scribe()
    seed = seed_block(bytes(32), None)
    made.source.add(seed)
    made.add(made.run(seed=seed.cid))
    for _ in range(exchanges):
        made.add(made.dispatch())
        made.add(made.collect(made.taken(ALICE), made.taken(BOB)))
    made.add(made.dispatch())
    return made


def standing(**changes: Any) -> AServer:
    """A standby whose app has the newest record, and asks for the next."""
    server = AServer(scribe(), **changes)
    server.hears()
    server.feed(AppReady(ENVIRONMENT))
    for _ in range(4):
        server.asks()
    return server


def test_a_standby_that_has_won_leads_with_the_process_that_has_replayed_the_run() -> None:
    server = standing()
    server.wins()
    assert isinstance(server.server.role, Leader)
    assert [body.TYPE for body in server.written] == ["takeover"]
    assert isinstance(server.handed, QuietEntry), "the app sees nothing of the takeover"
    end = server.asks()
    assert isinstance(end, ScriptEnd)
    assert end.live
    assert len(server.all(StartApp)) == 1
    assert server.reported(What.TOOK_OVER) == [{"run": str(server.scribe.chain.run), "height": 3, "term": 2}]


def test_what_its_app_sends_then_is_a_record_of_the_new_term() -> None:
    server = standing()
    server.wins()
    server.asks()
    server.feed(AppCalled(Push(1, (Outgoing(CONTENT, "train", "2", TTL, node_of(ALICE)),))))
    took_over, dispatch = server.written
    assert isinstance(took_over, Takeover)
    assert isinstance(dispatch, Dispatch)
    assert (dispatch.term, dispatch.by) == (2, id_of(SECOND))
    assert isinstance(server.handed, Pushed)


def test_an_app_that_is_behind_gets_the_rest_first() -> None:
    server = AServer(scribe())
    server.hears()
    server.feed(AppReady(ENVIRONMENT))
    server.asks()
    server.wins()
    entries = [type(server.asks()) for _ in range(4)]
    assert entries == [CollectEntry, DispatchEntry, QuietEntry, ScriptEnd]


@pytest.mark.parametrize("comes", [True, False])
def test_an_app_on_another_processor_that_is_behind_gets_a_dispatch_with_its_content_if_anybody_has_it(
    comes: bool,
) -> None:
    server = AServer(scribe(exchanges=0))
    server.hears()
    server.feed(AppReady(replace(ENVIRONMENT, machine="aarch64")))
    server.here()
    server.wins()
    for call in (1, 2):
        server.feed(AppCalled(NextEntry(call)))
        server.give_all()
    (content,) = server.fetching.values()
    assert (content.cid, isinstance(server.handed, DispatchEntry)) == (CONTENT, False)
    if comes:
        server.here()
    else:
        server.fail(content)
    assert isinstance(server.handed, DispatchEntry)


def without_open_messages() -> Scribe:
    """A run of which nobody has to know what its leader sent last."""
    run = scribe()
    run.add(run.collect(run.taken(ALICE), run.taken(BOB)))
    return run


def test_an_app_whose_process_was_not_ready_is_started_again_as_the_run_computes() -> None:
    server = AServer(without_open_messages())
    server.hears()
    server.wins()
    first, again = server.all(StartApp)
    assert first == again
    assert first.as_recorded is not None
    server.feed(AppReady(ENVIRONMENT))
    *entries, takeover, end = [type(server.asks()) for _ in range(7)]
    assert entries == [QuietEntry, DispatchEntry, CollectEntry, DispatchEntry, CollectEntry]
    assert (takeover, end) == (QuietEntry, ScriptEnd)


def test_a_process_that_becomes_ready_while_the_takeover_is_on_its_way_is_not_given_the_run() -> None:
    server = AServer(without_open_messages())
    server.hears()
    server.disk_works = False
    server.wins(here=False)
    server.feed(AppReady(ENVIRONMENT))
    assert server.server.state is LeaderState.APPENDING
    kept = server.all(Store)[-1], server.all(WriteHead)[-1]
    server.disk_works = True
    for effect in kept:
        server.feed(Done(effect.id))
    assert server.server.state is LeaderState.PREPARING
    assert len(server.all(StartApp)) == 2


def test_a_reply_that_was_heard_while_it_stood_by_need_not_be_said_again() -> None:
    server = standing()
    message = server.scribe.message(ALICE)
    reply = server.scribe.sign(server.scribe.reply_body(ALICE), ALICE)
    server.say(ALICE, ReplyReady(server.scribe.chain.run, message.id, reply.cid), blocks=[reply])
    server.wins()
    (examined,) = server.all(Examine)
    assert examined.message == message.id


def test_a_standby_whose_votes_name_an_older_record_does_not_lead() -> None:
    server = standing()
    head = server.scribe.chain.head
    server.scribe.add(server.scribe.collect(server.scribe.taken(ALICE), server.scribe.taken(BOB)))
    server.hears()
    server.wins(head)
    assert isinstance(server.server.role, Standby)
    assert not server.written


def test_an_answer_for_a_role_that_is_over_does_no_harm() -> None:
    server = AServer(scribe())
    server.hears()
    server.feed(AppReady(ENVIRONMENT))
    server.feed(AppCalled(NextEntry(1)))
    (fetching,) = server.fetching.values()
    server.wins(here=False)
    server.feed(Failed(fetching.id, "nobody has it"))
    assert not server.all(Stop)


def test_a_durable_step_of_a_role_that_is_over_stops_the_peer_if_it_fails() -> None:
    server = standing()
    server.disk_works = False
    server.scribe.add(server.scribe.collect(server.scribe.taken(ALICE), server.scribe.taken(BOB)))
    server.hears()
    on_its_way = server.all(WriteHead)[-1]
    server.wins()
    server.feed(Failed(on_its_way.id, "the disk is full"))
    assert server.all(Stop) == [Stop("the disk is full")]
    assert server.server.state is LeaderState.STOPPED


# -- taken over from -----------------------------------------------------------------------------------------------


def leading(made: Scribe) -> AServer:
    """The server that leads a run which it had left open."""
    chain = Chain(made.chain.federation)
    for cid in made.chain.recent:
        chain.append_block(Block(cid, made.source[cid]), made.source)
    plan = RunPlan(NamedBundle(APP, APP, None), bytes(32), "trial", "1", (), 3)
    lead = LeadPlan(plan, ResumedRun(chain, list(chain.recent)))
    server = AServer(made, SERVER, lead, once=True)
    server.feed(AppReady(ENVIRONMENT))
    return server


@pytest.mark.parametrize("state", ["leading", "appending", "preparing", "ending"])
def test_a_leader_that_was_taken_over_from_stands_by_and_writes_no_more(state: str) -> None:
    server = leading(scribe())
    server.disk_works = state != "appending"
    if state == "appending":
        server.feed(AppCalled(Push(1, (Outgoing(CONTENT, "train", "2", TTL, node_of(ALICE)),))))
    if state == "preparing":
        server.feed(AppLost("killed"))
    if state == "ending":
        here = Beat(server.server.newest.ref, PeerState.WORKING, None, "")
        server.say(ALICE, here)  # a closed run is told to those who are here
        server.feed(AppCalled(Finished(1, None)))
    assert server.server.state.name.lower() == state
    written = len(server.written)
    server.scribe.lead(leader=SECOND)
    server.hears(SECOND)
    assert isinstance(server.server.role, Standby)
    assert server.reported(What.TAKEN_OVER)[0]["term"] == 2
    assert not server.reported(What.LEADER_CHANGED), "people were told who leads"
    server.disk_works = True
    server.feed(AppReady(ENVIRONMENT))
    entries = [type(server.asks()) for _ in range(4)]
    assert entries == [DispatchEntry, CollectEntry, DispatchEntry, QuietEntry], "it replays the run of the other"
    assert len(server.written) == written
    assert server.all(WriteHead)[-1].term == 2, "no older head takes its place on disk"


def test_the_process_of_the_leader_that_a_standby_was_is_not_given_what_it_replays() -> None:
    server = leading(scribe())
    server.feed(AppLost("killed"))
    server.scribe.lead(leader=SECOND)
    server.say(SECOND, Head(position(server.scribe, term=2)))
    while not [fetch for fetch in server.fetching.values() if isinstance(fetch, FetchRecord) and fetch.kind is None]:
        server.give(next(iter(server.fetching.values())))  # up to the seed
    handed = len(server.all(Hand))
    server.feed(AppReady(ENVIRONMENT))
    server.feed(AppLost("killed"))
    assert len(server.all(Hand)) == handed
    started = len(server.all(StartApp))
    server.here()
    assert len(server.all(StartApp)) == started + 1


def test_a_leader_yields_to_no_server_that_only_says_so() -> None:
    server = leading(scribe())
    server.say(SECOND, Head(position(server.scribe, term=2)))
    server.here()
    assert server.server.state is LeaderState.LEADING
    assert len(server.reported(What.CLAIM_REFUSED)) == 1
    server.scribe.add(server.scribe.collect(server.scribe.taken(ALICE)))  # what another would lead in the old term
    server.say(SECOND, Head(position(server.scribe, term=2)))
    server.here()
    assert isinstance(server.server.role, Leader)


def canvassed(server: AServer) -> Canvass:
    """What it has canvassed with last."""
    bodies = [parse_announcement(effect.data).announcement.body for effect in server.all(Publish)]
    return [body for body in bodies if isinstance(body, Canvass)][-1]


def test_a_leader_that_comes_back_to_a_run_that_another_has_closed_learns_of_it_from_any_voter() -> None:
    made = scribe()
    server = leading(made)
    made.lead(leader=SECOND)
    made.add(made.close())
    ended = position(made, term=2)
    server.say(ALICE, Canvassed(id_of(SERVER), ended.run, 1, 2, Refusal.OLD_TERM, None))
    for term in (2, 3):
        assert canvassed(server).term == term
        server.wait(1.0)
        server.say(ALICE, Canvassed(id_of(SERVER), ended.run, term, 2, Refusal.CLOSED, ended))
    server.here()
    assert isinstance(server.server.role, Standby)
    server.feed(AppReady(ENVIRONMENT))
    for _ in range(5):
        server.asks()
    server.feed(AppCalled(Finished(6, None)))
    server.here()
    assert server.all(WriteHead)[-1].head == ended.head
    assert server.all(Stop), "it was for this run alone"


def test_a_leader_that_heard_no_standby_learns_from_any_voter_that_another_was_elected() -> None:
    made = scribe()
    server = leading(made)
    made.lead(leader=SECOND)
    server.say(ALICE, Beat(server.server.newest.ref, PeerState.WORKING, position(made, term=2)))
    server.here()
    assert isinstance(server.server.role, Standby)


def test_a_client_that_names_a_head_which_nobody_has_does_not_keep_a_leader_from_yielding() -> None:
    made = scribe()
    server = leading(made)
    run = made.chain.run
    nowhere = Position(run, run, 100, 2)
    server.say(ALICE, Canvassed(id_of(SERVER), run, 1, 2, Refusal.OLD_TERM, None))
    for term in (2, 3):
        server.wait(1.0)
        server.say(ALICE, Canvassed(id_of(SERVER), run, term, 2, Refusal.BEHIND, nowhere))
    made.lead(leader=SECOND)
    server.hears(SECOND)
    assert isinstance(server.server.role, Standby)


def test_a_leader_yields_to_a_server_whose_head_is_fetched_already_since_a_client_named_it() -> None:
    made = scribe()
    server = leading(made)
    made.lead(leader=SECOND)
    newest = position(made, term=2)
    server.say(ALICE, Canvassed(id_of(SERVER), newest.run, 1, 2, Refusal.OLD_TERM, None))
    for term in (2, 3):
        server.wait(1.0)
        server.say(ALICE, Canvassed(id_of(SERVER), newest.run, term, 2, Refusal.BEHIND, newest))
    assert [fetch.cid for fetch in server.fetching.values() if isinstance(fetch, FetchRecord)] == [newest.head]
    server.hears(SECOND)
    assert isinstance(server.server.role, Standby)


def test_a_leader_yields_though_one_record_of_the_way_there_is_to_be_had_at_a_time() -> None:
    made = scribe()
    server = leading(made)
    made.lead(leader=SECOND)
    for _ in range(3):
        made.add(made.dispatch(made.group(ALICE)))
        made.add(made.collect(made.taken(ALICE)))
    for _ in range(2 * made.chain.height):
        server.say(SECOND, Head(position(made, term=2)))
        for try_it in (server.give, server.fail):
            ways = [each for each in server.fetching.values() if isinstance(each, FetchRecord) and each.kind is Chained]
            if ways:
                try_it(ways[0])
        server.wait(60.0)
    assert isinstance(server.server.role, Standby)


def test_a_leader_takes_note_of_what_the_next_one_says_while_its_takeover_is_fetched() -> None:
    made = scribe()
    server = leading(made)
    made.lead(leader=SECOND)
    server.say(SECOND, Head(position(made, term=2)))
    made.add(made.close())
    server.say(SECOND, Head(position(made, term=2)))
    server.say(SECOND, Bye())
    server.here()
    assert server.server.chain is not None
    assert server.server.chain.closed


def test_of_a_member_that_invents_heads_a_leader_looks_for_few() -> None:
    server = leading(scribe())
    heads = [nowhere(at) for at in range(2 * MOST_FALSE)]
    for head in heads:
        ahead = position(server.scribe, head=head, height=server.scribe.chain.height + 1)
        server.say(ALICE, Beat(server.server.newest.ref, PeerState.WORKING, ahead))
        server.fail(*[each for each in server.fetching.values() if isinstance(each, FetchRecord) and each.cid == head])
    looked_for = {fetch.cid for fetch in server.all(FetchRecord)}
    assert len(looked_for.intersection(heads)) == MOST_FALSE


def test_a_server_leads_again_what_it_was_taken_over_from() -> None:
    made = scribe()
    server = leading(made)
    made.lead(leader=SECOND)
    server.hears(SECOND)
    server.feed(AppReady(ENVIRONMENT))
    for _ in range(5):
        server.asks()
    server.wins(leader=SERVER)
    assert [body.term for body in server.written] == [3]


# -- at a start ----------------------------------------------------------------------------------------------------


def starting(made: Scribe) -> AServer:
    """The second server, which is to begin a run of the same app unless another leads one."""
    plan = RunPlan(NamedBundle(APP, APP, None), bytes(32), "trial", "1", (), 3)
    return AServer(made, lead=LeadPlan(plan, unless_led=True), once=True)


def test_a_server_that_hears_no_other_leads() -> None:
    server = starting(scribe())
    server.wait(LISTENS_FIRST - 0.1)
    assert isinstance(server.server.role, Standby)
    server.wait(0.1)
    assert server.server.state is LeaderState.PREPARING
    server.feed(AppReady(ENVIRONMENT))
    assert [body.TYPE for body in server.written] == ["run"]


def test_a_server_that_hears_another_lead_a_run_of_its_app_stands_by() -> None:
    server = starting(scribe())
    server.hears()
    server.wait(LISTENS_FIRST)
    server.wait(60.0)
    assert isinstance(server.server.role, Standby)


def test_a_run_of_another_app_keeps_no_server_from_leading() -> None:
    server = AServer(scribe(), lead=starting(scribe()).server._plan.lead, app=CONTENT, once=True)
    server.hears()
    server.wait(LISTENS_FIRST)
    assert isinstance(server.server.role, Leader)


def test_a_run_that_is_closed_keeps_no_server_from_leading() -> None:
    made = scribe()
    made.add(made.close())
    server = starting(made)
    server.hears()
    server.wait(LISTENS_FIRST)
    assert isinstance(server.server.role, Leader)


def test_what_its_owner_says_while_it_listens_holds_for_what_it_leads() -> None:
    server = starting(scribe())
    server.feed(ToClose("enough"))
    server.wait(LISTENS_FIRST)
    assert [stop.why for stop in server.all(Stop)] == ["it was stopped before it began"]


def leading_with_a_message() -> tuple[AServer, Reply]:
    """A new leader that has sent Alice a message, and her answer to it as it is for a dispatch that is lost."""
    server = standing()
    server.wins()
    server.asks()
    server.feed(AppCalled(Push(1, (Outgoing(CONTENT, "train", "2", TTL, node_of(ALICE)),))))
    role = server.server.role
    assert isinstance(role, Leader)
    message = next(reversed(role.chain.open.values()))
    server.scribe.chain = role.chain.copy()
    reply = replace(
        server.scribe.reply_body(ALICE), message=message.id, dispatch=server.scribe.chain.run, content=ANSWER
    )
    return server, reply


def announce(server: AServer, reply: Reply) -> CID:
    block = sign_record(reply, [ALICE])
    server.say(ALICE, ReplyReady(reply.run, reply.message, block.cid), blocks=[block])
    return block.cid


def test_a_reply_to_a_lost_dispatch_is_not_taken_and_its_client_hears_of_the_newest_record() -> None:
    server, reply = leading_with_a_message()
    server.now += 1.0
    before = len(server.all(Publish))
    for _ in range(3):
        announce(server, reply)
    assert not server.all(Examine)
    assert len(server.reported(What.REPLY_REFUSED)) == 1
    assert len(server.all(Publish)) == before + 1


def test_a_reply_signed_anew_is_taken_at_once_though_the_one_to_a_lost_dispatch_came_before() -> None:
    server, reply = leading_with_a_message()
    announce(server, reply)
    announce(server, replace(reply, dispatch=server.scribe.chain.open[reply.message].dispatch))
    assert [examine.reply for examine in server.all(Examine)] == [ANSWER]


def test_a_record_that_is_no_reply_answers_nothing() -> None:
    server, reply = leading_with_a_message()
    block = server.scribe.sign(server.scribe.close(), ALICE)
    server.say(ALICE, ReplyReady(reply.run, reply.message, block.cid), blocks=[block])
    assert not server.all(Examine)


def closing(**changes: Any) -> AServer:
    """A new leader whose app has ended."""
    server = standing(**changes)
    server.wins()
    server.asks()
    server.feed(AppCalled(Finished(1, None)))
    return server


def confirmed(server: AServer) -> None:
    """Two clients have verified its newest record: with its own word, that is a majority."""
    (head,) = server.all(WriteHead)[-1:]
    at = Position(head.run, head.head, head.height, head.term)
    for each in (ALICE, BOB):
        server.say(each, Beat(server.server.newest.ref, PeerState.WORKING, at))


def test_a_server_whose_run_is_closed_stands_by_for_others_unless_it_was_for_one_alone() -> None:
    server = closing()
    confirmed(server)
    server.wait(KNOWS_WHO_IS_HERE)
    assert [body.TYPE for body in server.written] == ["takeover", "close"]
    assert isinstance(server.server.role, Standby)
    assert not server.all(Stop)


def test_a_server_that_was_for_one_run_ends_with_it_in_whichever_role() -> None:
    server = closing(once=True)
    confirmed(server)
    server.wait(KNOWS_WHO_IS_HERE)
    assert server.all(Stop) == [Stop("")]
    assert not server.reported(What.CLOSE_UNSETTLED)
    assert server.server.chain is not None
    assert server.server.chain.closed


def test_a_new_leader_leaves_no_leader_behind_that_has_not_heard_of_it_yet() -> None:
    server = closing(once=True)
    unaware = position(server.scribe)
    confirmed(server)
    assert not server.all(Stop), "who has said nothing since the takeover may be here"
    server.say(SERVER, Beat(server.server.newest.ref, PeerState.LEADING, unaware))
    server.wait(KNOWS_WHO_IS_HERE)
    assert not server.all(Stop)
    server.wait(SETTINGS.linger)
    assert server.all(Stop) == [Stop("")]


def test_a_new_leader_calls_its_close_settled_only_once_a_majority_has_confirmed_it() -> None:
    server = closing(once=True)
    assert not server.all(Stop)
    server.wait(SETTINGS.linger)
    assert server.reported(What.CLOSE_UNSETTLED)
    assert server.all(Stop) == [Stop("")]


def test_a_new_leader_that_is_cut_off_goes_on_no_further() -> None:
    server = standing()
    server.wins()
    server.asks()
    server.wait(CUT_OFF)
    server.feed(AppCalled(Push(1, (Outgoing(CONTENT, "train", "2", TTL, node_of(ALICE)),))))
    assert [body.TYPE for body in server.written] == ["takeover"]
    assert server.reported(What.VOTERS_LACKING) == [{"here": 1, "voters": 5, "needed": 3}]


def test_a_new_leader_beats_as_one_that_others_watch() -> None:
    server = standing()
    server.wins()
    before = len(server.all(Publish))
    for _ in range(4):
        server.wait(LEADER_BEAT)
    said = (parse_announcement(effect.data).announcement.body for effect in server.all(Publish)[before:])
    assert sum(isinstance(body, Beat) for body in said) == 4
