"""``peer report``: write the result of an audit as a document."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from peer.audit.audit import Audit
from peer.audit.kept_reports import KeptReports
from peer.base.errors import ExitCode, PeerError
from peer.base.terminal import put
from peer.cli.options import HeadArgument, JsonOption, ReplayOptions, RunOptions, TrustOption, grouped, new_app
from peer.cli.output import put_json, size
from peer.cli.reading.audit_output import put_verdict
from peer.engine import without_credentials
from peer.history.named_runs import is_car
from peer.history.scratch import Scratch
from peer.history.verdict import Verdict
from peer.home.home import place_for
from peer.home.keystore import KeyStore
from peer.replay.conditions import ReplayToCome
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
    conditions = None if replay is False else replaying.conditions(lookup.home)
    command = shlex.join(_command(head, output, options, replay, replaying, federation))
    with Scratch() as scratch, lookup.audit(head, scratch, root=federation) as prepared:
        to_come = None if conditions is None else replaying.to_come(prepared, head, lookup.home, conditions)
        audited = prepared.run(to_come)
        if not is_car(head):
            KeptReports(lookup.home).keep(audited, scratch, prepared.basis, prepared.reader)
        why_not = "as --no-replay says" if to_come is None else ""
        if to_come is not None:
            why_not = _replayed(prepared, to_come, replaying.to_round, must=replay is True)
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


def _replayed(audit: Audit, to_come: ReplayToCome, to_round: int | None, *, must: bool) -> str:
    """Run the app again. Returns why it may not run here, empty if it did. If it ``must``, that is an error."""
    if audit.report.verdict is not Verdict.VERIFIED:
        return "because of the findings"
    if audit.bundle() is None and not must:
        return "no key opens the app"
    try:
        app = to_come.app()
    except PeerError as error:
        if must:
            raise
        return str(error)
    audit.replay(app, to_round=to_round)
    return ""


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
