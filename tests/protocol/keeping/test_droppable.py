"""`protocol.keeping.droppable`: which contents of a run may go."""

from __future__ import annotations

from dataclasses import replace

from chains import ALICE, CAROL, DAVE, MEMBERS, SERVER, Scribe, id_of, member

from protocol.blocks.cid import CID, raw_block
from protocol.keeping.confirmed import audited_height
from protocol.keeping.droppable import Droppable, ExchangeAt, Kind, LinkedContents, RunSoFar, droppable, lost_may_go
from protocol.keeping.plan import All, KeepPlan, Last, LastAndBest, UntilAudited
from protocol.records.bodies import Role

CLOSED = RunSoFar(exchanges=4, closed=True)
OPEN = RunSoFar(exchanges=4, closed=False)
NOTHING_STAYS = KeepPlan(Last(0), Last(0), drop_updates=True)


def cid(name: str) -> CID:
    return raw_block(name.encode()).cid


def exchange(number: int, *, answered: bool = True) -> LinkedContents:
    """Of heights 2n - 1, the dispatch, and 2n, the collect."""
    at = ExchangeAt(number, last_height=2 * number, is_answered=answered)
    return LinkedContents(at, (cid(f"m{number}"),), (cid(f"a{number}"), cid(f"b{number}")))


RUN = [exchange(number) for number in (1, 2, 3, 4)]


def names(plan: KeepPlan, run: RunSoFar, exchanges: list[LinkedContents] = RUN, **needed: frozenset[CID]) -> str:
    """What may go, in order."""
    known = {cid(f"{kind}{number}"): f"{kind}{number}" for kind in "mab" for number in range(1, 9)}
    return " ".join(known[each.content] for each in droppable(exchanges, plan, run, **needed))


def test_of_a_plan_that_keeps_everything_nothing_may_go() -> None:
    assert not names(KeepPlan(), CLOSED)


def test_the_last_exchanges_keep_their_updates_and_the_oldest_go_first() -> None:
    assert names(KeepPlan(updates=Last(2)), CLOSED) == "a1 b1 a2 b2"


def test_what_only_lost_records_name_goes_with_the_close_unless_all_of_its_kind_stays() -> None:
    lost = [(cid("m5"), Kind.MODEL), (cid("a5"), Kind.UPDATE), (cid("b5"), Kind.UPDATE)]
    plan = KeepPlan(updates=Last(9))
    assert [each.content for each in lost_may_go(lost, plan, CLOSED, frozenset({cid("b5")}))] == [cid("a5")]
    assert not list(lost_may_go(lost, plan, OPEN))


def test_models_go_by_a_plan_of_their_own() -> None:
    assert names(KeepPlan(models=Last(3)), CLOSED) == "m1"


def test_the_best_model_stays_beside_the_last() -> None:
    plan = KeepPlan(models=LastAndBest(1))
    assert names(plan, replace(CLOSED, best=2)) == "m1 m3"
    assert names(plan, CLOSED) == "m1 m2 m3"


def test_updates_stay_until_an_auditor_has_confirmed_the_whole_exchange() -> None:
    plan = KeepPlan(updates=UntilAudited())
    assert not names(plan, CLOSED)
    assert names(plan, replace(CLOSED, audited=3)) == "a1 b1"
    assert names(plan, replace(CLOSED, audited=4)) == "a1 b1 a2 b2"


def test_nothing_of_an_open_run_goes_at_its_server() -> None:
    assert not names(KeepPlan(Last(0), Last(0)), OPEN)


def test_a_plan_that_drops_updates_keeps_the_newest_exchange_of_an_open_run() -> None:
    assert names(NOTHING_STAYS, OPEN) == "m1 a1 b1 m2 a2 b2 m3 a3 b3"


def test_an_exchange_that_waits_for_answers_keeps_what_it_has() -> None:
    waiting = [exchange(1), exchange(2, answered=False), exchange(3), exchange(4)]
    assert names(NOTHING_STAYS, OPEN, waiting) == "m1 a1 b1 m3 a3 b3"


def test_no_open_run_needs_what_a_client_has_answered_and_the_chain_collected() -> None:
    assert names(KeepPlan(Last(0), Last(0)), replace(OPEN, holder=Role.CLIENT)) == "m1 a1 b1 m2 a2 b2 m3 a3 b3"


def test_a_content_that_a_later_exchange_needs_stays() -> None:
    again = replace(RUN[3], models=RUN[0].models)
    assert names(KeepPlan(models=Last(1)), CLOSED, [*RUN[:3], again]) == "m2 m3"


def test_a_content_that_is_linked_twice_goes_once_where_it_was_linked_last() -> None:
    again = replace(RUN[1], models=RUN[0].models)
    found = list(droppable([RUN[0], again, *RUN[2:]], KeepPlan(models=Last(2)), CLOSED))
    assert found == [Droppable(cid("m1"), Kind.MODEL, 2)]


def test_an_answer_that_is_a_model_as_well_stays_with_it() -> None:
    echo = replace(RUN[0], updates=RUN[0].models)
    assert not names(KeepPlan(updates=Last(0)), CLOSED, [echo])


def test_what_something_else_needs_stays() -> None:
    assert names(KeepPlan(All(), Last(3)), CLOSED, needed=frozenset((cid("a1"),))) == "b1"


def test_an_auditors_ack_confirms_and_that_of_a_server_or_client_does_not() -> None:
    manifest = Scribe(MEMBERS | {"dave": member(DAVE, Role.AUDITOR)}).manifest
    follows_too = {id_of(SERVER): 9, id_of(ALICE): 8, id_of(CAROL): 7, b"?" * 32: 6}
    assert audited_height(follows_too, manifest) is None
    assert audited_height(follows_too | {id_of(DAVE): 5}, manifest) == 5
