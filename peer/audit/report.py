"""What an audit reports: the verdict, the run, who did what, and the table of exchanges."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peer.audit.root_of_trust import Root
from peer.base.errors import ExitCode, PeerError
from peer.history.not_kept import NotKept
from peer.history.reigns import Reign, reign_value
from peer.history.scratch import Scratch
from peer.history.verdict import OTHER_APP, OTHER_FEDERATION, REPLAY, REVOKED, SHREDDED, Finding, Verdict
from protocol.blocks.cid import CID
from protocol.chain.chain import Chain
from protocol.federation.run_keys import RunKeys, read_private
from protocol.keeping.best import Direction
from protocol.records.bodies import Chained, Close, Outcome, ReasonPrivate, Run, RunPrivate, TakeoverCause
from protocol.records.signed_records import Record
from protocol.replay.differences import Reason
from protocol.visible import named, quoted

if TYPE_CHECKING:  # they import flwr, which the report of a run verified before does not need
    from peer.audit.dispute import JudgedDispute
    from peer.history.rounds import Exchange
    from peer.replay.replay import Replay


@dataclass(slots=True)
class Tally:
    """How many messages one participant was sent, and what it answered."""

    asked: int = 0
    answered: int = 0
    errors: int = 0
    left_out: int = 0
    """Its messages for whose reply an exchange did not wait: no errors of its own."""
    late: int = 0
    """Its replies that came after their exchange had closed."""


@dataclass(frozen=True, slots=True)
class BestModel:
    """The best model of a run, by the mean of what its clients answered."""

    by: str
    """The text of a `protocol.keeping.best.BestBy`: what a member chose, and hostile until shown."""
    exchange: int
    """The exchange that sent it."""
    round: int | None
    value: float | None

    def in_words(self) -> str:
        """In a line."""
        metric, _, direction = self.by.rpartition(":")
        which = f"round {self.round}" if self.round is not None else f"exchange {self.exchange}"
        value = "" if self.value is None else f" {self.value:.4g}"
        mean = "smallest" if direction == Direction.MIN else "largest"
        return f"the model sent in {which}: {named(metric)}{value}, the {mean} mean"


@dataclass(frozen=True, slots=True)
class Settled:
    """Up to where a run is settled, by the acks that are at hand: no takeover can lose what is."""

    height: int | None
    """None if nothing is known to be."""
    of_head: int
    """How many voters have confirmed the newest record; the leader is one of them."""
    voters: int
    majority: int

    def in_words(self, height: int, *, closed: bool) -> str:
        """In a line. The newest record has this ``height``."""
        newest = "the close" if closed else "the newest record"
        if self.height == height:
            return f"all of it: a majority has confirmed {newest} ({self._counted})"
        known = f"the word of {self._counted} for {newest} is here, and it takes {self.majority}"
        return f"not known here: {known}" if self.height is None else f"up to height {self.height}: {known}"

    def unsettled_close(self) -> str:
        """What it means that the close is not settled."""
        return (
            f"the word of {self._counted} for the close is here, and it takes {self.majority}. The last leader was "
            "told of the others: peer history in its home counts them. Only if too few have confirmed it, another "
            "server may still take over from before the close, and end the run otherwise"
        )

    @property
    def _counted(self) -> str:
        return f"{self.of_head} of {self.voters} voters"


@dataclass(slots=True)
class Report:
    """The result of an audit. Its exchanges are in the audit's `Scratch`."""

    head: CID
    verdict: Verdict = Verdict.INCOMPLETE
    run: CID | None = None
    records: int = 0
    """How many records were found. They are all verified if the verdict says so."""
    height: int | None = None
    """The height of the last verified record."""
    rounds: int = 0
    """Flower's rounds if the app numbers them, otherwise exchanges."""
    exchanges: int = 0
    environments: int = 0
    """In how many environments, one after another, the server's app ran, as the server says."""
    members: int = 0
    """How many the manifest in force at the end lists."""
    federation: CID | None = None
    federation_name: str = ""
    root: Root | None = None
    """Where the federation's id comes from; None if the run's first record could not be verified."""
    app: str = ""
    leader: str = ""
    closed: bool = False
    term: int = 1
    outcome: Outcome | None = None
    reason: str = ""
    model: CID | None = None
    participants: dict[str, Tally] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    findings_left_out: int = 0
    remarks: list[Finding] = field(default_factory=list)
    """Findings that do not change the verdict."""
    confirmed: dict[str, int] = field(default_factory=dict)
    """The height up to which each member has confirmed the chain with an ack."""
    recomputed: dict[str, tuple[tuple[int, int], ...]] = field(default_factory=dict)
    """From where to where each member signs that its own app did what is recorded; both heights are inside."""
    contradicted: dict[str, int] = field(default_factory=dict)
    """The height at which a member signs that its own app did something else."""
    reigns: tuple[Reign, ...] = ()
    """Who led when, term by term."""
    reigns_left_out: int = 0
    settled: Settled | None = None
    """None if the run's first record could not be verified."""
    witnesses: int = 0
    """How many other servers have to have recomputed what clients train on, at the newest training message."""
    unwitnessed: int = 0
    """How many exchanges were trained in although fewer are known."""
    replay: Replay | None = None
    """None if nobody asked for a replay, or the chain is not sound."""
    dispute: JudgedDispute | None = None
    """Who is wrong, if the audit is of a dispute."""
    shredded: str = ""
    """Why nobody is to read the run's contents, in words: its federation's admins had its keys destroyed. Empty if they
    did not."""
    highest_round: int | None = None
    """The highest number of a round; None if the app does not number its rounds."""
    closing: str = ""
    """The rule by which exchanges close early (`protocol.replies.closing_rule`); empty if each waits for all."""
    keep: str = ""
    """The plan by which contents of the run stay or go; empty if all stay, or the run record could not be verified."""
    not_kept: NotKept = field(default_factory=NotKept)
    """What is not here by policy. Counted only if contents are checked."""
    best: BestModel | None = None
    """The best model by the metric that the run names; None if it names none, or no exchange has it."""
    verified_before: float | None = None
    """When this home verified the run, in seconds since 1970, if the report is kept from then; None if it is new."""

    @property
    def numbered(self) -> bool:
        """Whether the app numbers its rounds as Flower does."""
        return self.highest_round is not None

    @property
    def shows_disputed(self) -> bool:
        """Whether the chain shows a record that a takeover is against, as far as its takeovers are told: what that
        sends need not be in the file, nor anywhere."""
        return bool(self.reigns_left_out) or any(each.cause is TakeoverCause.DISPUTE for each in self.reigns)

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of a command that audits."""
        if self.verdict is Verdict.INCOMPLETE and self.replay is not None and self.replay.app_raised:
            return ExitCode.APP_FAILED
        if self.dispute is not None and self.verdict is Verdict.VERIFIED:
            return self.dispute.exit_code
        return self.verdict.exit_code

    def confirmed_by(self, height: int) -> list[str]:
        """The members that have confirmed the record at ``height``."""
        return sorted(name for name, confirmed in self.confirmed.items() if confirmed >= height)

    def recomputed_by(self, height: int) -> list[str]:
        """The members whose own app sent what is recorded at ``height``, as they sign. Who led there is none of them:
        its word on its own record adds nothing."""
        spans, leader = self.recomputed.items(), self.leader_at(height)
        return sorted(
            name for name, of in spans if name != leader and any(since <= height <= until for since, until in of)
        )

    def leader_at(self, height: int) -> str:
        """Who led at ``height``; empty if that is not known."""
        at = bisect_right(self.reigns, height, key=lambda reign: reign.since)
        return self.reigns[at - 1].leader if at > 0 and height <= self.reigns[at - 1].until else ""

    def contradicted_by(self, height: int) -> list[str]:
        """The members whose own app sent something else there."""
        return sorted(name for name, at in self.contradicted.items() if at == height)

    def is_settled(self, height: int) -> bool:
        """Whether a record is known to be settled."""
        settled = None if self.settled is None else self.settled.height
        return settled is not None and height <= settled

    def tally(self, exchange: Exchange) -> None:
        """Count one exchange."""
        self.exchanges += 1
        if exchange.round is not None:
            self.highest_round = max(exchange.round, self.highest_round or 0)
        for name in exchange.asked.values():
            self.participants.setdefault(name, Tally()).asked += 1
        for answer in exchange.answers:
            tally = self.participants.setdefault(answer.name, Tally())
            if answer.code is None:
                tally.answered += 1
            elif answer.left_out:
                tally.left_out += 1
            else:
                tally.errors += 1
        for each in exchange.late:
            self.participants.setdefault(each.name, Tally()).late += 1
        self.rounds = self.exchanges if self.highest_round is None else self.highest_round

    def tell_chain(self, chain: Chain, root: Root) -> None:
        """Take what a verified chain says at its end."""
        self.height, self.term, self.closed = chain.height, chain.term, chain.closed
        self.federation, self.federation_name = chain.federation, chain.manifest.name
        self.root = root
        self.members = len(chain.manifest.members)
        self.leader = chain.manifest.name_of(chain.by)

    def tell_record(self, record: Record, keys: RunKeys) -> None:
        """Take what a verified run record or close says, as far as ``keys`` open it."""
        match record.body:
            case Run() as body:
                about = read_private(body, RunPrivate, keys)
                self.app = f"{about.name} {about.version}" if about else ""
            case Close() as body:
                private = read_private(body, ReasonPrivate, keys)
                self.outcome, self.model = body.outcome, body.model
                self.reason = private.reason if private else ""
            case Chained():
                pass

    def value(self) -> dict[str, Any]:
        """The report as ``--json`` shows it, without its exchanges."""
        return {
            "verdict": self.verdict.value,
            "run": _text(self.run),
            "head": str(self.head),
            "verified_before": self.verified_before,
            "rounds": self.rounds,
            "records": self.records,
            "members": self.members,
            "environments": self.environments,
            "findings": [_finding_value(finding) for finding in self.findings],
            "findings_left_out": self.findings_left_out,
            "remarks": [_finding_value(remark) for remark in self.remarks],
            "confirmed": self.confirmed,
            "recomputed": {name: [list(span) for span in spans] for name, spans in self.recomputed.items()},
            "contradicted": self.contradicted,
            "reigns": [reign_value(reign) for reign in self.reigns],
            "reigns_left_out": self.reigns_left_out,
            "settled": None if self.settled is None else _settled_value(self.settled),
            "witnesses": self.witnesses,
            "unwitnessed": self.unwitnessed,
            "replay": None if self.replay is None else self.replay.value(),
            "dispute": None if self.dispute is None else self.dispute.value(),
            "keep": self.keep or None,
            "closing": self.closing or None,
            "not_kept": self.not_kept.value(),
            "best": None if self.best is None else _best_value(self.best),
            "height": self.height,
            "closed": self.closed,
            "outcome": self.outcome.value if self.outcome else None,
            "reason": self.reason,
            "model": _text(self.model),
            "shredded": self.shredded,
            "app": self.app,
            "leader": self.leader,
            "federation": {
                "id": _text(self.federation),
                "name": self.federation_name,
                "root": None if self.root is None else self.root.value,
            },
            "participants": {
                name: {
                    "asked": tally.asked,
                    "answered": tally.answered,
                    "errors": tally.errors,
                    "left_out": tally.left_out,
                    "late": tally.late,
                }
                for name, tally in self.participants.items()
            },
        }

    def json_parts(self, scratch: Scratch) -> Iterator[str]:
        """The one object of ``--json``, its exchanges one at a time."""
        yield json.dumps(self.value()).removesuffix("}")
        separator = ', "exchanges": ['
        for row in scratch.rows():
            exchange = json.loads(row)
            exchange.setdefault("compared", None)  # of a replay
            exchange["confirmed_by"] = self.confirmed_by(exchange["last_height"])
            exchange["recomputed_by"] = self.recomputed_by(exchange["height"])
            exchange["contradicted_by"] = self.contradicted_by(exchange["height"])
            exchange["settled"] = self.is_settled(exchange["last_height"])
            yield separator + json.dumps(exchange)
            separator = ", "
        yield "]}" if separator == ", " else f"{separator}]}}"


class NotVerified(PeerError):
    """The run is not verified, so nothing is done with it."""


def require_verified(report: Report, file: Path | None = None) -> None:
    """Raise a `NotVerified`, with the exit code of the verdict, unless the run (in ``file``, if any) is verified."""
    if report.verdict.exit_code is ExitCode.DONE:
        return
    first = report.findings[0]
    where = "" if first.height is None else f" at height {first.height}"
    raise NotVerified(
        f"the chain is not verified but {report.verdict.value}:{where} {first.message} ({first.rule})",
        fix=f"peer audit {file or report.head} lists all that is wrong",
        code=report.verdict.exit_code,
    )


def _finding_value(finding: Finding) -> dict[str, Any]:
    return {
        "height": finding.height,
        "cid": _text(finding.cid),
        "rule": finding.rule,
        "message": finding.message,
        "count": finding.count,
    }


def _settled_value(settled: Settled) -> dict[str, Any]:
    return {
        "height": settled.height,
        "of_head": settled.of_head,
        "voters": settled.voters,
        "majority": settled.majority,
    }


def _best_value(best: BestModel) -> dict[str, Any]:
    return {"by": best.by, "exchange": best.exchange, "round": best.round, "value": best.value}


def _text(cid: CID | None) -> str | None:
    return None if cid is None else str(cid)


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
            is_doubtful = report.replay is not None and Reason.NOT_KEPT in report.replay.reasons
            why = "replies that may tell why are not kept by policy" if is_doubtful else "this machine cannot tell why"
            return (
                "inconclusive: every record keeps every rule, but the app, run again here, does not do quite what is "
                f"recorded, and {why}"
            )
        case Verdict.FAILED:
            return _failed(report)


def _verified(report: Report, *, contents: bool) -> str:
    linked = "everything it links is there" if contents else "its contents were not checked (peer audit does)"
    if report.shredded:
        return f"verified: every record keeps every rule. {report.shredded[:1].upper()}{report.shredded[1:]}"
    if contents and report.not_kept.contents:
        linked = f"what it links is there, but for {report.not_kept.contents} contents that are not kept by policy"
    replayed = ", and the app does again what is recorded" if report.replay else ""
    if report.replay is not None and report.replay.not_kept:
        replayed = f"; {extent_in_words(report.replay, report.exchanges)}"
    elif report.replay is not None and report.replay.not_checked:
        replayed += ", as far as it is compared"
    return f"verified: every record keeps every rule, {linked}{replayed}"


def extent_in_words(replay: Replay, exchanges: int) -> str:
    """How many of the run's exchanges were replayed, if not all could be."""
    equal = f"replayed {replay.exchanges} of {exchanges} exchanges, which are equal"
    return f"{equal}; {replay.not_kept} could not be, because replies before them are not kept by policy"


def _incomplete(report: Report) -> str:
    if {finding.rule for finding in report.findings} == {REVOKED}:
        return "incomplete: every record keeps every rule, but some may have been signed after a revocation"
    if {finding.rule for finding in report.findings} == {SHREDDED}:
        return f"incomplete: every record keeps every rule, but nothing can be replayed: {report.shredded}"
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
