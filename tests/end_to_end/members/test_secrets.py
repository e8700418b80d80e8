"""Passphrases and secret keys are nowhere but in key files and in the memory of the process that uses them."""

from __future__ import annotations

import base64
import resource
from pathlib import Path

from federation import GATED, Federation, Gate

from peer.home.keystore import KeyStore
from peer.home.passphrase import Passphrases

PASSPHRASE = "a passphrase that is nowhere"
MEMBERS = ("server", "one", "two")


def locked(federation: Federation) -> dict[str, bytes]:
    """Lock every key. Returns what must not be found, by its name."""
    needles = {"the passphrase": PASSPHRASE.encode()}
    for name in MEMBERS:
        store = KeyStore(federation.home(name).path)
        opened = store.opened(name, Passphrases())
        identity = opened.identity
        store.replace(identity, PASSPHRASE, opened)
        for seed in (identity.signing.secret_bytes(), identity.decryption.secret_bytes()):
            needles |= spellings(name, seed)
    return needles


def spellings(name: str, secret: bytes) -> dict[str, bytes]:
    """The ways in which bytes may be written. Inside longer base64 they begin at any of three places."""
    encoded = [base64.b64encode(bytes(shift) + secret)[4:-4] for shift in range(3)]
    shown = {
        "raw": secret,
        "hex": secret.hex().encode(),
        "repr": repr(secret)[2:-1].encode(),
        **{f"base64 at {shift}": text for shift, text in enumerate(encoded)},
    }
    url_safe = {f"{how}, url-safe": text.translate(bytes.maketrans(b"+/", b"-_")) for how, text in shown.items()}
    return {f"a secret of {name}, {how}": text for how, text in {**shown, **url_safe}.items()}


def found(needles: dict[str, bytes], data: bytes) -> list[str]:
    return [what for what, needle in needles.items() if needle in data]


def processes(federation: Federation) -> dict[str, Path]:
    """The peers and their app processes, in ``/proc``."""
    peers = {f"{peer.name}, the peer": peer.process.pid for peer in federation.processes if peer.process.poll() is None}
    others = {f"an app process, {pid}": pid for pid in federation.orphans() if pid not in peers.values()}
    return {what: Path("/proc") / str(pid) for what, pid in (peers | others).items()}


def test_secrets_are_nowhere(federation: Federation, gate: Gate, tmp_path: Path) -> None:
    needles = locked(federation)
    given = tmp_path / "given"
    (given / "credentials").mkdir(parents=True)
    (given / "passphrase").write_text(PASSPHRASE)
    (given / "credentials" / "pollen-passphrase-one").write_text(PASSPHRASE)
    gate.open("round-1")
    server = federation.server(
        GATED, "--run-config", f'rounds=1 gate="{gate.folder}"', POLLEN_PASSPHRASE_FILE=str(given / "passphrase")
    )
    config = f'gate="{gate.folder}"'
    one = federation.client("one", GATED, config, CREDENTIALS_DIRECTORY=str(given / "credentials"))
    two = federation.client("two", GATED, config, POLLEN_PASSPHRASE=PASSPHRASE)
    for client in (one, two):
        client.wait_for("task-started")

    running = processes(federation)
    assert len(running) >= 6, running
    for what, process in running.items():
        assert found(needles, (process / "cmdline").read_bytes()) == [], what
        if what != "two, the peer":  # its owner put it there
            assert found(needles, (process / "environ").read_bytes()) == [], what
        if "peer" not in what:
            assert b"CREDENTIALS_DIRECTORY" not in (process / "environ").read_bytes()
    gate.open("train-1")
    assert [peer.code() for peer in (server, one, two)] == [0, 0, 0], server.said

    home = str(federation.home("server").path)
    failed = federation.run(
        "remove", "federation", "remove", "nobody", "-v", "--home", home, POLLEN_PASSPHRASE=PASSPHRASE
    )
    wrong = federation.run("passwd", "keys", "passwd", "-v", "--home", home, POLLEN_PASSPHRASE=PASSPHRASE + ".")
    assert (failed.code(), wrong.code()) == (2, 2)
    assert all("Traceback" in peer.said for peer in (failed, wrong))
    files = [path for path in tmp_path.rglob("*") if path.is_file() and given not in path.parents]
    assert any(path.suffix == ".key" for path in files)  # locked, they too show nothing
    assert [(path, what) for path in files for what in found(needles, path.read_bytes())] == []


def test_what_is_looked_for_would_be_found() -> None:
    secret = bytes(range(100, 132))
    for text in (
        secret,
        secret.hex().encode(),
        repr(secret).encode(),
        *(base64.b64encode(bytes(n) + secret) for n in range(3)),
    ):
        assert found(spellings("x", secret), b"..." + text + b"...")


def test_a_running_peer_may_write_no_core_file(federation: Federation) -> None:
    server = federation.server(GATED)
    server.wait_for("waiting-for-clients")
    assert resource.prlimit(server.process.pid, resource.RLIMIT_CORE) == (0, 0)
