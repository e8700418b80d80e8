"""``peer report``: write the result of an audit as a document."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from peer.audit.audit import Audit
from peer.audit.kept_reports import KeptReports
from peer.audit.replay import AuditedApp
from peer.base.errors import ExitCode, PeerError
from peer.base.terminal import put
from peer.cli.options import HeadArgument, JsonOption, ReplayOptions, RunOptions, TrustOption, grouped, new_app
from peer.cli.output import put_json, size
from peer.cli.reading.audit_output import put_verdict
from peer.engine import without_credentials
from peer.history.named_runs import is_car
from peer.history.scratch import Scratch
from peer.history.verdict import Verdict
from peer.home.home import Home, place_for
from peer.home.keystore import KeyStore
from peer.report.writing import ReportFormat, report_of, write_report

app = new_app()


@app.command("report")
@grouped
def report(
    head: HeadArgument,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="A .html, .md or .json file. It is replaced.")
    ] = Path("report.html"),
    *,
    options: RunOptions,
    replay: Annotated[
        bool | None,
        typer.Option("--replay/--no-replay", help="Run the app again.", show_default="if it may run here"),
    ] = None,
    replaying: ReplayOptions,
    federation: TrustOption = None,
    json: JsonOption = False,
) -> ExitCode:
    """Audit a run, and write a report for people (.html, .md) or programs (.json).

    The report says what was checked and what was not, who took part, what each round gave, and how far each update was
    from the mean. A page (.html) needs no network and no script, and prints on A4. Exit codes are as for `peer audit`.

    The app runs again, as with `peer audit --replay`, if it may run here: it is built in, or approved, or named with
    --app. If not, the report says that this was not checked.
    """
    ReportFormat.of(output)
    path = place_for(output)
    if replay is False and replaying.given:
        raise PeerError(
            "--app, --data-dir, --model, --to-round, --allow-*, --unconfined and such are for a replay",
            fix="leave out --no-replay",
        )
    has_identity = bool(KeyStore(options.home).names())
    lookup = options.lookup(needed=replay is True or (replay is None and has_identity))
    own = None if replay is False else replaying.own_app(lookup.home)
    command = shlex.join(_command(head, output, options, replay, replaying, federation))
    with Scratch() as scratch, lookup.audit(head, scratch, root=federation) as prepared:
        audited = prepared.run()
        if not is_car(head):
            KeptReports(lookup.home).keep(audited, scratch, prepared.basis, prepared.reader)
        why_not = _why_not(audited.verdict, replay)
        if not why_not:
            chosen = own or _app(prepared, head, lookup.home, replaying, must=replay is True)
            if isinstance(chosen, str):
                why_not = chosen
            else:
                prepared.replay(chosen, to_round=replaying.to_round)
        with report_of(prepared, scratch, command, why_not) as gathered:
            count = write_report(gathered, path)
    if json:
        put_json({"verdict": audited.verdict.value, "file": str(path), "bytes": count})
    else:
        put_verdict(audited)
        if why_not:
            put(f"not replayed: {why_not}")
        put(f"{path}: {size(count)}")
    return audited.exit_code


def _why_not(verdict: Verdict, replay: bool | None) -> str:
    """Why the app does not run again; empty if it may."""
    if replay is False:
        return "as --no-replay says"
    return "" if verdict is Verdict.VERIFIED else "because of the findings"


def _app(audit: Audit, named: str, home: Home, replaying: ReplayOptions, *, must: bool) -> AuditedApp | str:
    """The app to run again, or why it may not run here. If ``must``, that is an error."""
    if audit.bundle() is None and not must:
        return "no key opens the app"
    try:
        return replaying.trusted_app(audit, named, home)
    except PeerError as error:
        if must:
            raise
        return str(error)


def _command(
    head: str,
    output: Path,
    options: RunOptions,
    replay: bool | None,
    replaying: ReplayOptions,
    federation: str | None,
) -> Iterator[str]:
    """The command line, without the place of the author's home, and without credentials of an engine."""
    yield from ("peer", "report", head, "-o", str(output))
    if replay is not None:
        yield "--replay" if replay else "--no-replay"
    yield from replaying.words()
    for name, value in (
        ("--federation", federation),
        ("--identity", options.identity),
        ("--ipfs", None if options.ipfs is None or is_car(head) else without_credentials(options.ipfs)),
    ):
        if value is not None:
            yield from (name, str(value))
