"""A home is put back to an older copy, or a copy of it started beside it: nobody is convicted."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from disturbed import APP, Disturbed, Told
from federation import PeerProcess

from peer.base.errors import ExitCode
from peer.base.faults import Fault, Step, Victim, When
from peer.engine.chosen_engine import MANAGED
from peer.home.journal import Journal

COPY = "another peer with this identity is running"


ON_EITHER = pytest.mark.parametrize(
    "run", ["local", pytest.param(MANAGED, marks=[pytest.mark.kubo, pytest.mark.all])], indirect=True
)
"""Each takes half a minute on Kubo, for which the rules are the same."""


@pytest.fixture
def run(request: pytest.FixtureRequest, origin: Path, tmp_path: Path) -> Iterator[Disturbed]:
    """A run on either engine; with Kubo, each home has its node."""
    if request.param == MANAGED:
        program = request.getfixturevalue("ipfs_program")
        made = Disturbed.copy_of(origin, tmp_path / "run", MANAGED, POLLEN_KUBO=str(program))
    else:
        made = Disturbed.copy_of(origin, tmp_path / "run")
    yield made
    made.end()


def proofs(run: Disturbed) -> int:
    """How many proofs of equivocation all homes have."""
    count = 0
    for name in ("server", *run.names):
        with Journal(run.home(name).journal) as journal:
            count += len(journal.proofs())
    return count


def copied(run: Disturbed, name: str, copy: str) -> None:
    """Copy a home as people do, whether its peer runs or not."""
    subprocess.run(["cp", "-r", run.root / name, run.root / copy], check=True)


def put_back(run: Disturbed, name: str, older: str) -> None:
    """Put a copy in a home's place."""
    shutil.rmtree(run.root / name)
    (run.root / older).rename(run.root / name)


def signed(run: Disturbed, name: str) -> int:
    """How many blocks a home has of what it signed."""
    return len(run.own_records(name))


def beside(run: Disturbed, name: str, copy: str) -> PeerProcess:
    """Start the copy of a home as its original was started."""
    role = ("client", "--node-config", f"partition-id=0 num-partitions={len(run.names)}")
    if name == "server":
        role = ("server", "--min-clients", str(len(run.names)), "--seed", "1")
    return run.start(copy, "--role", *role, "--app", APP, **run.variables)


def assert_undisturbed(run: Disturbed, undisturbed: Told) -> None:
    run.await_all()
    assert proofs(run) == 0
    assert run.told() == undisturbed


@ON_EITHER
def test_a_server_put_back_to_an_older_home_goes_on_from_its_newest_record(run: Disturbed, undisturbed: Told) -> None:
    run.start_all({"server": Fault(Victim.PEER, Step.WRITE_HEAD, When.AFTER, 4)})
    run.await_death("server")
    copied(run, "server", "older")
    run.start_one("server", Fault(Victim.PEER, Step.WRITE_HEAD, When.AFTER, 5))
    run.await_death("server")
    newest = run.head("server").height
    put_back(run, "server", "older")
    assert run.head("server").height < newest

    server = run.start_one("server")

    assert_undisturbed(run, undisturbed)
    assert server.events("home-moved")
    assert server.events("recalled")


@ON_EITHER
@pytest.mark.all
def test_a_client_put_back_to_an_older_home_gives_no_second_answer(run: Disturbed) -> None:
    """Its app's state is as old as the copy, so what it answers then may be another."""
    run.start_all({"one": Fault(Victim.PEER, Step.KEEP_REPLY, When.AFTER, 1)})
    run.await_death("one")
    copied(run, "one", "older")
    run.start_one("one", Fault(Victim.PEER, Step.KEEP_REPLY, When.BEFORE, 2))
    run.await_death("one")
    put_back(run, "one", "older")

    client = run.start_one("one")

    run.await_all()
    assert client.events("recalled")
    assert proofs(run) == 0


@pytest.mark.all  # the rule: tests/simulation/test_simulated_copies.py
@ON_EITHER
def test_the_copy_of_a_clients_home_that_runs_stops_before_it_signs(run: Disturbed, undisturbed: Told) -> None:
    run.start_all({"server": Fault(Victim.PEER, Step.WRITE_HEAD, When.AFTER, 4)})
    run.await_death("server")
    copied(run, "one", "twin")
    before = signed(run, "twin")

    twin = beside(run, "one", "twin")
    run.start_one("server")

    assert twin.code() == ExitCode.UNFINISHED
    assert COPY in twin.said
    assert signed(run, "twin") == before
    assert_undisturbed(run, undisturbed)


@ON_EITHER
@pytest.mark.all
def test_the_copy_of_a_servers_home_that_runs_stops_before_it_signs(run: Disturbed, undisturbed: Told) -> None:
    run.start_all({"two": Fault(Victim.PEER, Step.KEEP_REPLY, When.AFTER, 2)})
    run.await_death("two")
    copied(run, "server", "twin")
    before = signed(run, "twin")

    twin = beside(run, "server", "twin")

    assert twin.code() == ExitCode.UNFINISHED
    assert COPY in twin.said
    assert signed(run, "twin") == before
    run.start_one("two")
    assert_undisturbed(run, undisturbed)
