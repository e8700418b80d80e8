"""``peer web``: a page that shows what is going on."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Annotated

import typer

from peer.base.errors import ExitCode, PeerError
from peer.base.terminal import flush, put, say
from peer.cli.options import (
    DEFAULT_HOME,
    EngineOption,
    HomeOption,
    IdentityOption,
    JsonOption,
    PassphraseFileOption,
    new_app,
)
from peer.cli.output import put_json
from peer.home.home import Home

app = new_app()


@app.command("web")
def web(
    *,
    port: Annotated[
        int,
        typer.Option("--port", min=0, max=65_535, help="Where it listens.", show_default="a free one"),
    ] = 0,
    ipfs: EngineOption = None,
    identity: IdentityOption = None,
    passphrase_file: PassphraseFileOption = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Show this home in a browser: the federation, runs with live curves, refused replies, records, reports, disk.

    It prints a link that works once. The page listens on this machine alone, changes nothing, and loads nothing from
    elsewhere. /metrics is for Prometheus.
    """
    from peer.home.passphrase import Passphrases
    from peer.home.reader_choice import ReaderChoice
    from peer.web.access import HOST, TOKEN_FILE, Sessions, metrics_token
    from peer.web.board import Board
    from peer.web.running import serve

    place = Home(home)
    if not place.path.is_dir():  # a slip of the pen: a token is written there, which would make the folder
        raise PeerError(f"there is no home {place.path}", fix="name yours with --home; peer keys init makes one")
    token, sessions = metrics_token(place), Sessions()
    readers = ReaderChoice(identity, Passphrases.of_process(passphrase_file), needed=False)
    with contextlib.closing(_listening(HOST, port)) as listening, Board(place, ipfs, readers).watching() as board:
        bound = listening.getsockname()[1]

        def tell_link() -> None:
            link = f"http://{HOST}:{bound}/enter?token={sessions.new_link()}"
            if json:
                put_json({"link": link, "metrics": f"http://{HOST}:{bound}/metrics"})
            else:
                put(link)
            flush()

        def entered() -> None:
            if not json:
                say("somebody has opened the page; to open it in another browser:")
            tell_link()

        if not json:
            say(f"the page of {place.path}; Ctrl-C stops it. Open this link, which works once:")
        tell_link()
        if not json:
            say(f"for Prometheus: http://{HOST}:{bound}/metrics, with the token in {place.path / TOKEN_FILE}")
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(serve(board, sessions, listening, token, entered, asyncio.Event()))


def _listening(host: str, port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen()  # before the link is told: a port that nobody listens on may be another user's next
    except OSError as error:
        listening.close()
        raise PeerError(
            f"the port {port} of this machine cannot be used: {error.strerror}",
            fix="name another with --port, or none",
            code=ExitCode.UNFINISHED,
        ) from error
    return listening
