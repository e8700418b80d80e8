"""Whole machines that are killed in the middle of a large model: what had arrived is not sent again."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from federation import Federation, PeerProcess, until
from line import Line
from safetensors.numpy import load_file

from peer.engine.kubo.api import KuboApi
from peer.engine.kubo.node import running_at

pytestmark = [pytest.mark.kubo, pytest.mark.all]

LARGE: Final = Path(__file__).parents[1] / "large"
SIDE: Final = 3600
MODEL: Final = 8 * SIDE * SIDE
"""Bytes, of 104 MB."""

CHUNK: Final = 1 << 20
RATE: Final = 12e6
"""Bytes a second of the line between them."""

ON_ITS_WAY: Final = 16 * CHUNK
"""Bytes that may be lost with a machine: those in its queues, and those half here."""

COUNTED_EACH: Final = 3.0
"""A node counts the bytes that it got once a second (go-flow-metrics)."""


def received(home: Path) -> tuple[int, int]:
    """The blocks and the bytes that a home's node got from others since it was started."""
    address = running_at(home / "ipfs")
    if address is None:
        return 0, 0
    with contextlib.closing(KuboApi(address)) as api:
        moved = api.bitswap_received()
        assert moved is not None
        return int(api.said(api.call("bitswap/stat"))["BlocksReceived"]), moved


def chunks_in(home: Path) -> int:
    """How many whole chunks its node has on its disk."""
    return sum(file.stat().st_size >= CHUNK for file in (home / "ipfs" / "blocks").glob("*/*.data"))


@dataclass
class Sending:
    """A server whose model is on its way to a client, a third of it there."""

    federation: Federation
    line: Line
    port: int
    folder: Path

    def start_server(self) -> PeerProcess:
        listen = ("--listen", f"127.0.0.1:{self.port}", "--announce", self.line.address, "--announce-internal")
        config = f'side={SIDE} gate="{self.folder / "gate"}"'
        saved = ("--save-path", self.folder / "model.safetensors")
        return self.federation.server(LARGE, "--run-config", config, *listen, *saved, clients=1)

    def start_client(self) -> PeerProcess:
        nowhere = ("--listen", "127.0.0.1", "--announce", "127.0.0.1:1", "--announce-internal")
        return self.federation.client("one", LARGE, "", *nowhere)

    def begin(self) -> tuple[PeerProcess, PeerProcess]:
        server = self.start_server()
        self.federation.meet(server)
        client = self.start_client()
        until(lambda: received(self.client)[0] > MODEL // CHUNK // 3, lambda: f"no model comes:\n{client.said}")
        return server, client

    @property
    def client(self) -> Path:
        return self.federation.home("one").path

    def kill(self, peer: PeerProcess) -> None:
        """With all that it has started, its node among them."""
        home = str(self.federation.home(peer.name).path).encode()
        os.kill(peer.process.pid, signal.SIGSTOP)  # so that it starts nothing again
        for process in self.federation.orphans():
            with contextlib.suppress(OSError):
                if (
                    home
                    in Path(f"/proc/{process}/environ").read_bytes() + Path(f"/proc/{process}/cmdline").read_bytes()
                ):
                    os.kill(process, signal.SIGKILL)
        peer.kill()

    def arrived(self, client: PeerProcess) -> int:
        """The bytes that the client's node got from others since it was started, once the model is there."""
        until(lambda: chunks_in(self.client) == MODEL // CHUNK, lambda: f"the model never is whole:\n{client.said}")
        time.sleep(COUNTED_EACH)
        return received(self.client)[1]

    def comes_to_its_end(self, server: PeerProcess, client: PeerProcess) -> None:
        (self.folder / "gate").touch()
        assert [peer.code() for peer in (server, client)] == [0, 0], server.said
        trained = load_file(self.folder / "model.safetensors")["w"]
        np.testing.assert_allclose(trained, np.random.default_rng(1).random((SIDE, SIDE)) + 1, rtol=1e-12)


@pytest.fixture
def sending(ipfs_program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sending]:
    monkeypatch.setenv("POLLEN_KUBO", str(ipfs_program))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    federation = Federation(tmp_path / "homes", "kubo", encrypted=False)
    federation.add("one")
    with contextlib.closing(Line(port, RATE)) as line:
        yield Sending(federation, line, port, tmp_path)
        federation.end()


def test_a_client_killed_with_its_node_goes_on_with_the_model_where_it_was(sending: Sending) -> None:
    server, client = sending.begin()
    sending.kill(client)
    here = chunks_in(sending.client)
    assert MODEL // CHUNK // 4 < here < MODEL // CHUNK
    client = sending.start_client()
    moved = sending.arrived(client)
    assert MODEL - here * CHUNK - CHUNK < moved < MODEL - here * CHUNK + ON_ITS_WAY
    sending.comes_to_its_end(server, client)


def test_a_server_killed_with_its_node_sends_nothing_again_that_had_arrived(sending: Sending) -> None:
    server, client = sending.begin()
    sending.kill(server)
    assert chunks_in(sending.client) < MODEL // CHUNK
    server = sending.start_server()
    assert MODEL - CHUNK < sending.arrived(client) < MODEL + ON_ITS_WAY
    sending.comes_to_its_end(server, client)
