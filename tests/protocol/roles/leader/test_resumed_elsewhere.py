"""A run records one environment. If its leader goes on with it in another one, its owner is told what differs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from attacked import Attacked
from chains import APP, ENVIRONMENT, SERVER, Scribe, id_of

from protocol.app.calls import AppReady
from protocol.blocks.bundle import NamedBundle
from protocol.records.environment import Environment
from protocol.roles.effects import Report, What
from protocol.roles.leader.leader import Leader
from protocol.roles.leader.run_plan import LeaderSettings, ResumedRun, RunPlan
from protocol.roles.newest_manifest import Author, TrustedManifest


@pytest.mark.parametrize(
    ("here", "told"),
    [
        (ENVIRONMENT, []),
        (replace(ENVIRONMENT, platform="another"), []),
        (replace(ENVIRONMENT, libc="glibc 2.41"), ["libc was 'glibc 2.36' and is 'glibc 2.41'"]),
    ],
    ids=["the same", "as good", "another"],
)
def test_its_owner_is_told_what_may_change_the_bits_of_what_follows(here: Environment, told: list[str]) -> None:
    scribe = Scribe()
    scribe.add(scribe.run())
    plan = RunPlan(NamedBundle(APP, APP, None), bytes(32), "trial", "1", (), 3, began_in=ENVIRONMENT)
    author = Author(id_of(SERVER), (SERVER,), 1 << 32)
    resumed = ResumedRun(scribe.chain, scribe.chain.recent)
    trusted = TrustedManifest(scribe.first, scribe.source)
    leader = Attacked(Leader(author, trusted, plan, LeaderSettings(1, 60.0), resumed), scribe)
    leader.feed(AppReady(here))
    leader.wait(120.0)
    reports = leader.all(Report)
    assert What.RUN_RESUMED in [each.what for each in reports]
    assert [each.fields["why"] for each in reports if each.what is What.ENVIRONMENT_CHANGED] == told
