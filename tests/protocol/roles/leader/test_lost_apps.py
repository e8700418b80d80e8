"""A server's app process that ends by itself is started again; one that always ends at one place is at fault."""

from __future__ import annotations

from attacked import leading
from chains import ENVIRONMENT

from protocol.app.calls import AppReady
from protocol.roles.effects import StartApp, Stop, StopCause
from protocol.roles.events import AppLost
from protocol.roles.leader.app_process import CRASHES


def test_an_app_process_that_is_lost_is_started_again() -> None:
    leader = leading()
    leader.feed(AppLost("killed by signal 9"))
    assert len(leader.all(StartApp)) == 2
    assert not leader.all(Stop)


def test_an_app_process_that_is_always_lost_at_one_height_is_the_apps_failure() -> None:
    leader = leading()
    for _ in range(CRASHES - 1):
        leader.feed(AppLost("killed by signal 6"))
        leader.feed(AppReady(ENVIRONMENT))
    assert not leader.all(Stop)
    leader.feed(AppLost("killed by signal 6"))
    (stop,) = leader.all(Stop)
    assert stop.cause is StopCause.APP
    assert f"lost {CRASHES} times at height 1: killed by signal 6" in stop.why
