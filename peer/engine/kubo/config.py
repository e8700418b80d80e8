"""The repository and configuration of a managed, private Kubo node.

Every switch is from Kubo's ``docs/config.md`` and ``docs/environment-variables.md`` (version 0.43).
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Final

from peer.engine.disk_errors import translated
from peer.engine.interface import EngineError
from peer.engine.kubo.reach import Reach
from peer.home.home import PRIVATE_FOLDER, replace_file
from peer.home.passphrase import without_passphrases

SENT_AT_ONCE: Final = 64 << 10
"""Bytes of a block that a node sends to whoever asks whether it has it: one more message would take 20 ms more. Several
may have it, and each sends it then."""

SWARM_KEY: Final = "swarm.key"
"""The file, in a repository, that puts the node into a private network: there is one, so a node is in one network."""


def environment(repository: Path) -> dict[str, str]:
    """What the ``ipfs`` program is started with: the repository, no node without the swarm key, no telemetry."""
    kept = {
        name: value
        for name, value in without_passphrases(os.environ).items()
        if not name.startswith(("IPFS_", "LIBP2P_"))
    }
    return kept | {
        "IPFS_PATH": str(repository),
        "LIBP2P_FORCE_PNET": "1",
        "LIBP2P_TCP_MUX": "false",  # in a private network, TCP and WebSocket cannot share a port
        "IPFS_TELEMETRY": "off",
        "DO_NOT_TRACK": "1",
    }


def run_ipfs(program: Path, repository: Path, *command: str) -> str | None:
    """Run a command of the ``ipfs`` program to its end. Returns its last words if it failed, otherwise None."""
    done = subprocess.run(
        [str(program), *command],
        env=environment(repository),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return "".join((done.stderr or done.stdout).strip().splitlines()[-1:]) if done.returncode else None


def swarm_key_text(swarm_key: bytes) -> bytes:
    """What the file with a swarm key holds, as Kubo reads it."""
    return f"/key/swarm/psk/1.0.0/\n/base16/\n{swarm_key.hex()}\n".encode()


def prepare(program: Path, repository: Path, swarm_key: bytes) -> None:
    """Make the repository if there is none, and put the swarm key in.

    Raises:
        EngineError: if ``ipfs init`` fails, and as `translated` says.
    """
    with translated(repository):
        repository.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)
        repository.chmod(PRIVATE_FOLDER)
        key, text = repository / SWARM_KEY, swarm_key_text(swarm_key)
        if not key.is_file() or key.read_bytes() != text:
            replace_file(key, [text])
        if (repository / "config").is_file():
            return
        if (failure := run_ipfs(program, repository, "init", "--empty-repo")) is not None:
            raise EngineError(f"ipfs init failed: {failure}", f"rm -r {repository}")


def configure(repository: Path, reach: Reach, *, swarm_port: int, api: str) -> None:
    """Make the node private. It is reached as ``reach`` says, at ``swarm_port`` if that names no port, and it listens
    for RPC calls at the multiaddr ``api``.

    Raises:
        EngineError: if the file is not a configuration, and as `translated` says.
    """
    config = read_config(repository)
    try:
        _overlay(config, _private(config["Datastore"]["Spec"], reach, swarm_port, api))
    except (KeyError, TypeError) as error:
        raise broken(repository, error) from error
    write_config(repository, config)


def earlier_port(repository: Path) -> int:
    """The TCP port of the swarm, as this node was last configured; 0 if it never was."""
    config = read_config(repository)
    try:
        if config["AutoConf"].get("Enabled", True):
            return 0  # ``ipfs init`` wrote it: the same port for every node
        plain = (each for each in config["Addresses"]["Swarm"] if not each.endswith("/ws"))
        return int(next(plain, "/ip4//tcp/0").split("/")[4])
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise broken(repository, error) from error


def read_config(repository: Path) -> dict[str, Any]:
    """The configuration, as Kubo's ``docs/config.md`` describes it.

    Raises:
        EngineError: if the file is not a configuration, and as `translated` says.
    """
    with translated(repository):
        text = (repository / "config").read_bytes()
    try:
        config = json.loads(text)
    except ValueError as error:
        raise broken(repository, error) from error
    if not isinstance(config, dict):
        raise broken(repository, TypeError(f"a {type(config).__name__}"))
    return config


def write_config(repository: Path, config: dict[str, Any]) -> None:
    """Replace the configuration."""
    with translated(repository):
        replace_file(repository / "config", [json.dumps(config, indent=2).encode()])


def broken(repository: Path, error: Exception) -> EngineError:
    """The error for a file that is not a configuration."""
    return EngineError(f"{repository / 'config'} is no Kubo configuration: {error!r}", f"rm -r {repository}")


def _overlay(config: dict[str, Any], changes: dict[str, Any]) -> None:
    """Set what ``changes`` names, in place, and leave the rest of each section as it is."""
    for name, value in changes.items():
        if isinstance(value, dict) and value and isinstance(config.get(name), dict):
            _overlay(config[name], value)
        else:
            config[name] = value


def _private(spec: dict[str, Any], reach: Reach, swarm_port: int, api: str) -> dict[str, Any]:
    announced = [address.text for address in reach.announce]
    return {
        "Addresses": {
            "API": api,
            "Gateway": [],
            # TCP and WebSocket: libp2p has private networks over no other transport.
            "Swarm": [listen.multiaddr(swarm_port) for listen in reach.listen],
            "Announce": [] if reach.internal else announced,
            "AppendAnnounce": announced if reach.internal else [],
        },
        # Kubo refuses to start with "auto" anywhere once AutoConf is off.
        "AutoConf": {"Enabled": False},
        "AutoNAT": {"ServiceMode": "disabled"},
        "AutoTLS": {"Enabled": False, "AutoWSS": False},
        "Bootstrap": [],
        "DNS": {"Resolvers": {}},
        # It remembers no block that it has not: chunks come as files (`peer.engine.kubo.contents.node_files`). So it
        # looks, at each block that it is given, too, in place of writing again what it has.
        "Datastore": {"Spec": _synced(spec), "BlockKeyCacheSize": 0, "WriteThrough": False},
        "Discovery": {"MDNS": {"Enabled": False}},
        # Members ask each other for what pubsub did not carry (`peer.engine.kubo.streams`).
        "Experimental": {"Libp2pStreamMounting": True},
        "HTTPRetrieval": {"Enabled": False},
        # Without a DHT, asking every connected member is how a block is found; and contents are blocks of 1 MiB.
        "Internal": {
            "Bitswap": {
                "BroadcastControl": {"Enable": False},
                "MaxOutstandingBytesPerPeer": 8 << 20,
                "WantHaveReplaceSize": SENT_AT_ONCE,
            },
        },
        "Ipns": {"DelegatedPublishers": []},
        "Plugins": {"Plugins": {"telemetry": {"Disabled": True, "Config": {"Mode": "off"}}}},
        "Provide": {"Enabled": False},
        "Pubsub": {"Enabled": True},
        "Routing": {"Type": "none", "DelegatedRouters": []},
        "Swarm": {
            "DisableNatPortMap": True,
            "EnableHolePunching": False,
            "RelayClient": {"Enabled": False},
            "RelayService": {"Enabled": False},
            "Transports": {
                "Network": {
                    "QUIC": False,
                    "Relay": False,
                    "WebRTCDirect": False,
                    "WebTransport": False,
                    "Websocket": True,
                }
            },
            # The members are few and known: never drop one to keep the number of connections down.
            "ConnMgr": {"Type": "none"},
        },
        "Version": {"SwarmCheckEnabled": False},
    }


def _synced(spec: dict[str, Any]) -> dict[str, Any]:
    """The datastore with ``sync`` on. By default Kubo answers before a block is on disk."""
    mounts = [mount | {"sync": True} if mount.get("type") == "flatfs" else mount for mount in spec["mounts"]]
    return spec | {"mounts": mounts}
