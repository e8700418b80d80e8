"""The managed node: private, in order after a crash, and never left behind."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from peer.engine import open_engine
from peer.engine.interface import EngineError, EngineUnavailable
from peer.engine.kubo.config import environment
from peer.engine.kubo.node import KuboNode, _port_for
from peer.engine.kubo.reach import AskedReach, Reach
from protocol.blocks.cid import cbor_block, raw_block

pytestmark = [pytest.mark.kubo, pytest.mark.usefixtures("ipfs_program")]

KEY = bytes(range(32))
SOON = 60.0


@pytest.fixture
def node(tmp_path: Path) -> Iterator[KuboNode]:
    """A node that is not started yet. It is stopped whatever happens."""
    node = KuboNode(tmp_path, KEY)
    yield node
    node.stop()


def ask(program: Path, node: KuboNode, *args: str) -> str:
    """What the plain ``ipfs`` program prints."""
    done = subprocess.run(
        [program, *args], env=environment(node.repository), capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


def daemon_pid(node: KuboNode) -> int:
    assert node._daemon is not None
    return node._daemon.pid


def has_ended(pid: int) -> bool:
    """Whether the process is gone. A zombie counts as gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def listening_ports(pid: int) -> set[int]:
    """The TCP ports of IPv4 on which the process listens."""
    held = set()
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the process closed it meanwhile
            held.add(os.readlink(file))
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    return {int(row[1].split(":")[1], 16) for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in held}


def test_a_node_is_private(node: KuboNode, ipfs_program: Path) -> None:
    node.start()
    config = json.loads(ask(ipfs_program, node, "config", "show"))
    assert config["Bootstrap"] == []
    assert config["Discovery"]["MDNS"]["Enabled"] is False
    assert config["Routing"]["Type"] == "none"
    assert config["AutoConf"]["Enabled"] is False
    assert config["AutoTLS"]["Enabled"] is False
    assert config["Plugins"]["Plugins"]["telemetry"]["Disabled"] is True
    assert config["Datastore"]["Spec"]["mounts"][0]["sync"] is True
    assert "auto" not in json.dumps([config[name] for name in ("Bootstrap", "DNS", "Routing", "Ipns")])
    assert "private network" in node.log.read_text()
    assert "ERROR" not in node.log.read_text()


def test_a_node_listens_on_loopback_alone(node: KuboNode, ipfs_program: Path) -> None:
    node.start()
    listening = ask(ipfs_program, node, "swarm", "addrs", "listen").split()
    assert all(address.startswith("/ip4/127.0.0.1/tcp/") for address in listening)
    assert listening_ports(daemon_pid(node)) == {int(address.split("/")[4]) for address in listening}


def test_secrets_are_for_their_owner_alone(node: KuboNode) -> None:
    node.start()
    for name in (".", "config", "swarm.key", "api", "api.sock", "daemon.log"):
        assert (node.repository / name).stat().st_mode & 0o077 == 0, name


def test_a_repository_that_was_open_to_others_is_closed_at_the_start(node: KuboNode) -> None:
    node.repository.mkdir(mode=0o755)
    node.start()
    assert node.repository.stat().st_mode & 0o077 == 0


CONNECT = """
import socket, sys
with socket.socket(socket.AF_UNIX) as wire:
    wire.connect(sys.argv[1])
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can act as another user")
def test_another_user_of_the_machine_cannot_use_the_node(ipfs_program: Path) -> None:
    """Not even if the home is open to all."""
    home = Path(tempfile.mkdtemp())
    try:
        home.chmod(0o755)
        with KuboNode(home, KEY) as node:
            connect = ["/usr/bin/env", "python3", "-c", CONNECT, node.api.removeprefix("unix:")]
            ours = subprocess.run(connect, capture_output=True, text=True, cwd="/")
            theirs = subprocess.run(connect, capture_output=True, text=True, cwd="/", user=65534, group=65534)
            assert ours.returncode == 0, ours.stderr
            assert "PermissionError" in theirs.stderr
    finally:
        shutil.rmtree(home)


@pytest.fixture(params=["long" * 25, "Capital", "a+b 100%"], ids=["long", "capitals", "quoted"])
def deep(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A home whose path a socket cannot have."""
    home = tmp_path / str(request.param)
    home.mkdir()
    return home


