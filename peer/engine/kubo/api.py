"""Calls to a Kubo node's RPC API, and what its errors mean (https://docs.ipfs.tech/reference/kubo/rpc/)."""

from __future__ import annotations

import contextlib
import json
import math
import re
import secrets
import socket
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from weakref import WeakSet

import httpx
import ipfshttpclient
import ipfshttpclient.exceptions
import requests.exceptions

from peer.base.socket_transport import SocketTransport
from peer.base.sockets import shut_down
from peer.engine.interface import AskingOff, EngineError, EngineUnavailable, StorageFull
from peer.engine.kubo.address import KuboAddress

# ipfshttpclient hands urllib3 an argument that does nothing since urllib3 2; the user need not hear of it.
warnings.filterwarnings("ignore", "The 'strict' parameter", FutureWarning, "urllib3")

CALL_SECONDS: Final = 120.0
"""Seconds that a node has for an answer that needs nothing from the network."""

QUICK_SECONDS: Final = 20.0
"""Seconds that a node has for an answer that it has in memory."""

CHECK_SECONDS: Final = 5.0
"""Seconds that the node has for an answer that costs it nothing."""

GRACE: Final = 5.0
"""Seconds that a node has, after its time-out, to say that it timed out."""

_CONNECT_SECONDS: Final = 5.0

_MOST_IDLE: Final = 16
"""Connections that are kept for the next call."""

_TCP_OPTIONS: Final = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]

_BITSWAP: Final = "/ipfs/bitswap/1.2.0"
"""The newest version of the protocol, which every node that we work with speaks."""

_PUBSUB_OFF: Final = "experimental pubsub feature not enabled"
_STREAMS_OFF: Final = "libp2p stream mounting not enabled"
_NOT_FOUND: Final = re.compile("could not find|not found|deadline exceeded", re.IGNORECASE)
_STOPPING: Final = re.compile("(datastore|pinner|leveldb|pebble|repo|channel)(:| is| was)? closed")
"""What a call gets from a node that is stopping: Kubo goes on answering while it closes its parts one by one."""
_CANCELLED: Final = "context canceled"
"""The same, or how a part of the node words a time-out."""

_FORBIDDEN: Final = (
    "give what its API.Authorizations asks for: http://USER:PASSWORD@HOST:5001, or http://bearer:TOKEN@HOST:5001, "
    "in POLLEN_IPFS or config.toml, which no other user of this machine sees"
)

_LOOK: Final = (
    "peer doctor checks the node, and the node's log says more (the home's own node: ipfs/daemon.log in the home)"
)
"""What to do about an error in Kubo's own words."""

_HUNG: Final = "if it goes on, restart your node; a running peer restarts the home's own node by itself"
"""What to do about a node that is there and does not answer."""

_NOBODY_BEHIND: Final = (500, 502, 503, 504)
"""What a proxy answers if its node does not."""

Option = str | int | bool


class KuboRefused(EngineError):
    """The node answered with an error of its own."""

    @property
    def is_not_found(self) -> bool:
        """Whether it did not find a block, here or (in time) elsewhere."""
        return _NOT_FOUND.search(str(self)) is not None


class PubsubOff(EngineError):
    """The node's pubsub is not enabled."""


class NoKubo(EngineUnavailable):
    """What answers is not Kubo: another program, or a proxy without a node behind it. In the middle of a run that may
    pass, like a node that is away."""


class KuboTimeout(EngineUnavailable):
    """The node says that it ran out of time."""


class KuboSilent(EngineUnavailable):
    """The node does not even say that it ran out of time: it hangs."""


