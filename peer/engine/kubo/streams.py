"""Asking other nodes over libp2p streams, which Kubo mounts on local ports (``ipfs p2p``,
https://github.com/ipfs/kubo/blob/v0.43.0/docs/p2p-tunnels.md). They reach nodes that pubsub does not reach.

Kubo connects to a port of ours for each node that asks, and opens a port for each time that we ask. Other users of the
machine can use both. So nothing secret goes in the clear, and nothing is believed only because it came this way.
"""

from __future__ import annotations

import logging
import math
import re
import socket
import struct
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from typing import Final

import httpx

from peer.base.sockets import shut_down
from peer.engine.interface import AskingOff, EngineError, Unanswered
from peer.engine.kubo.api import KuboApi, KuboRefused, KuboSilent, KuboTimeout
from peer.engine.kubo.dial_errors import outcome_of, outcome_through_proxy
from peer.engine.kubo.pubsub import forget_highest
from peer.engine.kubo.standing_call import StandingCall
from peer.engine.kubo.web_proxy import dialled
from protocol.wire.asking import MAX_MESSAGE
from protocol.wire.calling_back import Call

_LOOPBACK: Final = "127.0.0.1"
_PREFIX: Final = "/x/"
"""How the names of protocols that Kubo mounts begin."""
_PORT: Final = re.compile(rf"/ip4/{re.escape(_LOOPBACK)}/tcp/([0-9]{{1,5}})")
"""Where Kubo connects the nodes that ask us."""

_AT_ONCE: Final = 8
_WAITING: Final = 32
"""How many nodes are answered at the same time, and how many may wait. We hang up on all others."""

_SECONDS: Final = 10.0
"""Seconds that a node has to ask its question, and to take the answer."""

_DIAL_SECONDS: Final = 10.0

_LONGEST_NAME: Final = 128
"""Bytes of a node's name at most. Kubo says the name first."""

_REMEMBERED: Final = 1024
"""For how many nodes we remember when we heard them."""

_LENGTH: Final = struct.Struct(">I")

_log = logging.getLogger(__name__)

Answering = Callable[[str, bytes], bytes | None]
"""The answer to a node's question; None if there is none. The node's name comes from Kubo, or from another user of this
machine."""


class KuboStreams:
    """Asks and answers through one node. Safe from several threads."""

    def __init__(self, api: KuboApi, *, managed: bool) -> None:
        self._api = api
        self._managed = managed
        self._heard: OrderedDict[str, float] = OrderedDict()
        self._lock = threading.Lock()

    @cached_property
    def own_name(self) -> str:
        return self._api.identity()[0]

    def nodes(self) -> tuple[str, ...]:
        """A node of the user's may be another peer's as well."""
        return (*self._api.peers(), *(() if self._managed else (self.own_name,)))

    def dial(self, address: str) -> Call:
        """What comes of connecting to another node at ``address``."""
        first, *rest = dialled(address)
        outcome = self._dial(first)
        if not rest or outcome is Call.OPEN:
            return outcome
        return Call.OPEN if self._dial(address) is Call.OPEN else outcome_through_proxy(outcome)

    def _dial(self, address: str) -> Call:
        try:
            self._api.call("swarm/connect", address, within=_DIAL_SECONDS)
        except KuboRefused as error:
            return outcome_of(str(error), address)
        except (KuboTimeout, KuboSilent):
            return Call.DROPPED
        return Call.OPEN

    def seen_at(self, node: str) -> str | None:
        return self._api.places().get(node)

    def heard(self, node: str) -> None:
        """Note that something came from ``node`` by pubsub."""
        with self._lock:
            self._heard[node] = time.monotonic()
            self._heard.move_to_end(node)
            if len(self._heard) > _REMEMBERED:
                self._heard.popitem(last=False)

    def heard_ago(self, node: str) -> float | None:
        at = self._heard.get(node)
        return None if at is None else time.monotonic() - at

    def hear(self, node: str) -> bool:
        if self._managed:
            forget_highest(self._api, node)
        return self._managed

    def how_to_hear(self, node: str) -> str:
        return f"ipfs pubsub reset --peer {node}"

    def listen(self, name: str, answer: Answering) -> Listening:
        """Answer what is asked under ``name``, in threads, until the result is closed.

        Raises:
            AskingOff: if the node cannot do that.
        """
        if not self._api.is_near:
            raise AskingOff(
                f"the Kubo node at {self._api.shown} is on another machine, so its members cannot be asked for news",
                "use a node on this machine, or one of this home's own: --ipfs kubo",
            )
        return Listening(self._api, name, answer)

    def ask(self, node: str, name: str, question: bytes) -> bytes:
        """What ``node`` answers to ``question`` under ``name``.

        Raises:
            Unanswered: if it does not answer.
            EngineError: if our own node cannot be used.
        """
        if node == self.own_name:
            return self._ask_beside(name, question)
        port = _free_port()
        forward = self._api.open(
            "p2p/forward",
            f"{_PREFIX}{name}",
            f"/ip4/{_LOOPBACK}/tcp/{port}",
            f"/p2p/{node}",
            foreground=True,
            within=2 * _SECONDS,  # then Kubo ends it by itself
        )
        try:
            return _asked(node, port, question)
        finally:
            forward.close()

    def _ask_beside(self, name: str, question: bytes) -> bytes:
        """Ask another peer that uses this node. libp2p makes no stream to itself, but the port to which Kubo would
        connect us is on this machine."""
        answer = self._api.said(self._api.call("p2p/ls", within=_SECONDS))
        try:
            targets = [at["TargetAddress"] for at in answer["Listeners"] or () if at["Protocol"] == _PREFIX + name]
        except (KeyError, TypeError) as error:
            raise self._api.no_kubo() from error
        found = _PORT.fullmatch(str(targets[0])) if targets else None
        if found is None:
            raise Unanswered(f"{self.own_name} has nobody to ask under {name}")
        return _asked(self.own_name, int(found[1]), question, self.own_name.encode() + b"\n")


