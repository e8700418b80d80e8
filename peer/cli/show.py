"""``peer show``: any block, readable."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from peer.cli.audit import TimeoutOption
from peer.cli.cids import cid_of
from peer.cli.options import DEFAULT_HOME, EngineOption, HomeOption, JsonOption
from peer.cli.output import put_json
from peer.engine_choice import borrowed
from peer.home import Home
from peer.inspect.describe import describe
from peer.inspect.sources import EngineSource

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command("show")
def show(
    cid: Annotated[str, typer.Argument(metavar="CID", help="Any block's.")],
    ipfs: EngineOption = None,
    timeout: TimeoutOption = 30.0,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """Show any block: a record with its private part where that is plain, a manifest, a model's shapes, an app."""
    wanted = cid_of(cid)
    with borrowed(Home(home), ipfs) as engine:
        described = describe(wanted, EngineSource(engine, timeout))
    if json:
        put_json(described)
        return
    for line in _lines(described, ""):
        typer.echo(line)


def _lines(value: Any, indent: str) -> Iterator[str]:
    """Nested values as indented lines; what is other people's text is quoted where it could look like more."""
    pairs = value.items() if isinstance(value, dict) else ((f"{at}", item) for at, item in enumerate(value))
    for name, item in pairs:
        if isinstance(item, list) and not any(isinstance(each, dict | list) for each in item):
            yield f"{indent}{name}: {', '.join(map(_text, item))}"
        elif isinstance(item, dict | list) and item:
            yield f"{indent}{name}:"
            yield from _lines(item, indent + "  ")
        else:
            yield f"{indent}{name}: {_text(item)}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) and value.isprintable() else repr(value)