def test_a_home_whose_path_a_socket_cannot_have_has_its_socket_in_a_folder_of_its_owner_alone(deep: Path) -> None:
    node = KuboNode(deep, KEY)
    with node:
        socket_file = Path(node.api.removeprefix("unix:"))
        assert not socket_file.is_relative_to(deep)
        assert socket_file.parent.stat().st_mode & 0o077 == 0
        assert open_engine(node.api).status().pubsub
    with node:
        assert node.api == f"unix:{socket_file}"


def test_a_folder_for_the_socket_that_others_may_enter_is_not_used(deep: Path) -> None:
    node = KuboNode(deep, KEY)
    with node:
        folder = Path(node.api.removeprefix("unix:")).parent
    folder.chmod(0o755)
    with pytest.raises(EngineError, match="is not only yours"):
        node.start()


def test_nodes_with_different_swarm_keys_do_not_connect(tmp_path: Path) -> None:
    with KuboNode(tmp_path / "a", KEY) as ours, KuboNode(tmp_path / "b", KEY[::-1]) as stranger:
        one, two = open_engine(ours.api), open_engine(stranger.api)
        one.connect(two.addresses())
        assert one.status().peers == 0
        one.close()
        two.close()


def test_started_again_a_node_has_its_name_its_addresses_and_its_blocks(node: KuboNode) -> None:
    block = raw_block(b"kept")
    node.start()
    engine = open_engine(node.api)
    engine.put([block], pin=[block.cid])
    before = (node.api, engine.addresses(), engine.status().identity)
    node.stop()
    node.start()
    assert (node.api, engine.addresses(), engine.status().identity) == before
    assert engine.get(block.cid) == b"kept"
    engine.close()


def test_a_node_whose_pins_are_not_whole_starts_and_deletes_nothing(
    node: KuboNode, caplog: pytest.LogCaptureFixture
) -> None:
    junk, leaf = raw_block(b"junk"), cbor_block({"leaf": True})
    root = cbor_block({"links": [leaf.cid]})
    node.start()
    engine = open_engine(node.api)
    engine.put([junk])
    engine.put_content(root.cid, [root, leaf])
    node.stop()
    (lost,) = [path for path in (node.repository / "blocks").rglob("*.data") if path.read_bytes() == leaf.data]
    lost.unlink()
    node.start(collect=True)
    assert "what nobody pinned is not deleted" in caplog.text
    assert engine.has(junk.cid)
    engine.close()


def test_starting_and_stopping_twice_are_harmless(node: KuboNode) -> None:
    node.start()
    pid = daemon_pid(node)
    node.start()
    assert daemon_pid(node) == pid
    node.stop()
    node.stop()
    assert has_ended(pid)
    with pytest.raises(EngineUnavailable, match="not started"):
        _ = node.api


def test_a_node_whose_daemon_was_killed_starts_again(node: KuboNode) -> None:
    node.start()
    os.kill(daemon_pid(node), signal.SIGKILL)
    node.stop()
    assert (node.repository / "repo.lock").exists()
    node.start()
    assert open_engine(node.api).status().pubsub


OWNER = """
import sys, time
from pathlib import Path
from peer.engine.kubo.node import KuboNode
node = KuboNode(Path(sys.argv[1]), bytes(range(32)))
node.start()
print(node._daemon.pid, flush=True)
time.sleep(600)
"""


