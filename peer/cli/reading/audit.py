"""``peer audit``: verify a run by every rule, and show who did what."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from peer.audit.kept import KeptReports
from peer.audit.replay import ComparedExchange
from peer.audit.trusted_app import local_config, own_app, trusted_app
from peer.base.errors import ExitCode, PeerError
from peer.base.terminal import put_json_part
from peer.cli.options import JsonOption, RunOptions, grouped, new_app
from peer.cli.output import put_json
from peer.cli.reading.proof import put_proof
from peer.cli.reading.report import put_compared, put_report, put_root
from peer.history.named import is_car
from peer.history.scratch import Scratch
from peer.history.verdict import Verdict
from peer.home.journal import approved_apps

app = new_app()

AuditedArgument = Annotated[
    str, typer.Argument(metavar="HEAD|PROOF|FILE.car", help="A run's newest record, a proof, or a file with one.")
]


@app.command("audit")
@grouped
def audit(
    head: AuditedArgument,
    *,
    options: RunOptions,
    replay: Annotated[bool, typer.Option("--replay", help="Run the app again, and compare all it sends.")] = False,
    app_dir: Annotated[
        Path | None,
        typer.Option("--app", metavar="DIR", help="The app to replay with.", show_default="built-in or approved"),
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option("--data-dir", metavar="DIR", help="For the app: where a dataset is.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="MODULE:CLASS", help="Of the built-in app: the model class that may run here."),
    ] = None,
    to_round: Annotated[
        int | None, typer.Option("--to-round", metavar="N", min=1, help="Replay to the end of this round.")
    ] = None,
    federation: Annotated[
        str | None,
        typer.Option(
            "--federation",
            metavar="ID|FILE",
            help="The root of trust: the federation that the run has to be in, or its file.",
            show_default="what this home has joined",
        ),
    ] = None,
    json: JsonOption = False,
) -> ExitCode:
    """Verify a run by every rule, and that all it links is there. A CAR file needs no engine.

    The first line says whose word the verdict rests on. With --federation, no run of another federation is verified.

    With --replay, also run its app again on the recorded replies: it has to send the same messages, bit for bit. Of an
    encrypted run that takes the key of a server or an auditor; verifying takes none.

    A proof of equivocation (two records that one signer signed at one place) is checked on its own, and ends with 1.
    """
    if not replay and not (app_dir is None and data_dir is None and model is None and to_round is None):
        raise PeerError(
            "--app, --data-dir, --model and --to-round are for a replay", fix="add --replay", code=ExitCode.WRONG_USE
        )
    lookup = options.lookup(needed=replay)
    proof = lookup.proof(head, lookup.known(federation))
    if proof is not None:
        if json:
            put_json(proof.value())
        else:
            put_proof(proof)
        return ExitCode.VERIFICATION_FAILED
    config = local_config(data_dir, model)
    own = None if app_dir is None else own_app(app_dir, config)
    with Scratch() as scratch, lookup.audit(head, scratch, root=federation) as prepared:
        report = prepared.run()
        if not is_car(head):
            KeptReports(lookup.home).keep(report, scratch, prepared.basis, prepared.reader)
        if not json:
            put_root(report)
        if replay and report.verdict is Verdict.VERIFIED:
            chosen = own or trusted_app(
                prepared.bundle(), head, prepared.source, config, approved_apps(lookup.home), prepared.run_config()
            )
            prepared.replay(chosen, to_round=to_round, on_compared=_nothing if json else put_compared)
        if json:
            for part in report.json_parts(scratch):
                put_json_part(part)
            put_json_part("\n")
        else:
            put_report(report, scratch, replay=replay)
    return report.exit_code


def _nothing(_: ComparedExchange) -> None:
    pass
