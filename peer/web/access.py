"""Who may see the page: whoever opened a link that this process printed, in the browser that opened it.

The server listens on loopback, but other pages in the same browser, and other users of the machine, can call it there.
So each request needs a cookie that a link gave, which works once. A page of another origin gets nothing: the cookie is
``SameSite=Strict``, the request says where it comes from (``Sec-Fetch-Site``), and a name that leads here by DNS
rebinding is no host of ours. Cookies do not tell ports apart (RFC 6265, section 8.5): a browser would show this one to
another user's server on this machine too. So all pages are in a folder with a random name, the cookie is for that path
alone, and no other server can make the browser ask for it. Prometheus has a token of its own, in a file of the home.
"""

from __future__ import annotations

import hmac
import secrets
import threading
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from peer.base.errors import PeerError
from peer.home.home import Home, replace_file

HOST: Final = "127.0.0.1"
MAX_SESSIONS: Final = 32
COOKIE: Final = "pollen"

TOKEN_FILE: Final = "metrics.token"

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""With every answer: nothing from elsewhere, no inline script, in nobody's frame."""

REPORT_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; sandbox"
"""For the report of a run, which is a page without any script."""


def why_refused(method: str, headers: Mapping[str, str], port: int) -> tuple[HTTPStatus, str] | None:
    """Why a request is refused before anybody looks who sent it; None if it may go on."""
    hosts = {f"{name}:{port}" for name in (HOST, "localhost", "[::1]")}
    if method != "GET":
        return HTTPStatus.METHOD_NOT_ALLOWED, "this page only shows: GET"
    if headers.get("host", "") not in hosts:
        return HTTPStatus.FORBIDDEN, "that is not a name of this server"
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return HTTPStatus.FORBIDDEN, "another page asks"
    if (origin := headers.get("origin")) is not None and origin not in {f"http://{host}" for host in hosts}:
        return HTTPStatus.FORBIDDEN, "another page asks"
    return None


class Sessions:
    """The links that work, and the browsers that opened one. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.folder = f"/{secrets.token_urlsafe(16)}"
        """The path of all that is shown."""
        self._links: set[str] = set()
        self._cookies: list[str] = []

    def new_link(self) -> str:
        """The token of a link that works once."""
        token = secrets.token_urlsafe(32)
        with self._lock:
            self._links.add(token)
        return token

    def enter(self, token: str) -> str | None:
        """The cookie for a link's token; None if that does not work, or has worked."""
        with self._lock:
            known = next((link for link in self._links if _same(link, token)), None)
            if known is None:
                return None
            self._links.remove(known)
            cookie = secrets.token_urlsafe(32)
            self._cookies = [*self._cookies, cookie][-MAX_SESSIONS:]
            return cookie

    def knows(self, cookie: str) -> bool:
        """Whether a link gave this cookie."""
        with self._lock:
            return sum(_same(known, cookie) for known in self._cookies) > 0  # it looks at all, whichever fits


def metrics_token(home: Home) -> str:
    """What Prometheus shows, made at the first time. Its file is for the owner alone.

    Raises:
        PeerError: if the file cannot be read or written.
    """
    path = home.create().path / TOKEN_FILE
    try:
        if not path.exists():
            replace_file(path, [secrets.token_urlsafe(32).encode()])
        token = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise PeerError(f"{path} cannot be used: {error}", fix=f"remove it: rm {path}") from error
    if len(token) < 32:
        raise PeerError(f"{path} holds no token", fix=f"remove it, and another is made: rm {path}")
    return token


def is_bearer(header: str, token: str) -> bool:
    """Whether an ``Authorization`` header shows the token."""
    return _same(header, f"Bearer {token}")


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))