def test_when_its_owner_is_killed_the_daemon_ends_and_the_next_start_waits_for_that(
    node: KuboNode, tmp_path: Path
) -> None:
    with subprocess.Popen([sys.executable, "-c", OWNER, tmp_path], stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        owner.kill()
    node.start()
    assert has_ended(pid)
    assert open_engine(node.api).status().pubsub


def test_a_repository_in_use_is_an_error(node: KuboNode, tmp_path: Path) -> None:
    node.start()
    with pytest.raises(EngineError, match="another Kubo uses"):
        KuboNode(tmp_path, KEY).start(timeout=0.3)
    assert node.is_running


def test_an_address_that_is_not_this_machines_is_named(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"cannot listen on 192\.0\.2\.1 for other Kubo nodes: Cannot") as refused:
        KuboNode(tmp_path, KEY, AskedReach.parse(["192.0.2.1"], [], None).over(Reach())).start()
    assert "--listen" in refused.value.fix


def test_a_port_that_was_chosen_and_is_taken_now_is_chosen_anew(node: KuboNode) -> None:
    node.start()
    (port,) = listening_ports(daemon_pid(node))
    node.stop()
    with socket.create_server(("127.0.0.1", port)):
        node.start()
        assert listening_ports(daemon_pid(node)) - {port}


def test_a_port_that_is_taken_while_the_node_starts_is_chosen_anew(
    node: KuboNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        looked = [port, _port_for(Reach().listen, 0)]
        monkeypatch.setattr("peer.engine.kubo.node._port_for", lambda _listens, _before: looked.pop(0))
        node.start()
        assert listening_ports(daemon_pid(node)) - {port}


def test_what_a_failing_node_said_last_is_in_the_error(node: KuboNode) -> None:
    node.start()
    node.stop()
    (node.repository / "version").write_text("999\n")
    with pytest.raises(EngineUnavailable, match=r"ended as it started; it said: .*999") as raised:
        node.start()
    assert str(node.log) in raised.value.fix
    assert not node.is_running


def test_a_spoilt_configuration_is_named(node: KuboNode) -> None:
    node.start()
    node.stop()
    (node.repository / "config").write_text("{")
    with pytest.raises(EngineError, match="is no Kubo configuration") as raised:
        node.start()
    assert str(node.repository) in raised.value.fix


def test_the_node_of_a_thread_that_has_ended_lives_on(node: KuboNode) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        pool.submit(node.start).result()
    deadline = time.monotonic() + 1.0
    while time.monotonic() < deadline:
        assert node.is_running
        time.sleep(0.1)


def copied(home: Path, copy: Path) -> KuboNode:
    """The node of a copy of a home, made as people make it, the node's files as they are."""
    subprocess.run(["cp", "-r", home, copy], check=True)
    return KuboNode(copy, KEY)


def test_a_home_that_was_moved_keeps_its_nodes_name(tmp_path: Path) -> None:
    with KuboNode(tmp_path / "home", KEY) as node:
        before = open_engine(node.api).status().identity
    (tmp_path / "home").rename(tmp_path / "moved")
    with KuboNode(tmp_path / "moved", KEY) as node:
        assert open_engine(node.api).status().identity == before


def test_the_copy_of_a_running_node_has_its_blocks_and_pins_and_a_name_of_its_own(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    leaf = cbor_block({"leaf": True})
    root = cbor_block({"links": [leaf.cid]})
    with KuboNode(tmp_path / "home", KEY) as node:
        original = open_engine(node.api)
        original.put_content(root.cid, [root, leaf])
        with copied(tmp_path / "home", tmp_path / "copy") as other:
            copy = open_engine(other.api)
            assert other.api != node.api
            assert copy.status().identity != original.status().identity
            assert copy.status().peers == 1, "it has not called the one that it is a copy of"
            assert list(copy.read_content(root.cid)) == [root, leaf]
            copy.unpin(root.cid)  # refused, were it not pinned
            name = copy.status().identity
        assert caplog.messages.count("node-has-a-new-peer-id") == 1
        with KuboNode(tmp_path / "copy", KEY) as other:
            assert open_engine(other.api).status().identity == name


def test_a_node_that_was_put_back_is_found_at_the_address_that_it_had(tmp_path: Path) -> None:
    """What tickets and federation files say stays true."""
    with KuboNode(tmp_path / "home", KEY) as node:
        (address,) = open_engine(node.api).addresses()
    copied(tmp_path / "home", tmp_path / "backup")
    shutil.rmtree(tmp_path / "home")
    with copied(tmp_path / "backup", tmp_path / "home") as node, KuboNode(tmp_path / "other", KEY) as member:
        (now,) = open_engine(node.api).addresses()
        assert now != address
        assert now.split("/p2p/")[0] == address.split("/p2p/")[0]
        other = open_engine(member.api)
        for _ in range(2):  # each look at who is connected names it again
            other.connect([address])
            assert other.status().peers == 1
