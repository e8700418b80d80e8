"""A leader is killed and never comes back, alone or with others: its run comes to what it would have come to."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest
from disturbed import CLIENTS
from servers import FIRST, SECOND, Servers, with_servers

from peer.base.faults import Fault, Step, Victim, When
from peer.engine.chosen_engine import MANAGED
from protocol.blocks.cid import CID

pytestmark = [pytest.mark.all, pytest.mark.xdist_group("leader-lost")]  # the undisturbed run is done once

SETTINGS: Final = 'rounds=2 end="{}"'
"""Each round has a training and an evaluation: with run and close, ten records. The last waits for a file: a peer that
comes back after all others have left would wait for them, and for what only they have, without end."""

KILLED: Final = {
    "leader": (FIRST,),
    "standby": (SECOND,),
    "client": CLIENTS[:1],
    "leader-and-standby": (FIRST, SECOND),
    "leader-and-client": (FIRST, CLIENTS[0]),
    "standby-and-client": (SECOND, CLIENTS[0]),
}

LAST_DISPATCH: Final = 7

HEADS: Final = {
    3: "a collect of round 1",
    6: "a dispatch of round 2",
    9: "the last collect",
}
"""After which of its heads a peer is killed: it has not told of it yet."""


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_servers(tmp_path_factory.mktemp("homes") / "homes", SECOND)


@pytest.fixture(scope="module")
def end(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that lets a run end. All runs have the same settings: what clients draw follows from the run record."""
    return tmp_path_factory.mktemp("end") / "now"


@pytest.fixture(scope="module")
def undisturbed(homes: Path, end: Path, tmp_path_factory: pytest.TempPathFactory) -> CID:
    """The model of a run to which nothing happens."""
    run = Servers.in_copies(homes, tmp_path_factory.mktemp("undisturbed") / "run", *settings(end))
    try:
        end.touch()
        run.begin(SECOND).await_all()
        return run.final_model(SECOND)
    finally:
        run.end()


def settings(end: Path) -> tuple[str, str]:
    """The options of the run."""
    return "--run-config", SETTINGS.format(end)


def led_on(run: Servers, killed: tuple[str, ...], nth: int, end: Path) -> CID:
    """The model of a run of which these are ``killed`` after their ``nth`` head. The leader never comes back."""
    end.unlink(missing_ok=True)
    fault = Fault(Victim.PEER, Step.WRITE_HEAD, When.AFTER, nth)
    run.begin(SECOND, faults=dict.fromkeys(killed, fault))
    for name in killed:
        run.await_death(name)
        del run.peers[name]
    for name in killed:
        if name == SECOND:
            run.start_server(SECOND)
        elif name != FIRST:
            run.start_client(name)
    if CLIENTS[0] in killed:
        run.peers[CLIENTS[0]].wait_for("run-followed")
    if SECOND in killed and FIRST not in killed:
        run.peers[SECOND].wait_for("recomputed", height=LAST_DISPATCH)
    end.touch()
    run.await_all()
    return run.final_model(SECOND)


def has_led_on(homes: Path, root: Path, who: str, nth: int, end: Path, undisturbed: CID, engine: str = "") -> None:
    """That the model is the undisturbed one, and that an audit says who led."""
    run = Servers.in_copies(homes, root, *settings(end), engine=engine)
    try:
        assert led_on(run, KILLED[who], nth, end) == undisturbed
        leaders = [each["leader"] for each in run.audited(SECOND)["reigns"]]
        assert (leaders[0], leaders[-1]) == (FIRST, SECOND if FIRST in KILLED[who] else FIRST), leaders
    finally:
        run.end()


@pytest.mark.parametrize("nth", HEADS)
@pytest.mark.parametrize("who", KILLED)
def test_the_model_is_that_of_a_run_to_which_nothing_happens(
    who: str, nth: int, homes: Path, end: Path, undisturbed: CID, tmp_path: Path
) -> None:
    has_led_on(homes, tmp_path / "run", who, nth, end, undisturbed)


@pytest.mark.kubo
@pytest.mark.parametrize("nth", [6])
@pytest.mark.parametrize("who", KILLED)
def test_the_model_is_the_same_over_kubo_though_the_node_of_the_killed_is_gone_too(
    who: str,
    nth: int,
    homes: Path,
    end: Path,
    undisturbed: CID,
    tmp_path: Path,
    ipfs_program: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("POLLEN_KUBO", str(ipfs_program))
    has_led_on(homes, tmp_path / "run", who, nth, end, undisturbed, MANAGED)