class Listening:
    """A port to which Kubo connects the nodes that ask us."""

    def __init__(self, api: KuboApi, name: str, answer: Answering) -> None:
        self._answer = answer
        self._server = socket.create_server((_LOOPBACK, 0))
        self._pool = ThreadPoolExecutor(_AT_ONCE, "answer")
        self._places = threading.Semaphore(_WAITING)
        port = self._server.getsockname()[1]
        try:
            call = partial(
                api.open,
                "p2p/listen",
                f"{_PREFIX}{name}",
                f"/ip4/{_LOOPBACK}/tcp/{port}",
                within=math.inf,
                foreground=True,
                report_peer_id=True,
            )
            self._call = StandingCall(api, call, _to_its_end, "place to ask")
        except EngineError:
            self._server.close()
            self._pool.shutdown()
            raise
        self._thread = threading.Thread(target=self._accept, name="listen", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        self._call.close()
        shut_down(self._server)  # wakes the thread
        self._server.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _accept(self) -> None:
        while True:
            try:
                wire, _ = self._server.accept()
            except OSError:  # it was closed
                return
            if not self._places.acquire(blocking=False):
                wire.close()
                continue
            try:
                self._pool.submit(self._serve, wire)
            except RuntimeError:  # the pool was closed
                wire.close()
                return

    def _serve(self, wire: socket.socket) -> None:
        try:
            with wire:
                wire.settimeout(_SECONDS)
                node = _line(wire)
                answer = self._answer(node, _receive(wire))
                if answer is not None:
                    _send(wire, answer)
                    wire.recv(1)  # if we hang up first, Kubo may lose the end of the answer
        except (OSError, EOFError, ValueError) as error:
            _log.debug("hung up on a node that asked: %s", error)
        except Exception:  # noqa: BLE001  # whatever it is, it is logged whole
            _log.exception("a question was not answered")
        finally:
            self._places.release()


def _to_its_end(stream: httpx.Response) -> None:
    for _ in stream.iter_raw():
        pass


def _asked(node: str, port: int, question: bytes, introduction: bytes = b"") -> bytes:
    """The answer that comes through a port of this machine.

    Raises:
        Unanswered: if there is none.
    """
    try:
        with socket.create_connection((_LOOPBACK, port), _SECONDS) as wire:
            wire.settimeout(_SECONDS)
            wire.sendall(introduction)
            _send(wire, question)
            return _receive(wire)
    except (OSError, EOFError, ValueError) as error:
        raise Unanswered(f"{node} does not answer: {error}") from error


def _free_port() -> int:
    with socket.create_server((_LOOPBACK, 0)) as probe:
        return int(probe.getsockname()[1])


def _send(wire: socket.socket, data: bytes) -> None:
    wire.sendall(_LENGTH.pack(len(data)) + data)


def _receive(wire: socket.socket) -> bytes:
    """Raises:
    EOFError: if the other side hangs up before.
    ValueError: if it sends more bytes than it may.
    """
    (size,) = _LENGTH.unpack(b"".join(_exactly(wire, _LENGTH.size)))
    if size > MAX_MESSAGE:
        raise ValueError(f"{size} bytes are more than {MAX_MESSAGE}")
    return b"".join(_exactly(wire, size))


def _exactly(wire: socket.socket, size: int) -> Iterator[bytes]:
    while size:
        part = wire.recv(min(size, 1 << 16))
        if not part:
            raise EOFError("it hung up")
        size -= len(part)
        yield part


def _line(wire: socket.socket) -> str:
    """The text before the first line feed."""
    found = bytearray()
    while not found.endswith(b"\n"):
        part = wire.recv(1)
        if not part or len(found) > _LONGEST_NAME:
            raise EOFError("it names no node")
        found += part
    return found[:-1].decode("ascii", "replace")
