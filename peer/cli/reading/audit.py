"""``peer audit``: verify a run by every rule, and show who did what."""

from __future__ import annotations

from typing import Annotated

import typer

from peer.audit.kept import KeptReports
from peer.audit.replay import ComparedExchange
from peer.base.errors import ExitCode, PeerError
from peer.base.terminal import put_json_part
from peer.cli.options import JsonOption, ReplayOptions, RunOptions, TrustOption, grouped, new_app
from peer.cli.output import put_json
from peer.cli.reading.proof import put_proof
from peer.cli.reading.report import put_compared, put_report, put_root
from peer.history.named import is_car
from peer.history.scratch import Scratch
from peer.history.verdict import Verdict

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
    replaying: ReplayOptions,
    federation: TrustOption = None,
    json: JsonOption = False,
) -> ExitCode:
    """Verify a run by every rule, and that all it links is there. A CAR file needs no engine.

    The first line says whose word the verdict rests on. With --federation, no run of another federation is verified.

    With --replay, also run its app again on the recorded replies: it has to send the same messages, bit for bit. Of an
    encrypted run that takes the key of a server or an auditor; verifying takes none.

    A proof of equivocation (two records that one signer signed at one place) is checked on its own, and ends with 1.
    """
    if not replay and replaying.given:
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
    own = replaying.own_app()
    with Scratch() as scratch, lookup.audit(head, scratch, root=federation) as prepared:
        report = prepared.run()
        if not is_car(head):
            KeptReports(lookup.home).keep(report, scratch, prepared.basis, prepared.reader)
        if not json:
            put_root(report)
        if replay and report.verdict is Verdict.VERIFIED:
            chosen = own or replaying.trusted_app(prepared, head, lookup.home)
            prepared.replay(chosen, to_round=replaying.to_round, on_compared=_nothing if json else put_compared)
        if json:
            for part in report.json_parts(scratch):
                put_json_part(part)
            put_json_part("\n")
        else:
            put_report(report, scratch, replay=replay)
    return report.exit_code


def _nothing(_: ComparedExchange) -> None:
    pass
