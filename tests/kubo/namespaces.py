"""Hosts of their own on one machine: network namespaces, joined by a bridge (ip-netns(8)). Only root can make them."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_NET = "10.77.0"


def why_not() -> str:
    """Why there can be none here; empty if there can."""
    if os.geteuid() != 0:
        return "only root can make network namespaces"
    missing = [name for name in ("ip", "iptables") if shutil.which(name) is None]
    return f"not installed: {', '.join(missing)}" if missing else ""


@dataclass(frozen=True)
class Host:
    """A network namespace with one address, and the hosts that it knows by name."""

    name: str
    ip: str

    def command(self, *words: str | Path) -> list[str]:
        """A command that runs on this host."""
        return ["ip", "netns", "exec", self.name, *map(str, words)]

    def firewall(self, *rules: str) -> None:
        """Rules for ``iptables``, each as a text."""
        for rule in rules:
            subprocess.run(self.command("iptables", *rule.split()), check=True)

    def dials_out_only(self) -> None:
        """Drop every connection from outside."""
        self.firewall("-A INPUT -i lo -j ACCEPT", "-A INPUT -m state --state ESTABLISHED -j ACCEPT", "-P INPUT DROP")

    def lets_out_only(self, port: int) -> None:
        """Drop whatever is not an outgoing connection to this TCP port."""
        self.firewall(
            "-F",
            "-A INPUT -i lo -j ACCEPT",
            "-A OUTPUT -o lo -j ACCEPT",
            "-A INPUT -m state --state ESTABLISHED -j ACCEPT",
            f"-A OUTPUT -p tcp --dport {port} -j ACCEPT",
            "-P INPUT DROP",
            "-P OUTPUT DROP",
        )


@contextlib.contextmanager
def hosts(*names: str, known: Mapping[str, Mapping[str, str]]) -> Iterator[dict[str, Host]]:
    """One host for each name. ``known`` says which names of others each of them can resolve: host names by name."""
    prefix = f"p{os.getpid()}"
    hub = f"{prefix}-hub"
    made = {name: Host(f"{prefix}-{name}", f"{_NET}.{number}") for number, name in enumerate(names, 1)}
    try:
        _ip("netns", "add", hub)
        _ip("-n", hub, "link", "add", "bridge", "type", "bridge")
        _ip("-n", hub, "link", "set", "bridge", "up")
        for number, (name, host) in enumerate(made.items()):
            _ip("netns", "add", host.name)
            _ip("-n", hub, "link", "add", f"to{number}", "type", "veth", "peer", "name", "eth0", "netns", host.name)
            _ip("-n", hub, "link", "set", f"to{number}", "master", "bridge", "up")
            _ip("-n", host.name, "addr", "add", f"{host.ip}/24", "dev", "eth0")
            _ip("-n", host.name, "link", "set", "eth0", "up")
            _ip("-n", host.name, "link", "set", "lo", "up")
            folder = Path("/etc/netns") / host.name  # `ip netns exec` shows these files in /etc
            folder.mkdir(parents=True)
            lines = [f"{made[at].ip} {called}" for called, at in known.get(name, {}).items()]
            (folder / "hosts").write_text("\n".join(["127.0.0.1 localhost", *lines, ""]))
            (folder / "resolv.conf").write_text("nameserver 127.0.0.1\n")
        yield made
    finally:
        for name in (hub, *(host.name for host in made.values())):
            subprocess.run(["ip", "netns", "del", name], stderr=subprocess.DEVNULL, check=False)
            shutil.rmtree(Path("/etc/netns") / name, ignore_errors=True)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)
