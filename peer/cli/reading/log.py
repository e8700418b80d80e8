"""``peer log``: the runs of this home, or the rounds of one."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from peer.audit.kept_reports import KeptReports
from peer.audit.report import Report
from peer.base.errors import ExitCode
from peer.cli.options import JsonOption, RunOptions, grouped, new_app
from peer.cli.output import Table, moment, put_list
from peer.cli.reading.audit_output import put_report, put_report_json, put_root
from peer.engine import without_credentials
from peer.history.named_runs import head_named, is_car
from peer.history.scratch import Scratch
from peer.home.federations import FederationStore
from peer.home.home import Home
from peer.home.journal import Journal, RunHead
from protocol.federation.manifest import Manifest

app = new_app()


@app.command("log")
@grouped
def log(
    run: Annotated[
        str | None,
        typer.Argument(metavar="[RUN|HEAD|FILE.car]", help="The run. Without it: list all runs.", show_default=False),
    ] = None,
    *,
    options: RunOptions,
    json: JsonOption = False,
) -> ExitCode:
    """List the runs of this home, or the rounds of one run. Verifies its chain, but not its models (peer audit does).

    A run that this home has verified before is not verified again. The last line says when it was.
    """
    place = Home(options.home)
    if run is None:
        _put_runs(place, json)
        return ExitCode.DONE
    reader = options.reader(needed=False)
    with Scratch() as scratch:
        kept = None if is_car(run) else KeptReports(place).find(head_named(place, run)[0], reader, scratch)
        report = kept or _verified(run, options, scratch)
        if json:
            put_report_json(report, scratch)
        else:
            put_root(report)
            put_report(report, scratch, replay=False, contents=False)
    return report.verdict.exit_code


def _verified(run: str, options: RunOptions, scratch: Scratch) -> Report:
    lookup = options.lookup(needed=False)  # imports flwr, which is slow: a kept report needs none
    with lookup.reading(run, scratch) as reading:
        report = reading.run()
        if not is_car(run):
            KeptReports(lookup.home).keep(report, scratch, reading.basis, reading.reader)
    return report


def _put_runs(home: Home, json: bool) -> None:
    heads: list[RunHead] = []
    if home.journal.exists():
        with Journal(home.journal) as journal:
            heads = journal.heads()
    known = {stored.id: stored.manifest for stored in FederationStore(home).all()}
    header = ["run", "federation", "role", "height", "", "changed", "head"]
    table = Table("runs", header, [_row(head, known.get(head.federation)) for head in heads])
    values = [_value(head, known.get(head.federation)) for head in heads]
    put_list(values, json, table, "no run here yet; begin one: peer start --role server, or peer demo")


def _row(head: RunHead, federation: Manifest | None) -> list[str]:
    state = "closed" if head.closed else "open"
    title = federation.title if federation else ""
    return [str(head.run), title, head.role.value, str(head.height), state, moment(head.updated), str(head.head)]


def _value(head: RunHead, federation: Manifest | None) -> dict[str, Any]:
    return {
        "run": str(head.run),
        "head": str(head.head),
        "height": head.height,
        "term": head.term,
        "closed": head.closed,
        "role": head.role.value,
        "federation": {"id": str(head.federation), "name": federation.name if federation else ""},
        "engine": without_credentials(head.engine),
        "updated": head.updated,
    }
