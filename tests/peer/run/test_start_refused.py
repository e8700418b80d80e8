"""`peer start` with what it cannot use: the exit code, and the words that fix it."""

from __future__ import annotations

import re
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from command_line import Peer

from peer.base import installed_versions
from peer.base.errors import ExitCode
from peer.home.federations import FederationStore
from peer.home.home import Home
from peer.home.journal import Journal, RunHead
from protocol.blocks.cid import cbor_block
from protocol.records.bodies import Role

Peers = Callable[[str], Peer]
APPS = Path(__file__).parents[2] / "apps"


@pytest.fixture
def server(peers: Peers) -> Peer:
    """The founder of a federation."""
    founder = peers("server").named("server")
    assert founder("federation", "init", "trial", "--no-encrypt").code == ExitCode.DONE
    return founder


@pytest.fixture
def client(server: Peer, peers: Peers, tmp_path: Path) -> Peer:
    """A client that has joined it."""
    member = peers("client").named("client")
    file = tmp_path / "trial.federation"
    engine = f"local:{tmp_path / 'engine'}"
    assert (
        server("federation", "add", member.key_for(server), "--name", "client", "--role", "client").code
        == ExitCode.DONE
    )
    assert server("federation", "export", file, "--ipfs", engine).code == ExitCode.DONE
    assert member("federation", "join", file).code == ExitCode.DONE
    return member


def refuse(peer: Peer, code: ExitCode, *words: str, options: list[str]) -> None:
    """Start it, and look for the exit code and for what names the fix."""
    outcome = peer("start", *options)
    assert (outcome.code, outcome.out) == (code, ""), outcome.err
    for word in words:
        assert word in outcome.err
    assert re.search("fix: .", outcome.err)
    with Home(peer.home).lock():
        """What was refused holds nothing."""


def test_the_built_in_app_without_torch_names_the_extra(
    server: Peer, client: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installed_versions, "find_spec", lambda name: None)
    refuse(server, ExitCode.UNFINISHED, "needs torch", "pip install 'pollen-fl[torch]'", options=["--role", "server"])
    trains = ["--role", "client", "--ipfs", f"local:{client.home}/engine", "--data-dir", "/tmp"]
    trains += ["--node-config", "partition-id=0 num-partitions=2"]
    refuse(client, ExitCode.UNFINISHED, "needs torch", "pip install 'pollen-fl[torch]'", options=trains)


