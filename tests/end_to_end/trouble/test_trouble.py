"""Trouble in a run: what clients, apps and strangers do must not end it, and the chain tells of it."""

from __future__ import annotations

import random
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from federation import APPS, GATED, Federation, Gate, until

from crypto.identity import Identity
from peer.engine.contents import EngineBlocks
from peer.home.home import replace_file
from peer.home.keystore import KeyStore
from peer.home.passphrase import Passphrases
from protocol.app.calls import ErrorCode
from protocol.blocks.cid import CID, Block
from protocol.chain.closure import contents
from protocol.records.signed_records import parse_record
from protocol.wire.announcements import (
    Announcement,
    Bye,
    Drop,
    sign_announcement,
    topic_all,
    topic_leader,
)


def answers(report: Any) -> list[dict[str, Any]]:
    """Every answer in an audit's exchanges."""
    return [answer for exchange in report["exchanges"] for answer in exchange["answers"]]


def test_each_trouble_of_a_client_is_a_flower_error_with_its_reason(federation: Federation, gate: Gate) -> None:
    federation.add("three", "four", "five")
    config = f'rounds=1 gate="{gate.folder}"'
    server = federation.server(GATED, "--client-timeout", "20", "--run-config", config, clients=5)
    clients = [
        federation.client("one", GATED),
        federation.client("two", GATED, "raises=true"),
        federation.client("three", GATED, E2E_CLIENT_IMPORT_FAILS="1"),
        federation.client("four", GATED, "crashes=true"),
    ]
    silent = federation.client("five", GATED, f'gate="{gate.folder}"')
    for client in (clients[0], clients[1], clients[3], silent):
        client.wait_for("run-followed")  # their apps have started, so that those who answer do so in time
    gate.open("round-1")
    silent.wait_for("task-started")
    silent.signal(signal.SIGSTOP)

    assert [peer.code() for peer in (server, *clients)] == [0, 0, 4, 4, 4], server.said
    report = federation.audit()
    assert report["verdict"] == "verified"
    errors = {answer["name"]: (answer["code"], answer["reason"]) for answer in answers(report) if answer["code"]}
    assert {name: code for name, (code, _) in errors.items()} == {
        "two": ErrorCode.CLIENT_APP_RAISED_EXCEPTION,
        "three": ErrorCode.LOAD_CLIENT_APP_EXCEPTION,
        "four": ErrorCode.CLIENT_APP_CRASHED,
        "five": ErrorCode.NODE_UNAVAILABLE,
    }
    assert "the client app is broken" in errors["two"][1]
    assert "cannot be imported" in errors["three"][1]
    assert "killed by signal 6" in errors["four"][1]
    assert "time-out of 20 s" in errors["five"][1]


@pytest.mark.all
def test_a_late_client_and_a_new_member_join_the_next_exchange(federation: Federation, gate: Gate) -> None:
    gate.open("round-1")
    config = f'rounds=2 gate="{gate.folder}"'
    server = federation.server(GATED, "--run-config", config, clients=2)
    clients = [federation.client("one", GATED)]
    server.wait_for("peer-here", name="one")
    assert server.events("dispatched") == []  # --min-clients holds the start

    clients.append(federation.client("two", GATED))
    server.wait_for("collected")
    federation.add("three")
    clients.append(federation.client("three", GATED))
    server.wait_for("peer-here", name="three")
    gate.open("round-2")

    assert [peer.code() for peer in (server, *clients)] == [0] * 4, server.said
    assert [fields["messages"] for fields in server.events("dispatched")] == [2, 3]
    assert clients[0].events("manifest-in-force")
    report = federation.audit()
    assert report["verdict"] == "verified"
    assert report["members"] == 4  # by the roster record, which the newer manifest came with


@pytest.mark.parametrize(
    ("config", "variables", "reason"),
    [
        ("rounds=1 clients=1 raises=true", {}, "the server app is broken"),
        pytest.param(
            "rounds=1 clients=1",
            {"E2E_SERVER_IMPORT_FAILS": "1"},
            "the server app cannot be imported",
            marks=pytest.mark.all,
        ),
    ],
)
def test_a_server_app_that_fails_closes_the_run_and_names_its_log(
    config: str, variables: dict[str, str], reason: str, federation: Federation
) -> None:
    command = ["start", "--role", "server", "--app", GATED, "--min-clients", "1", "--run-config", config, "-v"]
    options = ["--home", federation.home("server").path, "--ipfs", federation.engine]
    server = federation.run("server", *command, *options, **variables)
    client = federation.client("one", GATED)

    assert [peer.code() for peer in (server, client)] == [4, 0], server.said
    assert reason in server.said
    log = federation.home("server").path / "logs" / "app-server.log"
    assert f"fix: see its log {log}" in server.said
    assert "Traceback" in log.read_text()
    report = federation.audit()
    assert (report["verdict"], report["outcome"]) == ("verified", "raised")


