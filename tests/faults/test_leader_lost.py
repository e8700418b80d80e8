"""A leader is killed and never comes back: its run comes to what it would have come to."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from disturbed import APP, CLIENTS, Disturbed, founded
from federation import Federation

from peer.base.faults import Fault, Step, Victim, When
from peer.home.federations import FederationStore
from peer.membership.changes import add_member
from protocol.blocks.cid import CID, Block
from protocol.records.bodies import Close, Role
from protocol.records.signed_records import parse_record

SECOND = "second"


def with_two_servers(root: Path) -> Path:
    """Homes of two clients and two servers."""
    founded(root)
    made = Federation.__new__(Federation)  # of homes that are there
    made.root = root
    public = made.identity(SECOND).public_for(bytes(made.stored.id))
    stored = add_member(made.stored, made.admin, public, name=SECOND, roles=[Role.SERVER], time=time.time())
    FederationStore(made.home("server")).save(stored)
    for name in (SECOND, *CLIENTS):
        FederationStore(made.home(name)).join(stored)
    return root


def final_model(run: Disturbed, name: str) -> CID:
    """The final model of the run in a home, by its content."""
    with run.blocks() as engine:
        head = run.head(name).head
        close = parse_record(Block(head, engine.get(head))).body
    assert isinstance(close, Close)
    assert close.model is not None
    return close.model


def led(origin: Path, root: Path, fault: Fault | None, *, again: bool = False) -> CID:
    """The final model of a run in copies of the homes; its leader has the fault, and then another server leads, which
    is killed too and comes back if that happens ``again``."""
    run = Disturbed.copy_of(origin, root)
    try:
        options = ["--role", "server", "--standby", "--app", APP, "--once"]
        standby = run.start(SECOND, *options, **run.variables)
        standby.wait_for("app-bundled")
        run.start_all({} if fault is None else {"server": fault})
        if fault is not None:
            run.await_death("server")
            del run.peers["server"]
            standby.wait_for("took-over")
        if again:
            standby.kill()
            standby = run.start(SECOND, *options, **run.variables)
        run.await_all()
        assert standby.code() == 0, standby.said
        return final_model(run, SECOND)
    finally:
        run.end()


@pytest.mark.all  # 60 seconds of processor time
def test_the_model_is_that_of_a_run_to_which_nothing_happens(tmp_path: Path) -> None:
    origin = with_two_servers(tmp_path / "homes")
    undisturbed = led(origin, tmp_path / "undisturbed", None)
    for nth in (4, 7):  # the dispatch of round 1's evaluation, which nobody has heard of; a collect of round 2
        fault = Fault(Victim.PEER, Step.WRITE_HEAD, When.AFTER, nth)
        assert led(origin, tmp_path / f"killed-{nth}", fault) == undisturbed
    assert led(origin, tmp_path / "killed-again", fault, again=True) == undisturbed
