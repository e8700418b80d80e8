"""The verdict of an audit, and the root of trust that it rests on, in a sentence each."""

from __future__ import annotations

from peer.audit.report import Report
from peer.audit.root_of_trust import Root
from peer.history.verdict import OTHER_APP, OTHER_FEDERATION, REPLAY, REVOKED, Verdict
from protocol.visible import quoted


def root_in_words(report: Report) -> str:
    """The root of trust."""
    title = f", {quoted(report.federation_name)}" if report.federation_name else ""
    federation = f"the federation {report.federation}{title}"
    match report.root:
        case Root.GIVEN:
            return f"{federation}, as you gave it"
        case Root.JOINED:
            return f"{federation}, which this home has joined"
        case Root.RUN if any(finding.rule == OTHER_FEDERATION for finding in report.findings):
            return f"the federation that you gave, and this run is in another: in {federation}"
        case Root.RUN:
            return (
                f"none. Only the run itself says that it is of {federation}: compare the id with a member's "
                "(peer federation show), or name the one you trust: --federation ID"
            )
        case None:
            return "none, because the run's first record cannot be verified"


def verdict_in_words(report: Report, *, contents: bool = True) -> str:
    """The verdict with its reason. ``contents`` says whether contents were checked."""
    match report.verdict:
        case Verdict.VERIFIED:
            return _verified(report, contents=contents)
        case Verdict.INCOMPLETE:
            return _incomplete(report)
        case Verdict.INCONCLUSIVE:
            return (
                "inconclusive: every record keeps every rule, but the app, run again here, does not do quite what is "
                "recorded, and this machine cannot tell why"
            )
        case Verdict.FAILED:
            return _failed(report)


def _verified(report: Report, *, contents: bool) -> str:
    linked = "everything it links is there" if contents else "its contents were not checked (peer audit does)"
    replayed = ", and the app does again what is recorded" if report.replay else ""
    if report.replay is not None and report.replay.not_checked:
        replayed += ", as far as it is compared"
    return f"verified: every record keeps every rule, {linked}{replayed}"


def _incomplete(report: Report) -> str:
    if {finding.rule for finding in report.findings} == {REVOKED}:
        return "incomplete: every record keeps every rule, but some may have been signed after a revocation"
    if not report.records:
        return "incomplete: nothing of it is here"
    return "incomplete: everything checked is right, but not everything could be checked"


def _failed(report: Report) -> str:
    match [finding.rule for finding in report.findings]:
        case [rule] if rule == REPLAY:
            return "failed: every record keeps every rule, but the app does not do again what is recorded"
        case [rule] if rule == OTHER_APP:
            return "failed: every record keeps every rule, but this is not the app that the run record names"
        case [rule] if rule == OTHER_FEDERATION:
            return "failed: this is not a run of the federation that you trust"
    return "failed: somebody's record or block is wrong"
