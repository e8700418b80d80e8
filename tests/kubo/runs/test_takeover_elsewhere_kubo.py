"""A standby on another kind of processor takes a run over, whose leader's machine is gone for good."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from federation import APPS, Federation

from peer.base.faults import VARIABLE, Fault, Step, Victim, When
from protocol.records.bodies import Role

pytestmark = [
    pytest.mark.kubo,
    pytest.mark.all,  # the rule: tests/protocol/roles/standby/test_what_a_standby_signs.py
    pytest.mark.skipif(shutil.which("qemu-x86_64") is None, reason="Debian's qemu-user is not installed"),
]

APP = APPS / "by_kernel"
NEHALEM = ("--app-python", f"qemu-x86_64 -cpu Nehalem {sys.executable}")
ITS_KERNELS = {"OPENBLAS_CORETYPE": "Nehalem"}
"""As it would choose by itself, if the tester's environment did not name those of another processor."""


@pytest.fixture
def federation(ipfs_program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Federation]:
    """Two servers and a client, each with a managed node."""
    monkeypatch.setenv("POLLEN_KUBO", str(ipfs_program))
    monkeypatch.setattr("federation.PATIENCE", 600.0)  # an emulated processor imports for a minute
    made = Federation(tmp_path, "kubo")
    made.add("one")
    made.add("second", role=Role.SERVER)
    yield made
    made.end()


def test_it_has_every_message_that_the_lost_leader_sent_and_comes_to_the_end(federation: Federation) -> None:
    gate = federation.root / "gate"
    killed = Fault(Victim.PEER, Step.WRITE_HEAD, When.BEFORE, 5)  # it has sent what each kernel sums in another order
    server = federation.server(APP, "--numerics", "native", clients=1, **{VARIABLE: str(killed)})
    federation.introduce("server")
    stands_by = ("--role", "server", "--standby", "--app", APP, "--once", *NEHALEM)
    standby = federation.start("second", *stands_by, **ITS_KERNELS)
    federation.introduce("second")
    standby.wait_for("peer-here", name="server")
    client = federation.client("one", APP, f'gate="{gate}"')
    standby.wait_for("recomputed", height=1)
    gate.touch()
    assert server.code() == -signal.SIGKILL, server.said
    standby.wait_for("took-over", term=2)
    assert [standby.code(), client.code()] == [0, 0], standby.said

    shutil.rmtree(federation.home("server").path)
    replayed = ("--replay", "--app", APP, "--unconfined", "--json")  # by whom the first leader's processor is like ours
    report = json.loads(federation.done("second", "audit", federation.exported("second"), *replayed))
    assert (report["verdict"], report["environments"]) == ("verified", 2), report["findings"]
    assert report["replay"]["exchanges"] == 3
    assert [each["leader"] for each in report["reigns"]] == ["server", "second"]