def test_without_an_ipfs_program_both_ways_out_are_named(
    server: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    options = ["--role", "server", "--ipfs", "kubo"]
    refuse(server, ExitCode.UNFINISHED, "no ipfs program", "install-kubo", "--ipfs local:DIR", options=options)


def test_a_node_that_is_not_running_names_what_starts_it(server: Peer) -> None:
    with unanswered_port() as port:
        options = ["--role", "server", "--ipfs", f"http://127.0.0.1:{port}"]
        refuse(server, ExitCode.UNFINISHED, str(port), "peer doctor --start-daemon", options=options)


def test_what_is_no_engine_names_those_there_are(server: Peer) -> None:
    options = ["--role", "server", "--ipfs", "ftp://nowhere"]
    refuse(server, ExitCode.WRONG_USE, "ftp://nowhere", "--ipfs local:DIR", options=options)


@pytest.mark.parametrize("address", ["http://127.0.0.1:65536", "http://127.0.0.1?a=b", "unix:here.sock"])
def test_what_is_no_address_of_a_node_is_wrong_use(server: Peer, address: str) -> None:
    refuse(server, ExitCode.WRONG_USE, "http://127.0.0.1:5001", options=["--role", "server", "--ipfs", address])


def test_a_start_shows_no_credentials_of_a_node(server: Peer) -> None:
    with unanswered_port() as port:
        address = f"http://alice:s3cret@127.0.0.1:{port}"
        outcome = server("start", "--role", "server", "--ipfs", address, "-v")
    assert f"over http://127.0.0.1:{port}" in outcome.err
    assert "s3cret" not in outcome.out + outcome.err


def test_a_wrong_passphrase_is_wrong_use(server: Peer, tmp_path: Path) -> None:
    (tmp_path / "right").write_text("right")
    (tmp_path / "wrong").write_text("wrong")
    made = server("keys", "init", "--name", "locked", "--passphrase-file", tmp_path / "right")
    assert made.code == ExitCode.DONE, made.err
    options = ["--role", "server", "--identity", "locked", "--passphrase-file", str(tmp_path / "wrong")]
    refuse(server, ExitCode.WRONG_USE, "passphrase", options=options)


@pytest.mark.parametrize("spoil", [lambda data: data[:40], lambda data: data[:-9] + b"?" + data[-8:]])
def test_a_damaged_key_file_is_wrong_use(server: Peer, spoil: Callable[[bytes], bytes]) -> None:
    file = server.home / "keys" / "server.key"
    file.write_bytes(spoil(file.read_bytes()))
    refuse(server, ExitCode.WRONG_USE, "server", options=["--role", "server"])


def test_an_identity_outside_the_federation_is_told_how_to_be_added(server: Peer) -> None:
    assert server("keys", "init", "--name", "stranger", "--no-passphrase").code == ExitCode.DONE
    options = ["--role", "server", "--identity", "stranger"]
    refuse(server, ExitCode.WRONG_USE, "not in the federation trial", "peer federation add", options=options)


def test_a_member_in_the_wrong_role_is_told_its_own(client: Peer) -> None:
    refuse(client, ExitCode.WRONG_USE, "client is client", "--role client", options=["--role", "server"])


@pytest.mark.parametrize(
    ("option", "known"), [("--dataset", "digits"), ("--model", "custom_cnn"), ("--strategy", "fedavg")]
)
def test_an_unknown_name_lists_those_that_are_known(option: str, known: str, server: Peer) -> None:
    outcome = server("start", "--role", "server", option, "nonsense")
    assert outcome.code == ExitCode.WRONG_USE
    assert "nonsense" in outcome.err
    assert known in outcome.err


def test_absent_data_says_where_it_was_looked_for(
    client: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No network, at once; a proxy in the environment would stay in urllib's shared opener after this test.
    monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", ["http://127.0.0.1:9/"])
    options = ["--role", "client", "--dataset", "mnist", "--data-dir", str(tmp_path / "data")]
    options += ["--node-config", "partition-id=0 num-partitions=1", "--ipfs", f"local:{tmp_path / 'engine'}"]
    outcome = client("start", *options)
    assert outcome.code == ExitCode.UNFINISHED
    assert str(tmp_path / "data") in outcome.err
    assert "--data-dir" in outcome.err


def test_a_folder_that_is_no_app_is_wrong_use(server: Peer, tmp_path: Path) -> None:
    options = ["--role", "server", "--app", str(tmp_path), "--ipfs", f"local:{tmp_path / 'engine'}"]
    refuse(server, ExitCode.WRONG_USE, "pyproject.toml", "--app DIR", options=options)


def test_a_second_peer_in_one_home_is_told_of_the_first(server: Peer, tmp_path: Path) -> None:
    with Home(server.home).lock():
        options = ["--role", "server", "--ipfs", f"local:{tmp_path / 'engine'}"]
        outcome = server("start", *options)
    assert outcome.code == ExitCode.WRONG_USE
    assert "another peer" in outcome.err
    assert "--home DIR" in outcome.err


def test_a_setting_that_the_app_does_not_have_is_wrong_use(server: Peer, tmp_path: Path) -> None:
    shutil.copytree(APPS / "numpy_fedavg", tmp_path / "app")
    options = ["--role", "server", "--app", str(tmp_path / "app"), "--ipfs", f"local:{tmp_path / 'engine'}"]
    outcome = server("start", *options, "--run-config", "nonsense=1")
    assert outcome.code == ExitCode.WRONG_USE
    assert "nonsense" in outcome.err


def test_an_app_whose_settings_are_no_section_is_wrong_use(server: Peer, tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "pyproject.toml").write_text("tool = 3\n")
    options = ["--role", "server", "--app", str(tmp_path / "app"), "--ipfs", f"local:{tmp_path / 'engine'}"]
    refuse(server, ExitCode.WRONG_USE, "tool in pyproject.toml is 3", "[tool.flwr.app]", options=options)


def test_another_app_begins_with_no_model_of_ours(server: Peer) -> None:
    options = ["--role", "server", "--app", str(APPS / "numpy_fedavg"), "--initial-model", "m.npz"]
    refuse(server, ExitCode.WRONG_USE, "is for the built-in app", "peer model HEAD -o FILE", options=options)


def test_a_client_begins_with_what_it_is_sent(client: Peer) -> None:
    options = ["--role", "client", "--initial-model", "m.npz"]
    refuse(client, ExitCode.WRONG_USE, "give --initial-model to the server", options=options)


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("nowhere.npz", "No such file"),
        ("nonsense", "not the name of a .safetensors, .npz or .pt file, and this home has no run yet"),
        ("broken.npz", "no sound .npz file"),
    ],
)
def test_what_is_no_initial_model_is_told(named: str, words: str, server: Peer, tmp_path: Path) -> None:
    (tmp_path / "broken.npz").write_bytes(b"PK broken")
    model = str(tmp_path / named) if named.endswith(".npz") else named
    options = ["--role", "server", "--initial-model", model, "--ipfs", f"local:{tmp_path / 'engine'}"]
    refuse(server, ExitCode.WRONG_USE, words, options=options)


