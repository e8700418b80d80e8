"""Prints what an audit reports."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from peer.audit.dispute import Wrong
from peer.audit.report import Report, extent_in_words, root_in_words, verdict_in_words
from peer.base.terminal import Coloured, put, put_json_part, put_table, put_whole
from peer.cli.output import bad, counted, doubtful, good, moment, put_fields, schema_name, size
from peer.history.scratch import Scratch
from peer.history.verdict import MISSING_BLOCK, Verdict
from protocol.replay.differences import Difference, Outcome
from protocol.replies.closing_rule import LEFT_OUT, parse_closing
from protocol.visible import named, quoted

if TYPE_CHECKING:  # it imports flwr, which is slow: a kept report needs none
    from peer.replay.replay import ComparedExchange
    from peer.replay.run_replay import Versions

_REIGNS = 50
"""How many terms are told."""

_METRICS = 4
"""How many metrics a line of the table shows."""


def put_report_json(report: Report, scratch: Scratch) -> None:
    """Print the report as one JSON object, part by part, because a run may be long."""
    first, *rest = report.json_parts(scratch)
    put_json_part(first.replace("{", f'{{"schema": "{schema_name()}", ', 1))
    for part in (*rest, "\n"):
        put_json_part(part)


def put_root(report: Report) -> None:
    """Print the root of trust: the first thing that an auditor should know."""
    put_whole(f"root of trust: {root_in_words(report)}")


def put_compared(exchange: ComparedExchange) -> None:
    """Print how a replayed exchange compares with what is recorded."""
    where = f"round {exchange.round}" if exchange.round is not None else f"exchange {exchange.number}"
    if exchange.number is None:
        where = "final model"
    found = exchange.difference
    if exchange.outcome is Outcome.EQUAL:
        put(f"{where}, height {exchange.height}: {counted(exchange.messages, 'message')} compared and equal")
    elif exchange.outcome is Outcome.UNDECIDED and found is not None and found.ulps is not None:
        put(f"{where}, height {exchange.height}: compared, differs by {measured(found)}")


def put_versions(versions: Versions) -> None:
    """Print, before an app is replayed, what of the run's software has another version here."""
    put("replayed with other versions than the run had, so a difference may be theirs:")
    for name, (was, now) in versions.items():
        put(f"  {name}: {was or 'absent'} in the run, {now or 'absent'} here")


def measured(found: Difference) -> str:
    """By how much numbers differ, in a line."""
    update = "" if found.of_update is None else f", {found.of_update:.2g} of the update"
    bound = "no bound" if found.of_bound is None else f"{found.of_bound:.2g} of the bound"
    return f"{found.ulps:.3g} units in the last place at most{update}, {bound}"


def put_report(report: Report, scratch: Scratch, *, replay: bool, contents: bool = True) -> None:
    """Print the rounds, the participants, the findings and the verdict. ``replay`` says whether one was asked for,
    ``contents`` whether contents were checked."""
    _put_rounds(scratch, report, contents=contents)
    if report.participants:
        late = ["left out", "late"] if report.closing else []
        rows = [
            [
                named(name),
                *map(str, (tally.asked, tally.answered, tally.errors)),
                *(map(str, (tally.left_out, tally.late)) if late else ()),
                *_confirmed(report, name),
            ]
            for name, tally in sorted(report.participants.items())
        ]
        put()
        more = ["confirmed up to"] if report.confirmed else []
        put_table("participants", ["participant", "asked", "answered", "errors", *late, *more], rows)
    put()
    put_fields(_facts(report))
    if report.not_kept.contents:
        put(f"not kept by policy: {report.not_kept.in_words(report.keep)}")
    for finding in report.findings:
        where = "at an unknown height" if finding.height is None else f"at height {finding.height}"
        put(f"finding {where}, rule {finding.rule}: {finding.message}")
    for remark in report.remarks:
        put(f"note at height {remark.height}, {remark.rule}: {remark.message}")
    if report.findings_left_out:
        put(f"and {report.findings_left_out} more findings")
    if replay:
        for line in _replayed(report):
            put(line)
    put_verdict(report, contents=contents)
    if any(finding.rule == MISSING_BLOCK for finding in report.findings):
        put(
            "  fix: name the engine that has all of it (--ipfs ENGINE), start a peer that has it, or read a full export"
        )
    if report.verified_before is not None:
        put(
            f"this home verified it at {moment(report.verified_before)} and did not read it again; "
            f"to verify it from its bytes: peer audit {report.head}"
        )


def _put_rounds(scratch: Scratch, report: Report, *, contents: bool) -> None:
    sizes = ["sent", "received"] if contents else []
    confirmed = ["confirmed by"] if report.confirmed else []
    recomputed = ["recomputed by"] if report.recomputed else []
    header = ["height", "round", "message", "participants", *sizes, "metrics", "errors", *confirmed, *recomputed]
    put_table("rounds", header, [_row(json.loads(text), report, contents=contents) for text in scratch.rows()])


def _confirmed(report: Report, name: str) -> list[str]:
    if not report.confirmed:
        return []
    return [f"height {report.confirmed[name]}" if name in report.confirmed else "nothing"]


def _row(exchange: dict[str, Any], report: Report, *, contents: bool) -> list[str]:
    number = exchange["round"] if exchange["round"] is not None else f"({exchange['number']})"
    metrics = [f"{named(name)} {float(value):.4g}" for name, value in list(exchange["metrics"].items())[:_METRICS]]
    return [
        str(exchange["height"]),
        str(number),
        " ".join(map(named, exchange["types"])),
        ", ".join(map(named, exchange["participants"])),
        *([_size(exchange["bytes_sent"]), _size(exchange["bytes_received"])] if contents else []),
        ", ".join(metrics),
        "; ".join(_errors(exchange)),
        *(
            [", ".join(map(named, report.confirmed_by(exchange["last_height"]))) or "nobody"]
            if report.confirmed
            else []
        ),
        *([_recomputed_by(report, exchange["height"])] if report.recomputed else []),
    ]


