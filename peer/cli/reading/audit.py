"""``peer audit``: verify a run by every rule, and show who did what."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from peer.attest.confirming import confirm as confirmed
from peer.audit.audit import Audit
from peer.audit.dispute import dispute_of_file, judge
from peer.audit.equivocation_proof import CheckedProof
from peer.audit.kept_reports import KeptReports
from peer.audit.terms.promise_proof import CheckedPromise
from peer.base.errors import ExitCode, PeerError
from peer.base.terminal import say, show_labels
from peer.cli.options import JsonOption, ReplayOptions, RunOptions, TrustOption, grouped, new_app
from peer.cli.output import put_json
from peer.cli.reading.attest_options import AttestOptions, SignedVerdict
from peer.cli.reading.audit_output import put_compared, put_report, put_report_json, put_root, put_versions
from peer.cli.reading.equivocation_proof import put_proof
from peer.history.named_runs import is_car
from peer.history.scratch import Scratch
from peer.history.verdict import Verdict
from peer.home.home import place_for, replace_file
from protocol.blocks.car import write_car

app = new_app()

AuditedArgument = Annotated[
    str,
    typer.Argument(
        metavar="HEAD|PROOF|FILE.car", help="A run's newest record, a proof, or a file with either, or with a dispute."
    ),
]


@app.command("audit")
@grouped
def audit(
    head: AuditedArgument,
    *,
    options: RunOptions,
    replay: Annotated[bool, typer.Option("--replay", help="Run the app again, and compare what it sends.")] = False,
    replaying: ReplayOptions,
    federation: TrustOption = None,
    attesting: AttestOptions,
    confirm: Annotated[
        bool,
        typer.Option("--confirm", help="Auditor: sign that you have audited it, if it is verified with all contents."),
    ] = False,
    proof_file: Annotated[
        Path | None,
        typer.Option("--proof", metavar="FILE.car", help="Write what proves the first finding against a key."),
    ] = None,
    json: JsonOption = False,
) -> ExitCode:
    """Verify a run by every rule, and check that everything it links is there. A CAR file needs no engine.

    The first line says which root of trust the verdict rests on. With --federation, runs of other federations fail.

    With --replay, the app also runs again on the recorded replies, and has to send the same messages bit for bit. If
    the run is encrypted, a replay needs the key of a server or an auditor. Verifying needs no key.

    A dispute (a file of `peer dispute`) is replayed in any case, and the last line says who is wrong: the leader, or
    the server that contradicts it. If one of them is, the exit code is 1.

    With --attest, the verdict is signed, whatever it is, as an in-toto statement in a DSSE envelope, which
    `peer attest verify FILE` and other tools can check. It tells nothing that is encrypted in the run. With
    --attest-model, it is also about a model file, which has to hold a model of the run (peer trace).

    With --confirm, an auditor signs an ack of the head, which this home keeps and `peer export` takes along. Where that
    file is taken in (peer import), a plan that keeps updates until an auditor has confirmed lets them go.

    A proof is checked by itself: of equivocation (one key signed two records for one place), or of a broken promise
    (one key voted for a newer term, and went on in an older one). If it holds, the exit code is 1. --proof writes what
    proves the first such finding of the audit.
    """
    told = dispute_of_file(Path(head))
    if not (replay := replay or told is not None) and replaying.given:
        raise PeerError("those options are for a replay", fix="add --replay")
    lookup = options.lookup(needed=replay)
    signed = attesting.prepare(head, lookup)
    show_labels(False)  # a proof is evidence against a key
    auditor = lookup.reader.unlocked(lookup.home.path) if confirm else None
    proof = lookup.proof(head, lookup.known(federation))
    if proof is not None:
        return _put_proof(proof, json=json, signed=signed)
    show_labels(not options.full)
    conditions = replaying.conditions(lookup.home) if replay else None
    with Scratch() as scratch, lookup.audit(head, scratch, root=federation) as prepared:
        to_come = None if conditions is None else replaying.to_come(prepared, head, lookup.home, conditions)
        report = prepared.run(to_come)
        if not is_car(head):
            KeptReports(lookup.home).keep(report, scratch, prepared.basis, prepared.reader)
        if not json:
            put_root(report)
        if to_come is not None and report.verdict is Verdict.VERIFIED:
            prepared.replay(
                to_come.app(),
                to_round=replaying.to_round,
                on_compared=_nothing if json else put_compared,
                on_versions=_nothing if json else put_versions,
            )
        report.dispute = None if told is None else judge(told, report, prepared.source)
        if json:
            put_report_json(report, scratch)
        else:
            put_report(report, scratch, replay=replay)
        if signed is not None:
            signed.write(prepared, scratch, say_so=not json)
        if proof_file is not None:
            _write_proof(prepared, proof_file)
        if auditor is not None:
            ack = confirmed(prepared, lookup.home, auditor, at=time.time())
            say(f"confirmed: {ack} says so; peer export takes it along")
    return report.exit_code


def _write_proof(audit: Audit, file: Path) -> None:
    if not audit.proofs:
        say("no proof is written: no finding shows by itself that a key signed what contradicts it")
        return
    block, *records = audit.proofs[0].blocks()
    replace_file(place_for(file), write_car([block.cid], [block, *records]))
    say(f"{file} proves it without the run: peer audit {file}")


def _nothing(_: object) -> None:
    pass


def _put_proof(proof: CheckedProof | CheckedPromise, *, json: bool, signed: SignedVerdict | None) -> ExitCode:
    if signed is not None:
        raise PeerError("--attest is for an audit of a run", fix="leave it out", code=ExitCode.WRONG_USE)
    if json:
        put_json(proof.value())
    else:
        put_proof(proof)
    return ExitCode.VERIFICATION_FAILED
