"""``peer status``: what the peer of this home does now."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Final

import typer

from peer.base.terminal import LiveLines, is_terminal, put
from peer.cli.options import DEFAULT_HOME, FullOption, HomeOption, JsonOption, new_app
from peer.cli.output import put_json
from peer.cli.seeing.status_output import status_lines
from peer.control.asking import ask
from peer.control.requests import Status
from peer.home.home import Home
from peer.status.peer_status import PeerStatus
from protocol.blocks.json_values import json_value

EVERY: Final = 1.0
"""Seconds between two looks with ``--watch``."""

ANSWERS_WITHIN: Final = 10.0
"""Seconds that the peer has to answer."""

app = new_app()


@app.command("status")
def status(
    *,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it again each second, until Ctrl-C.")] = False,
    full: FullOption = False,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Show what the running peer of this home does: its run and round, who is here, what it waits for, how its engine
    is. If none runs: what this home knows of its newest run.

    With --watch and --json, one JSON object a line.
    """
    place = Home(home)
    if watch:
        _watch(place, full=full, as_json=json)
    else:
        _put(_status_of(place), full=full, as_json=json)


def _status_of(home: Home) -> PeerStatus:
    told = ask(home, Status(), ANSWERS_WITHIN)
    if told is None:
        from peer.status.journal_status import journal_status  # slower to import, and seldom needed

        return journal_status(home)
    return told


def _put(found: PeerStatus, *, full: bool, as_json: bool) -> None:
    if as_json:
        put_json(json_value(found))
        return
    for line in status_lines(found, full=full):
        put(*line)


def _watch(home: Home, *, full: bool, as_json: bool) -> None:
    """Show the status until Ctrl-C, which ends it as it should end: without an error."""
    try:
        if as_json or not is_terminal():
            _repeat(lambda: _put(_status_of(home), full=full, as_json=as_json))
        else:
            with LiveLines() as live:
                _repeat(lambda: live.show(status_lines(_status_of(home), full=full)))
    except KeyboardInterrupt:
        return


def _repeat(show: Callable[[], None]) -> None:
    while True:
        show()
        time.sleep(EVERY)
