"""A home is put back to an older copy, or a copy of it started beside it: nobody is convicted."""

from __future__ import annotations

import contextlib
import shutil

from disturbed import APP, Disturbed, Told

from peer.errors import ExitCode
from peer.faults import Fault, Step, Victim, When
from peer.journal import Journal


def proofs(run: Disturbed) -> int:
    """How many proofs of equivocation all homes have."""
    count = 0
    for name in ("server", *run.names):
        with contextlib.closing(Journal(run.home(name).journal)) as journal:
            count += len(journal.proofs())
    return count


def test_a_server_put_back_to_an_older_home_goes_on_from_its_newest_record(
    disturbed: Disturbed, undisturbed: Told
) -> None:
    disturbed.start_all({"server": Fault(Victim.PEER, Step.WRITE_HEAD, When.AFTER, 4)})
    disturbed.await_death("server")
    home, older = disturbed.home("server").path, disturbed.root / "older"
    shutil.copytree(home, older)
    disturbed.start_one("server", Fault(Victim.PEER, Step.WRITE_HEAD, When.AFTER, 5))
    disturbed.await_death("server")
    newest = disturbed.head("server").height
    shutil.rmtree(home)
    older.rename(home)
    assert disturbed.head("server").height < newest

    server = disturbed.start_one("server")

    disturbed.await_all()
    assert server.events("recalled")
    assert proofs(disturbed) == 0
    assert disturbed.told() == undisturbed


def test_a_copy_of_a_clients_home_beside_it_stops_before_it_signs(disturbed: Disturbed, undisturbed: Told) -> None:
    copy = disturbed.home("twin").path
    shutil.copytree(disturbed.home("one").path, copy, dirs_exist_ok=True)
    for name in ("one", "two"):
        disturbed.start_one(name)
    disturbed.peers["one"].wait_for("waiting")  # it has listened for others

    role = ("--role", "client", "--app", APP, "--node-config", "partition-id=0 num-partitions=2")
    twin = disturbed.start("twin", *role, **disturbed.variables)

    assert twin.code() == ExitCode.UNFINISHED
    assert "another peer with this identity is running" in twin.said
    disturbed.start_one("server")
    disturbed.await_all()
    assert proofs(disturbed) == 0
    assert disturbed.told() == undisturbed
