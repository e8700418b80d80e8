"""``peer history``: the rounds of a run."""

from __future__ import annotations

from peer.audit.kept_reports import KeptReports
from peer.audit.report import Report
from peer.base.errors import ExitCode
from peer.cli.options import JsonOption, RunArgument, RunOptions, grouped, new_app
from peer.cli.reading.audit_output import put_report, put_report_json, put_root
from peer.history.named_runs import head_named, is_car
from peer.history.scratch import Scratch
from peer.home.home import Home
from protocol.run_names import LATEST

app = new_app()


@app.command("history")
@grouped
def history(
    run: RunArgument = LATEST,
    *,
    options: RunOptions,
    json: JsonOption = False,
) -> ExitCode:
    """Show the rounds of a run. Verifies its chain, but not its models (peer audit does).

    A run that this home has verified before is not verified again. The last line says when it was.
    """
    place = Home(options.home)
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