def _recomputed_by(report: Report, height: int) -> str:
    otherwise = [f"{named(name)}: otherwise" for name in report.contradicted_by(height)]
    return ", ".join([*map(named, report.recomputed_by(height)), *otherwise]) or "nobody"


def _size(count: int | None) -> str:
    return "" if count is None else size(count)


def _errors(exchange: dict[str, Any]) -> Iterator[str]:
    out = [answer for answer in exchange["answers"] if answer["left_out"]]
    if out:
        why = f": {quoted(out[0]['reason'].removeprefix(LEFT_OUT))}" if out[0]["reason"] else ""
        yield f"closed without {', '.join(named(answer['name']) for answer in out)}{why}"
    for late in exchange["late"]:
        yield f"{named(late['name'])} came late to exchange {late['exchange']}"
    for answer in exchange["answers"]:
        if answer["code"] is not None and not answer["left_out"]:
            reason = quoted(answer["reason"]) if answer["reason"] else "no reason given"
            yield f"{named(answer['name'])}: {reason} (code {answer['code']})"
    if exchange["unanswered"]:
        yield f"no answer from {', '.join(map(named, exchange['unanswered']))}"


def _app(report: Report) -> str:
    if report.app:
        return named(report.app)
    return "shredded with the run" if report.shredded else "encrypted, and not for this home"


def _facts(report: Report) -> Iterator[tuple[str, str]]:
    yield "run", str(report.run or "unknown")
    yield "head", str(report.head)
    if report.federation is not None:
        yield (
            "federation",
            f"{named(report.federation_name or str(report.federation))}, {counted(report.members, 'member')}",
        )
        yield "app", _app(report)
        yield "leader", named(report.leader)
        yield from _terms(report)
        ended = report.outcome.value if report.outcome else "still open"
        yield "ended", f"{ended}{f': {quoted(report.reason)}' if report.reason else ''}"
    if report.model is not None:
        yield "model", str(report.model)
    if report.witnesses:
        lacking = (
            f", not known of {counted(report.unwitnessed, 'exchange')}" if report.unwitnessed else ", in each exchange"
        )
        yield "witnesses", f"{counted(report.witnesses, 'server')} besides the leader before clients trained{lacking}"
    if report.keep:
        yield "keeps", report.keep
    if report.closing:
        yield "rounds", f"an exchange closes {parse_closing(report.closing).in_words()}"
    if report.best is not None:
        yield "best", report.best.in_words()
    rounds = f"{counted(report.rounds, 'round')}, " if report.numbered else ""
    if report.environments > 1:
        yield "environments", f"{report.environments}: the server went on with the run in another one"
    yield "size", f"{counted(report.records, 'record')}, {rounds}{counted(report.exchanges, 'exchange')}"


def _terms(report: Report) -> Iterator[tuple[str, str]]:
    """Who led when, if that changed; and up to where the run is settled, if anything shows that."""
    if len(report.reigns) > 1:
        for reign in report.reigns[:_REIGNS]:
            yield f"term {reign.term}", reign.in_words(with_term=False)
            if lost := reign.lost_in_words():
                yield "lost", lost
        more = len(report.reigns) - _REIGNS + report.reigns_left_out
        if more > 0:
            yield "terms", f"and {more} more (--json has them)"
    if report.settled is not None and report.height is not None and (report.confirmed or len(report.reigns) > 1):
        yield "settled", report.settled.in_words(report.height, closed=report.closed)


def _replayed(report: Report) -> Iterator[str]:
    replay = report.replay
    if replay is None:
        yield "not replayed, because of the findings above"
        return
    extent = f"{counted(replay.exchanges, 'exchange')}, {counted(replay.messages, 'message')} compared and equal"
    if replay.not_kept:
        extent = extent_in_words(replay, report.exchanges)
    yield f"replayed in {replay.seconds:.1f} s: {extent}"
    if len(replay.environments) > 1:
        for each in replay.environments:
            pairs = (f"{name} {quoted(was)}, here {quoted(now)}" for name, (was, now) in each.differing.items())
            had = ", ".join(pairs) or "the environment that is here"
            yield f"from height {each.height} on, the server had {had}"
    if replay.widest is not None and (found := replay.widest.difference) is not None and found.ulps is not None:
        where = "the final model" if replay.widest.number is None else f"exchange {replay.widest.number}"
        yield f"not equal: {replay.mismatches}. {where} differs most: by {measured(found)}"
    if replay.not_checked:
        yield f"not checked: {replay.not_checked}"


def put_verdict(report: Report, *, contents: bool = True) -> None:
    """Print the verdict. ``contents`` says whether contents were checked."""
    put(_verdict(report, contents=contents))
    if (dispute := report.dispute) is not None:
        put((doubtful if dispute.wrong is Wrong.UNTOLD else bad)(dispute.in_words()))


def _verdict(report: Report, *, contents: bool) -> Coloured:
    words = verdict_in_words(report, contents=contents)
    match report.verdict:
        case Verdict.VERIFIED:
            return good(words)
        case Verdict.INCOMPLETE | Verdict.INCONCLUSIVE:
            return doubtful(words)
        case Verdict.FAILED:
            return bad(words)
