"""Audit a run in Python: python examples/audit_a_run.py RUN.car [FEDERATION]

RUN.car is what `peer export HEAD RUN.car` wrote; FEDERATION is the id, or the file, of the federation that you trust.
"""

import sys

import numpy as np

from peer import api


def main(car: str, federation: str | None = None) -> int:
    """Verify the run, show what each round came to, and how far each moved the model. The exit code is the audit's."""
    with api.open_run(car, federation=federation) as run:
        report = run.verify()
        print(f"{report.verdict}: {report.records} records of {report.federation}, root of trust: {report.root}")
        for finding in report.findings:
            print(f"  height {finding.height}: {finding.message}")
        for exchange in run.exchanges():
            which = f"exchange {exchange.number}" if exchange.round is None else f"round {exchange.round}"
            metrics = [f"{name} {value:.3f}" for name, value in exchange.metrics.items()]
            told = [
                f"{len(exchange.answers)} answers",
                *metrics,
            ]  # of an encrypted run only servers and auditors see more
            print(f"{' '.join([which, *exchange.types])}: {', '.join(told)}")
        if report.verdict is not api.Verdict.VERIFIED:
            return report.exit_code
        try:
            before = run.model(round=0).arrays()
        except api.NotReadable as error:
            print(f"the models are not for us: {error}")
            return report.exit_code
        for number in run.rounds()[1:]:
            model = run.model(round=number).arrays()
            moved = max(float(np.abs(model[name] - before[name]).max()) for name in model)
            print(f"round {number} moved the model by {moved:.4f} at most")
            before = model
    return report.exit_code


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    try:
        sys.exit(main(*sys.argv[1:]))
    except (api.PeerError, api.EngineError) as error:
        sys.exit(f"error: {error}\n  fix: {error.fix}")
