"""A leader whose owner wants a run closed that was left open: its app is not needed for that."""

from __future__ import annotations

from attacked import Attacked
from chains import APP, SERVER, Scribe, id_of

from protocol.blocks.bundle import NamedBundle
from protocol.records.bodies import Outcome
from protocol.roles.effects import StartApp, What
from protocol.roles.leader.leader import Leader
from protocol.roles.leader.run_plan import LeaderSettings, ResumedRun, RunPlan
from protocol.roles.newest_manifest import Author, TrustedManifest


def closing(session: bytes = b"") -> Attacked:
    """The leader of an open run that is only to be closed."""
    scribe = Scribe()
    scribe.add(scribe.run())
    plan = RunPlan(NamedBundle(APP, APP, None), bytes(32), "trial", "1", (), 3)
    author = Author(id_of(SERVER), (SERVER,), 1 << 32, session=session)
    settings = LeaderSettings(1, 60.0, closes="its owner stopped it")
    run = ResumedRun(scribe.chain, scribe.chain.recent)
    return Attacked(Leader(author, TrustedManifest(scribe.first, scribe.source), plan, settings, run), scribe)


def test_it_closes_the_run_and_starts_no_app() -> None:
    leader = closing()
    (closed,) = leader.reported(What.RUN_CLOSED)
    assert closed["outcome"] == Outcome.STOPPED
    assert leader.all(StartApp) == []


def test_it_signs_nothing_before_the_others_may_have_said_what_it_forgot() -> None:
    leader = closing(session=b"s" * 16)
    leader.wait(1.0)
    assert leader.reported(What.RUN_CLOSED) == []
