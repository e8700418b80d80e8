"""A leader that goes on with its run in another environment tells its owner, and its chain, what that is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from attacked import Attacked
from chains import APP, ENVIRONMENT, SERVER, Scribe, id_of, reader_of

from protocol.app.calls import AppReady, Diverged, NextEntry, ScriptEnd, Start, ToApp
from protocol.blocks.bundle import NamedBundle
from protocol.records.environment import Environment
from protocol.replay.differences import Cause
from protocol.roles.effects import Hand, What
from protocol.roles.events import AppCalled
from protocol.roles.leader.leader import Leader
from protocol.roles.leader.run_plan import LeaderSettings, ResumedRun, RunPlan
from protocol.roles.newest_manifest import Author, TrustedManifest

LATER = replace(ENVIRONMENT, libc="glibc 2.41")
AS_GOOD = replace(ENVIRONMENT, platform="another")


def resuming(here: Environment, scribe: Scribe) -> Attacked:
    """The leader of a run whose app process is ready in the environment ``here``."""
    plan = RunPlan(NamedBundle(APP, APP, None), bytes(32), "trial", "1", (), 3, began_in=ENVIRONMENT)
    author = Author(id_of(SERVER), (SERVER,), 1 << 32)
    run = ResumedRun(scribe.chain, scribe.chain.recent)
    trusted = TrustedManifest(scribe.first, scribe.source)
    leader = Attacked(Leader(author, trusted, plan, LeaderSettings(1, 60.0), run), scribe)
    leader.feed(AppReady(here))
    leader.wait(120.0)
    return leader


def resumed(here: Environment, scribe: Scribe) -> Attacked:
    """The same, once the app has replayed the run to its end."""
    leader = resuming(here, scribe)
    for call in range(scribe.chain.height + 2):
        leader.feed(AppCalled(NextEntry(call)))
        leader.give_all()
    return leader


def handed(leader: Attacked) -> list[ToApp]:
    """What the app process was handed last."""
    return [each.value for each in leader.all(Hand)][-1:]


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
@pytest.mark.parametrize(
    ("here", "told"),
    [(ENVIRONMENT, []), (AS_GOOD, []), (LATER, ["libc was 'glibc 2.36' and is 'glibc 2.41'"])],
    ids=["the same", "as good", "another"],
)
def test_its_owner_and_its_chain_are_told_what_may_change_the_bits_of_what_follows(
    here: Environment, told: list[str], encrypted: bool
) -> None:
    scribe = Scribe(encrypted=encrypted, reader=reader_of(SERVER))
    scribe.add(scribe.run())
    leader = resumed(here, scribe)

    assert [fields["why"] for fields in leader.reported(What.ENVIRONMENT_CHANGED)] == told
    assert (scribe.chain.height, scribe.chain.environment) == ((1, LATER) if told else (0, ENVIRONMENT))
    assert handed(leader) == [ScriptEnd(1, live=True, key=scribe.chain.keys.content(1 if encrypted else None))]


def test_an_environment_in_which_the_run_went_on_before_is_not_another_one() -> None:
    scribe = Scribe()
    scribe.add(scribe.run())
    scribe.add(scribe.environment(LATER))

    assert resumed(LATER, scribe).reported(What.ENVIRONMENT_CHANGED) == []
    assert scribe.chain.height == 1


def test_an_app_that_is_back_where_it_began_knows_from_its_start_that_another_environment_was_in_between() -> None:
    scribe = Scribe()
    scribe.add(scribe.run())
    scribe.add(scribe.environment(LATER))
    scribe.add(scribe.environment(ENVIRONMENT))
    (start,) = (each.value for each in resuming(ENVIRONMENT, scribe).all(Hand) if isinstance(each.value, Start))

    assert (start.may_differ, start.changes_environment) == (Cause.NOTHING, True)


def test_the_chain_says_nothing_before_the_app_has_done_again_all_that_is_recorded() -> None:
    scribe = Scribe()
    scribe.add(scribe.run())
    scribe.add(scribe.dispatch())
    leader = resuming(LATER, scribe)
    leader.feed(AppCalled(NextEntry(0)))
    leader.give_all()
    leader.feed(AppCalled(Diverged(1, "the model differs")))

    assert scribe.chain.height == 1
    assert leader.reported(What.DIVERGED)
