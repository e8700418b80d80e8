"""A leader whose run is closed stays for the keepers that are here, as long as its owner gives them."""

from __future__ import annotations

from dataclasses import replace

from attacked import Attacked, nowhere
from chains import APP, ENVIRONMENT, KEEPER, SERVER, WITH_KEEPER, Scribe, id_of

from protocol.app.calls import AppReady, Finished
from protocol.blocks.bundle import NamedBundle
from protocol.records.bodies import Close
from protocol.records.signed_records import parse_record
from protocol.roles.effects import Stop, Store, What
from protocol.roles.events import AppCalled, Stopping
from protocol.roles.leader.leader import Leader
from protocol.roles.leader.run_plan import KEEPERS_MAY_TAKE, LeaderSettings, RunPlan
from protocol.roles.newest_manifest import Author, TrustedManifest
from protocol.status.role_status import Lack, Wait
from protocol.wire.announcements import Beat, Bye, PeerState, Position


def closed(linger_for_keepers: float = KEEPERS_MAY_TAKE) -> Attacked:
    """A leader that has closed its run while a keeper is here."""
    scribe = Scribe(WITH_KEEPER)
    plan = RunPlan(NamedBundle(APP, APP, None), bytes(32), "trial", "1", (), 3)
    settings = LeaderSettings(1, 60.0, linger_for_keepers=linger_for_keepers)
    trusted = TrustedManifest(scribe.first, scribe.source)
    leader = Attacked(Leader(Author(id_of(SERVER), (SERVER,), 1), trusted, plan, settings), scribe)
    leader.feed(AppReady(ENVIRONMENT))
    says(leader)
    leader.feed(AppCalled(Finished(1, None)))
    return leader


def says(leader: Attacked, position: Position | None = None, note: str = "") -> None:
    leader.say(KEEPER, Beat(leader.manifest, PeerState.IDLE, position, note))


def the_close(leader: Attacked) -> Position:
    assert isinstance(leader.machine, Leader)
    chain = leader.machine.chain
    assert isinstance(parse_record(leader.all(Store)[-1].blocks[0]).body, Close)
    assert chain.head is not None
    return Position(chain.run, chain.head, chain.height, 1)


def passes(leader: Attacked, seconds: int) -> None:
    for _ in range(seconds // 10):
        if not leader.all(Stop):
            says(leader)
            leader.wait(10.0)


def test_it_stays_until_the_keeper_has_all_of_the_run() -> None:
    leader = closed()
    passes(leader, 590)
    assert not leader.all(Stop)
    assert Wait(Lack.KEPT, ("keeper",)) in leader.machine.machine.status(leader.now).waits
    says(leader, the_close(leader))
    assert leader.all(Stop)


def test_it_stays_no_longer_than_its_owner_gives_keepers() -> None:
    leader = closed()
    passes(leader, 610)
    assert leader.all(Stop)


def test_its_owner_is_told_once_what_it_stays_for_and_may_end_that() -> None:
    leader = closed()
    passes(leader, 60)
    ((told),) = leader.reported(What.KEEPERS_AWAITED)
    assert told["whom"] == "keeper"
    leader.feed(Stopping())
    assert leader.machine.machine.state.name == "STOPPED"


def test_a_standing_peers_leader_stays_no_longer_than_for_clients() -> None:
    leader = closed(LeaderSettings(1, 60.0).linger_for_keepers)
    passes(leader, 20)
    assert leader.all(Stop)


def test_it_does_not_stay_for_a_keeper_without_room() -> None:
    leader = closed()
    says(leader, note="no room for contents")
    assert leader.all(Stop)


def test_it_does_not_stay_for_a_keeper_that_leaves() -> None:
    leader = closed()
    leader.say(KEEPER, Bye())
    assert leader.all(Stop)


def test_another_head_is_not_all_of_its_run() -> None:
    leader = closed()
    there = the_close(leader)
    says(leader, replace(there, head=nowhere("head")))
    says(leader, replace(there, run=nowhere("run")))
    assert not leader.all(Stop)
