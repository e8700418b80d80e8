"""``peer audit``: verify a run by every rule, and show who did what."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from peer.cli.cids import cid_of
from peer.cli.options import DEFAULT_HOME, EngineOption, HomeOption, JsonOption
from peer.cli.report import put_compared, put_report
from peer.engine_choice import borrowed
from peer.errors import ExitCode, PeerError
from peer.federation import FederationStore
from peer.home import Home
from peer.inspect.audit import Audit
from peer.inspect.replay import ComparedExchange
from peer.inspect.scratch import Scratch
from peer.inspect.sources import CarSource, EngineSource
from peer.inspect.trusted_app import trusted_app
from peer.journal import Journal, approved_apps
from protocol.blocks import CID

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

HeadArgument = Annotated[
    str, typer.Argument(metavar="HEAD|FILE.car", help="The newest record of a run, or a file with one.")
]
TimeoutOption = Annotated[
    float, typer.Option("--timeout", metavar="SECONDS", min=0, help="How long to look for one block.")
]


@app.command("audit")
def audit(
    head: HeadArgument,
    ipfs: EngineOption = None,
    timeout: TimeoutOption = 30.0,
    replay: Annotated[bool, typer.Option("--replay", help="Run the app again, and compare all it sends.")] = False,
    app_dir: Annotated[
        Path | None,
        typer.Option("--app", metavar="DIR", help="The app to replay with.", show_default="built-in or approved"),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", metavar="DIR", help="For the app: where a dataset is.")
    ] = None,
    to_round: Annotated[
        int | None, typer.Option("--to-round", metavar="N", min=1, help="Replay to the end of this round.")
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> ExitCode:
    """Verify a run by every rule, and that all it links is there. A CAR file needs no engine.

    With --replay, also run its app again on the recorded replies: it has to send the same messages, bit for bit.
    """
    if not replay and not (app_dir is None and data_dir is None and to_round is None):
        raise PeerError(
            "--app, --data-dir and --to-round are for a replay", mend="add --replay", code=ExitCode.WRONG_USE
        )
    with Scratch() as scratch, audit_of(head, Home(home), ipfs, timeout, scratch) as prepared:
        trusted = None
        if replay:
            approved = approved_apps(Home(home))
            trusted = trusted_app(prepared.recorded_app(), app_dir, data_dir, prepared.source, approved)
        report = prepared.run()
        if trusted is not None:
            prepared.replay(trusted, to_round=to_round, on_compared=_nothing if json else put_compared)
        if json:
            for part in report.json_parts(scratch):
                sys.stdout.write(part)
            sys.stdout.write("\n")
        else:
            put_report(report, scratch, replay=replay)
    return report.exit_code


def _nothing(_: ComparedExchange) -> None:
    pass


@contextlib.contextmanager
def audit_of(
    text: str, home: Home, ipfs: str | None, timeout: float, scratch: Scratch, *, with_contents: bool = True
) -> Iterator[Audit]:
    """An audit of what ``text`` names: a CAR file, or a head (or a run of this home) in an engine.

    Raises:
        PeerError: where it is neither.
    """
    known = FederationStore(home).all()
    if is_car(text):
        with contextlib.closing(CarSource(Path(text))) as car:
            yield Audit(only_root(car, text), car, scratch, known=known, with_contents=with_contents)
        return
    head, height = head_named(home, text)
    federation = known[0] if len(known) == 1 else None
    with borrowed(home, ipfs, federation) as engine:
        source = EngineSource(engine, timeout)
        yield Audit(head, source, scratch, known=known, head_height=height, with_contents=with_contents)


def is_car(text: str) -> bool:
    """Whether a CAR file is meant, and no CID."""
    return Path(text).suffix == ".car" or Path(text).is_file()


def only_root(car: CarSource, text: str) -> CID:
    match car.roots:
        case (root,):
            return root
    raise PeerError(
        f"{text} has {len(car.roots)} roots, so it is not clear which head is meant",
        mend="peer import is for files that `peer export HEAD FILE.car` or `ipfs dag export HEAD` wrote",
        code=ExitCode.WRONG_USE,
    )


def head_named(home: Home, text: str) -> tuple[CID, int | None]:
    """The head that is meant, and its height where the journal knows it."""
    cid = cid_of(text)
    if home.journal.exists():
        with contextlib.closing(Journal(home.journal)) as journal:
            known = journal.head_of(cid) or journal.run_of(cid)
        if known is not None:
            return known.head, known.height
    return cid, None