@pytest.fixture
def disk(federation: Federation, tmp_path: Path) -> Iterator[Path]:
    """A disk that is soon full."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"cannot mount a small file system here: {mounted.stderr.strip()}")
    yield folder
    federation.end()
    subprocess.run(["umount", str(folder)], check=True)


def hostile(federation: Federation) -> Iterator[tuple[Drop, bytes]]:
    """Announcements of each bad kind."""
    member = KeyStore(federation.home("one").path).load("one", Passphrases.of_process(None))
    stranger = Identity.generate("stranger")

    def signed(who: Identity, counter: int) -> bytes:
        said = Announcement(
            federation=federation.stored.id, by=who.public.id, counter=counter, body=Bye(), addresses=(), blocks=()
        )
        return sign_announcement(said, who.signing)

    forged = signed(member, 1 << 62)
    yield Drop.MALFORMED, random.Random(1).randbytes(300)
    yield Drop.MALFORMED, b"\x91" * 200_000  # lists in lists in lists
    yield Drop.TOO_LARGE, b"\xc4" * 600_000
    yield Drop.STRANGER, signed(stranger, 1)
    yield Drop.BAD_SIGNATURE, forged[:-1] + bytes([forged[-1] ^ 1])
    yield Drop.REPLAYED, signed(member, 1)  # the member itself is far beyond that


def test_hostile_announcements_are_counted_and_end_nothing(federation_in_the_clear: Federation, gate: Gate) -> None:
    federation = federation_in_the_clear
    gate.open("round-1")
    server = federation.server(GATED, "--run-config", f'rounds=2 clients=1 gate="{gate.folder}"', clients=1)
    client = federation.client("one", GATED)
    server.wait_for("collected")
    bad = list(hostile(federation))
    with federation.blocks() as engine:
        for topic in (topic_all(federation.stored.id), topic_leader(federation.stored.id)):
            for _, data in bad:
                engine.publish(topic, data)
    gate.open("round-2")

    assert [peer.code() for peer in (server, client)] == [0, 0], server.said
    (counts,) = server.events("announcements-dropped")
    assert all(counts[reason.value] >= 1 for reason, _ in bad), counts
    assert federation.audit()["verdict"] == "verified"


def test_a_full_disk_leaves_the_run_open_and_space_lets_it_go_on(federation: Federation, disk: Path) -> None:
    federation.engine = f"local:{disk / 'engine'}"
    app = APPS / "numpy_fedavg"
    config = "num-server-rounds=4 size=400"  # 1.3 MB for each model
    server = federation.server(app, "--run-config", config)
    clients = [federation.client(name, app) for name in federation.names]
    until(lambda: any(p.process.poll() is not None for p in (server, *clients)), lambda: "nobody ran out of space")
    for peer in (server, *clients):
        peer.signal(signal.SIGTERM)
    codes = [peer.code() for peer in (server, *clients)]
    said = "".join(peer.said for peer in (server, *clients))
    assert codes[0] == 3, said
    assert "full" in said
    assert "start" in server.said  # the fix
    assert not federation.head("server").closed
    assert federation.half_written() == []

    subprocess.run(["mount", "-o", "remount,size=100m", str(disk)], check=True)
    server = federation.server(app, "--run-config", config)
    clients = [federation.client(name, app) for name in federation.names]
    assert [peer.code() for peer in (server, *clients)] == [0, 0, 0], server.said
    assert federation.audit()["verdict"] == "verified"


@pytest.mark.all
def test_a_block_that_is_not_its_cid_is_refused_until_it_is_fixed(federation: Federation, gate: Gate) -> None:
    server = federation.server(GATED, "--run-config", f'rounds=1 gate="{gate.folder}"')
    clients = [federation.client(name, GATED) for name in federation.names]
    for client in clients:
        client.wait_for("run-followed")
        client.signal(signal.SIGSTOP)
    gate.open("round-1")
    head = CID.parse(server.wait_for("dispatched")["head"])
    with federation.blocks() as engine:
        (content,) = set(contents(parse_record(Block(head, engine.get(head))), EngineBlocks(engine)))
    (file,) = (federation.root / "engine" / "blocks").rglob(str(content))
    good = file.read_bytes()
    replace_file(file, [good[:-1], bytes([good[-1] ^ 1])])
    for client in clients:
        client.signal(signal.SIGCONT)

    for client in clients:
        assert str(content) in client.wait_for("fetch-failed")["why"]
    assert federation.audit()["verdict"] == "failed"
    replace_file(file, [good])
    assert [peer.code() for peer in (server, *clients)] == [0, 0, 0], server.said
    assert federation.audit()["verdict"] == "verified"


@pytest.mark.all
def test_what_the_server_app_raised_comes_first_and_the_same_start_begins_another_run(federation: Federation) -> None:
    options = ("--run-config", "raises=true rounds=0", "--save-path", federation.root / "model.npz")
    runs = []
    for _ in range(2):
        server = federation.server(GATED, *options)
        assert server.code() == 4
        runs.append(server.json["run"])
        assert (server.json["outcome"], "the server app is broken" in server.json["reason"]) == ("raised", True)
    assert runs[0] != runs[1]
