"""``peer show``: show any block."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from peer.audit.run_lookup import roots_of
from peer.base.terminal import put
from peer.cli.options import DEFAULT_HOME, EngineOption, HomeOption, JsonOption, TimeoutOption, new_app
from peer.cli.output import put_json
from peer.cli.told_waits import TOLD_WAITS
from peer.engine.chosen_engine import to_read_from
from peer.history.describe import describe
from peer.history.named_runs import cid_of, is_car, named_cid
from peer.history.run_sources import CarSource, EngineSource
from peer.home.home import Home
from protocol.blocks.cid import CID
from protocol.visible import named

app = new_app()


@app.command("show")
def show(
    cid: Annotated[str, typer.Argument(metavar="CID|FILE.car", help="The block, or a file, whose root is shown.")],
    car: Annotated[
        Path | None, typer.Option("--car", metavar="FILE.car", help="Read from this file, without an engine.")
    ] = None,
    ipfs: EngineOption = None,
    timeout: TimeoutOption = 30.0,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Show any block: a record, a manifest, the shapes of a model, an app. Private parts only if they are plain."""
    if car is None and is_car(cid):
        described = _in_car(Path(cid), None)
    elif car is not None:
        described = _in_car(car, cid_of(cid))
    else:
        wanted = named_cid(Home(home), cid)
        with to_read_from(Home(home), ipfs) as engine:
            described = describe(wanted, EngineSource(engine, timeout, waits=TOLD_WAITS))
    if json:
        put_json(described)
        return
    for line in _lines(described, ""):
        put(line)


_LONGEST: Final = 1_000
"""Characters shown of a text; ``--json`` has all of it."""


def _in_car(file: Path, wanted: CID | None) -> dict[str, Any]:
    """A block of a CAR file; without a CID, its root."""
    with contextlib.closing(CarSource(file)) as source:
        return describe(roots_of(source, str(file))[0] if wanted is None else wanted, source)


def _lines(value: Any, indent: str) -> Iterator[str]:
    """Nested values as indented lines. Foreign text is quoted if it could be taken for more than a value."""
    pairs = value.items() if isinstance(value, dict) else ((f"{at}", item) for at, item in enumerate(value))
    for name, item in pairs:
        if isinstance(item, list) and not any(isinstance(each, dict | list) for each in item):
            yield f"{indent}{named(name)}: {', '.join(map(_text, item))}"
        elif isinstance(item, dict | list) and item:
            yield f"{indent}{named(name)}:"
            yield from _lines(item, indent + "  ")
        else:
            yield f"{indent}{named(name)}: {_text(item)}"


def _text(value: Any) -> str:
    return named(value, _LONGEST) if isinstance(value, str) else repr(value)
