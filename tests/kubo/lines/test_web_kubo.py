"""Members behind firewalls that let web traffic out alone: over WebSocket, a web server that ends TLS, and a web proxy.

Each member is on a host of its own (a network namespace), with a real firewall; nginx and the proxy are real, too.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from namespaces import Host, hosts, why_not
from web_server import NAME, PROXY_PORT, certificates, nginx, tinyproxy

_MISSING = [name for name in ("nginx", "tinyproxy") if shutil.which(name) is None]
pytestmark = [
    pytest.mark.kubo,
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "-"),
    pytest.mark.skipif(bool(_MISSING), reason=f"not installed: {', '.join(_MISSING)}"),
]


@dataclass(frozen=True)
class Member:
    """A home on a host."""

    host: Host
    home: Path
    variables: Mapping[str, str]

    def start(self, *words: str, stdin: str = "") -> subprocess.Popen[str]:
        """A ``peer`` command that runs on its host."""
        process = subprocess.Popen(
            self.host.command(sys.executable, "-P", "-m", "peer", *words, "--home", self.home),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={name: value for name, value in os.environ.items() if "PROXY" not in name.upper()} | self.variables,
        )
        assert process.stdin is not None
        process.stdin.write(stdin)
        process.stdin.close()
        process.stdin = None
        return process

    def peer(self, *words: str, stdin: str = "") -> tuple[int, str, str]:
        """Exit code, output and errors of a ``peer`` command."""
        process = self.start(*words, stdin=stdin)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err


_WEB = ("--listen", "ws://127.0.0.1:4002", "--announce", f"wss://{NAME}")
"""Behind nginx."""


@dataclass(frozen=True)
class Network:
    """A hospital whose node is behind nginx, a clinic, and a host for a web proxy."""

    hospital: Member
    clinic: Host
    proxy: Host
    authority: Path
    folder: Path

    def newcomer(self, name: str, **variables: str) -> Member:
        """A new home at the clinic."""
        return Member(self.clinic, self.folder / name, self.hospital.variables | variables)

    def let_in(self, newcomer: Member, *options: str, reach: Sequence[str] = _WEB) -> tuple[int, str, str]:
        """Invite somebody who then joins, with these ``options``. What ``peer join`` did. ``reach`` says how the
        inviter's node is reached."""
        called = newcomer.home.name
        inviting = self.hospital.start(
            "federation", "invite", "--name", called, "--role", "client", "--wait", "--json", *reach
        )
        try:
            assert inviting.stdout is not None
            text = json.loads(inviting.stdout.readline())["ticket"]
            return newcomer.peer("join", "-", "--no-passphrase", "--wait", "20", *options, stdin=text)
        finally:
            inviting.terminate()
            inviting.communicate()


@pytest.fixture(scope="module")
def network(ipfs_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    folder = tmp_path_factory.mktemp("web")
    authority, certificate, key = certificates(folder)
    variables = {
        "POLLEN_KUBO": str(ipfs_program),
        "PYTHONPATH": str(Path(__file__).parents[3]),
        "SSL_CERT_FILE": str(authority),
    }
    with ExitStack() as stack:
        at = stack.enter_context(hosts("hospital", "clinic", "proxy", known={"proxy": {NAME: "hospital"}}))
        stack.enter_context(nginx(at["hospital"], folder, certificate, key))
        hospital = Member(at["hospital"], folder / "hospital", variables)
        assert hospital.peer("keys", "init", "--name", "hospital-a", "--no-passphrase")[0] == 0
        assert hospital.peer("federation", "init", "trial")[0] == 0
        yield Network(hospital, at["clinic"], at["proxy"], authority, folder)


@pytest.mark.all  # that test has all of this, and a proxy
def test_a_member_joins_through_a_firewall_that_lets_port_443_out_alone(network: Network) -> None:
    network.clinic.lets_out_only(443)
    (Path("/etc/netns") / network.clinic.name / "hosts").write_text(f"{network.hospital.host.ip} {NAME}\n")
    code, _, err = network.let_in(network.newcomer("hospital-b"))
    assert code == 0, err


def test_a_member_joins_through_a_web_proxy_alone_and_without_any_name_server(network: Network) -> None:
    network.clinic.lets_out_only(PROXY_PORT)
    (Path("/etc/netns") / network.clinic.name / "hosts").write_text("127.0.0.1 localhost\n")
    with tinyproxy(network.proxy, network.folder) as log:
        proxy = f"http://{network.proxy.ip}:{PROXY_PORT}"
        code, _, err = network.let_in(network.newcomer("hospital-c", HTTPS_PROXY=proxy))
        assert code == 0, err
        assert f"CONNECT {NAME}:443" in log.read_text()


def test_a_newcomer_behind_a_firewall_is_told_that_its_own_side_is_in_the_way(network: Network) -> None:
    network.clinic.lets_out_only(4001)
    reach = ["--listen", f"{network.hospital.host.ip}:4001", "--announce", "none"]
    listen = ["--listen", f"{network.clinic.ip}:4005"]
    code, _, err = network.let_in(network.newcomer("hospital-d"), *listen, reach=reach)
    assert code == 0, err
    assert "a firewall or router on this side lets no TCP to port 4005 in" in err


@pytest.mark.all
def test_a_member_finds_the_others_by_the_manifest_after_their_addresses_have_changed(network: Network) -> None:
    hospital, clinic = network.hospital, network.newcomer("hospital-e")
    network.clinic.firewall("-F", "-P INPUT ACCEPT", "-P OUTPUT ACCEPT")
    here = hospital.host.ip
    code, _, err = network.let_in(clinic, reach=["--listen", "0.0.0.0:4001", "--announce", "none"])
    assert code == 0, err
    assert hospital.peer("federation", "bootstrap", "--add", f"{NAME}:4001")[0] == 0
    file = network.folder / "newer.federation"
    assert hospital.peer("federation", "export", str(file))[0] == 0
    assert clinic.peer("federation", "join", str(file))[0] == 0

    moved = here.rpartition(".")[0] + ".99"
    for words in (["del", f"{here}/24"], ["add", f"{moved}/24"]):
        subprocess.run(["ip", "-n", hospital.host.name, "addr", *words, "dev", "eth0"], check=True)
    (Path("/etc/netns") / network.clinic.name / "hosts").write_text(f"127.0.0.1 localhost\n{moved} {NAME}\n")
    daemons = [each.peer("doctor", "--start-daemon", "--json")[1] for each in (hospital, clinic)]
    try:
        code, out, _ = clinic.peer("doctor", "--json")
        found = {check["name"]: check for check in json.loads(out)["checks"]}
        assert found["reaching members"]["state"] == "ok", found["reaching members"]
        assert "1 of 1 nodes" in found["reaching members"]["what"]
    finally:
        for daemon in daemons:
            os.kill(json.loads(daemon)["daemon"], signal.SIGTERM)