def test_a_run_that_has_the_initial_model_is_named_as_people_are_shown_it(server: Peer, tmp_path: Path) -> None:
    run, head = cbor_block("run").cid, cbor_block("head").cid
    home = Home(server.home)
    with Journal(home.journal) as journal:
        federation = FederationStore(home).current().id
        journal.keep_head(RunHead(run, federation, head, 1, 1, True, Role.SERVER, "", 1.0))
    options = ["--role", "server", "--initial-model", run.label, "--ipfs", f"local:{tmp_path / 'engine'}"]
    refuse(server, ExitCode.UNFINISHED, f"record {head.label} cannot be found", options=options)


@contextmanager
def unanswered_port() -> Iterator[int]:
    """A port that is taken, and at which nobody answers."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [("--admission", "everything", "is no check"), ("--max-update-norm", "3y", "is no bound")],
)
def test_checks_that_there_are_not_are_named(server: Peer, option: str, value: str, words: str) -> None:
    refuse(server, ExitCode.WRONG_USE, words, "--admission all", "3x", options=["--role", "server", option, value])


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("absent/m.safetensors", ("there is no folder", "mkdir -p")),
        ("m.bin", ("ends in none of", "FILE.npz")),
        ("folder.npz", ("it is not a file", "another file")),
        ("m" * 250 + ".npz", ("cannot be written", "a folder that you may write to")),
    ],
)
def test_a_final_model_that_cannot_be_written_is_refused_before_the_run(
    server: Peer, tmp_path: Path, file: str, words: tuple[str, str]
) -> None:
    (tmp_path / "folder.npz").mkdir()
    options = ["--role", "server", "--ipfs", f"local:{tmp_path / 'engine'}", "--save-path", str(tmp_path / file)]
    refuse(server, ExitCode.WRONG_USE, "--save-path", *words, options=options)
    assert not (tmp_path / "engine").exists()


def test_a_folder_to_work_in_that_is_not_there_is_refused(client: Peer, tmp_path: Path) -> None:
    options = ["--role", "client", "--ipfs", f"local:{tmp_path / 'engine'}", "--work-dir", str(tmp_path / "absent")]
    refuse(client, ExitCode.WRONG_USE, "absent: it is not a folder", "mkdir -p", options=options)


def test_an_apps_log_that_cannot_be_written_is_said_before_the_run(client: Peer, tmp_path: Path) -> None:
    (client.home / "logs" / "app-client.log").mkdir(parents=True)
    options = ["--role", "client", "--ipfs", f"local:{tmp_path / 'engine'}", "--app", str(APPS / "numpy_fedavg")]
    refuse(client, ExitCode.WRONG_USE, "log", "cannot be written", options=options)


def test_a_server_does_not_begin_a_run_for_which_the_federation_has_too_few_witnesses(
    server: Peer, tmp_path: Path
) -> None:
    leads = ["--role", "server", "--app", str(APPS / "cheating"), "--ipfs", f"local:{tmp_path / 'engine'}"]
    words = "recomputed", "has 0 of them", "peer federation invite --name NAME --role server"
    refuse(server, ExitCode.WRONG_USE, *words, options=[*leads, "--witnesses", "1"])