class KuboApi:
    """One node's RPC API. Safe from several threads.

    ``client`` (ipfshttpclient) is for what a node knows at once; wrap uses of it in `translated`. `call` and `open`
    (httpx) are for what ipfshttpclient gets wrong with a current Kubo, and for what may take long: `hang_up` ends it.
    The errors of both become the engine's own. They name the node as ``shown``, without its credentials.
    """

    def __init__(self, address: str) -> None:
        parsed = KuboAddress.parse(address)
        self.address, self.shown = parsed.text, parsed.shown
        self.socket = None if parsed.socket is None else Path(parsed.socket)
        """The Unix socket at which the node listens, if it does."""
        self.is_near = parsed.is_near
        """Whether the node is on this machine, so that its ports are ours."""
        self._wires: WeakSet[socket.socket] = WeakSet()
        self._is_over = False
        headers = {} if parsed.authorization is None else {"Authorization": parsed.authorization}
        self._http = httpx.Client(
            base_url=parsed.base,
            headers=headers,
            timeout=httpx.Timeout(CALL_SECONDS, connect=_CONNECT_SECONDS),
            # A proxy from the environment is not for a node's private API. Keep-alive notices a node that is cut off.
            transport=httpx.HTTPTransport(
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=_MOST_IDLE),
                socket_options=_TCP_OPTIONS,
                trust_env=False,
            )
            if parsed.socket is None
            else SocketTransport(parsed.socket, most_idle=_MOST_IDLE, connected=self._wires.add),
            trust_env=False,
        )
        # `ipfshttpclient.connect` would warn of every Kubo since 0.9 and fetch the version; `Client` does neither.
        self.client = ipfshttpclient.Client(parsed.multiaddr, base=parsed.path, headers=headers, timeout=QUICK_SECONDS)

    def call(
        self,
        path: str,
        *args: str,
        within: float | None = None,
        upload: Iterable[bytes] | None = None,
        **options: Option,
    ) -> bytes:
        """The whole answer to one call. ``upload`` is the file that it sends, if any. The node has ``within`` seconds
        for what it needs from the network.

        Raises:
            EngineError: and its kinds, as `translated` says.
        """
        response = self.open(path, *args, within=within, begins=None, pauses=None, upload=upload, **options)
        with contextlib.closing(response), self.translated():
            return response.read()

    def open(
        self,
        path: str,
        *args: str,
        within: float | None = None,
        begins: float | None = None,
        pauses: float | None = None,
        upload: Iterable[bytes] | None = None,
        **options: Option,
    ) -> httpx.Response:
        """The answer to one call, whose body is still to be read, inside `translated`. The caller closes it. If
        ``within`` is infinite, the node must begin its answer in `QUICK_SECONDS`, and may then pause for any time. If
        ``begins`` is given, the node must begin its answer in so many seconds. If ``pauses`` is given, it may pause for
        so many after that."""
        params: list[tuple[str, str | int | float | bool | None]] = [("arg", arg) for arg in args]
        params += [(name.replace("_", "-"), value) for name, value in options.items()]
        wait = CALL_SECONDS
        if within == math.inf:
            wait = QUICK_SECONDS
        elif within is not None:
            params.append(("timeout", f"{max(within, 0.001):.3f}s"))  # Kubo takes 0 for no time-out
            wait = within + GRACE
        request = self._http.build_request(
            "POST",
            path,
            params=params,
            timeout=httpx.Timeout(wait, connect=_CONNECT_SECONDS),
            extensions={"trace": self._traced},
            **_multipart(upload),
        )
        if begins is not None:
            request.extensions["timeout"]["read"] = begins
        if self._is_over:
            raise EngineUnavailable(f"nobody waits for the Kubo node at {self.shown} any more")
        with self.translated():
            response = self._http.send(request, stream=True)
            if pauses is not None:
                request.extensions["timeout"]["read"] = pauses
            elif within == math.inf or begins is not None:
                request.extensions["timeout"]["read"] = None if within == math.inf else wait
            if not response.is_success:
                try:
                    response.read()
                finally:
                    response.close()
                raise self._refusal(response.status_code, response.content)
        return response

    def hang_up(self) -> None:
        """End every call of `call` and `open` that waits for its answer, and begin no other: the owner wants to
        stop."""
        self._is_over = True
        for wire in list(self._wires):
            shut_down(wire)

    def _traced(self, step: str, info: Mapping[str, Any]) -> None:
        """Note each connection that httpx itself makes (https://www.python-httpx.org/advanced/extensions/)."""
        if step == "connection.connect_tcp.complete":
            self._wires.add(info["return_value"].get_extra_info("socket"))

    def said(self, answer: bytes | str) -> dict[str, Any]:
        """The JSON object in an answer, or in a line of one.

        Raises:
            NoKubo: if there is none.
        """
        try:
            value = json.loads(answer)
        except (ValueError, RecursionError) as error:
            raise self.no_kubo() from error
        if not isinstance(value, dict):
            raise self.no_kubo()
        return value

    def identity(self) -> tuple[str, list[str]]:
        """The node's peer id, and its addresses."""
        with self.translated():
            answer = self.client.id()
        try:
            return str(answer["ID"]), [str(address) for address in answer["Addresses"] or []]
        except (KeyError, TypeError) as error:
            raise self.no_kubo() from error

    def peers(self) -> list[str]:
        """The peer ids of the nodes that the node is connected to."""
        return list(self.places())

    def places(self) -> dict[str, str]:
        """The nodes that the node is connected to, by peer id, with the address of the other end."""
        with self.translated():
            answer = self.client.swarm.peers()
        try:
            return {str(peer["Peer"]): str(peer["Addr"]) for peer in (answer or {}).get("Peers") or []}
        except (KeyError, TypeError, AttributeError) as error:
            raise self.no_kubo() from error

    def bitswap_received(self) -> int | None:
        """The bytes that blocks and questions for them have taken so far; None if the node does not count. It adds to
        them once a second (go-flow-metrics)."""
        try:
            return int(self.said(self.call("stats/bw", proto=_BITSWAP, within=CHECK_SECONDS))["TotalIn"])
        except (KuboRefused, KuboTimeout, KeyError, TypeError, ValueError):
            return None

    def meaning(self, message: str) -> EngineError:
        """The error for a reason that the node gave."""
        if _PUBSUB_OFF in message:
            return PubsubOff(
                f"the Kubo node at {self.shown} has pubsub off",
                "ipfs config --json Pubsub.Enabled true, then start the node again",
            )
        if _STREAMS_OFF in message:
            return AskingOff(
                f"the Kubo node at {self.shown} has stream mounting off, so members cannot be asked for news",
                "ipfs config --json Experimental.Libp2pStreamMounting true, then start the node again",
            )
        if "no space left" in message or "disk quota exceeded" in message:
            return StorageFull(f"the disk of the Kubo node at {self.shown} is full: {message}", "free some space there")
        if _STOPPING.search(message):
            return EngineUnavailable(f"the Kubo node at {self.shown} is stopping: {message}", self._fix())
        if _CANCELLED in message:
            return KuboTimeout(f"the Kubo node at {self.shown} gave up: {message}", self._fix())
        return KuboRefused(f"the Kubo node at {self.shown} says: {message}", _LOOK)

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """Turn the errors of httpx, ipfshttpclient and its requests into the engine's own.

        Raises:
            KuboTimeout: if the node gives up.
            KuboSilent: if it does not answer in time.
            EngineUnavailable: if it does not answer at all, or is stopping.
            KuboRefused, PubsubOff, StorageFull: if it answers with an error.
            NoKubo: if what answers is not Kubo.
        """
        try:
            yield
        except (httpx.TimeoutException, ipfshttpclient.exceptions.TimeoutError) as error:
            raise KuboSilent(f"the Kubo node at {self.shown} did not answer in time", _HUNG) from error
        except ipfshttpclient.exceptions.ErrorResponse as error:
            raise self.meaning(str(error.args[0])) from error
        except (
            ipfshttpclient.exceptions.StatusError,
            ipfshttpclient.exceptions.DecodingError,
            AssertionError,  # ipfshttpclient's, at an empty answer
            RecursionError,  # JSON that nests too deep
            httpx.DecodingError,  # it says that it is compressed, and is not
            requests.exceptions.ContentDecodingError,  # the same; ipfshttpclient passes on how reading a body fails
        ) as error:
            raise self.no_kubo() from error
        except httpx.TransportError as error:
            raise EngineUnavailable(f"no Kubo node answers at {self.shown}: {error}", self._fix()) from error
        except requests.exceptions.RequestException as error:
            raise EngineUnavailable(
                f"the Kubo node at {self.shown} broke off in its answer: {error}", self._fix()
            ) from error
        except ipfshttpclient.exceptions.CommunicationError as error:  # its text is for programmers
            raise EngineUnavailable(f"no Kubo node answers at {self.shown}", self._fix()) from error

    def no_kubo(self) -> NoKubo:
        """The error for an answer that Kubo would not give."""
        fix = "give the address of a Kubo node's RPC API: ipfs config Addresses.API; by default http://127.0.0.1:5001"
        return NoKubo(f"what answers at {self.shown} is not a Kubo node's RPC API", fix)

    def close(self) -> None:
        """Free the connections, and begin no other call."""
        self._is_over = True
        self._http.close()
        self.client.close()

    def _refusal(self, status: int, body: bytes) -> EngineError:
        if status in (httpx.codes.FORBIDDEN, httpx.codes.UNAUTHORIZED):
            return EngineError(f"the Kubo node at {self.shown} forbids this call", _FORBIDDEN)
        try:
            message = json.loads(body)["Message"]
        except (ValueError, KeyError, TypeError, RecursionError):
            if status in _NOBODY_BEHIND:
                return EngineUnavailable(f"the Kubo node at {self.shown} is away: HTTP status {status}", self._fix())
            return self.no_kubo()
        return self.meaning(str(message))

    def _fix(self) -> str:
        return (
            "start it (the home's own: peer doctor --start-daemon; yours: ipfs daemon), or do without IPFS: "
            "--ipfs local:DIR"
        )


def _multipart(upload: Iterable[bytes] | None) -> dict[str, Any]:
    """The body with one file that Kubo wants. httpx's own ``files`` would hold the file in memory."""
    if upload is None:
        return {}
    boundary = secrets.token_hex(16)
    return {
        "content": _body(boundary, upload),
        "headers": {"Content-Type": f"multipart/form-data; boundary={boundary}"},
    }


def _body(boundary: str, upload: Iterable[bytes]) -> Iterator[bytes]:
    head = 'Content-Disposition: form-data; name="file"; filename="file"\r\nContent-Type: application/octet-stream'
    yield f"--{boundary}\r\n{head}\r\n\r\n".encode()
    yield from upload
    yield f"\r\n--{boundary}--\r\n".encode()
