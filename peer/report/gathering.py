"""Gathers a report from an audit that was run. Whatever grows with the run is read one row at a time."""

from __future__ import annotations

import contextlib
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec

from crypto.described_types import described
from crypto.keys import VerifyKey
from peer.audit.audit import Audit
from peer.audit.report import Report, Tally, root_in_words, verdict_in_words
from peer.audit.root_of_trust import Root
from peer.history.reigns import Reign
from peer.history.scratch import Scratch
from peer.history.verdict import Finding
from peer.replay.replay import MAX_ENVIRONMENTS, Replay
from peer.report.facts import (
    MAX_METRICS,
    MAX_TEXT,
    About,
    Answer,
    App,
    Change,
    Distance,
    Distances,
    Error,
    Id,
    Judgement,
    Late,
    Made,
    Participant,
    Place,
    ReplayDifference,
    Round,
    RunReport,
    Table,
    WentOn,
)
from peer.report.points import Points
from protocol.blocks.cid import CID, BlockError
from protocol.blocks.content import ContentKey
from protocol.blocks.typed import to_plain
from protocol.federation.manifest import Manifest, manifest_at, node_id
from protocol.federation.run_keys import read_private
from protocol.records.bodies import (
    Chained,
    Close,
    Dispatch,
    Member,
    NewEnvironment,
    Reply,
    Role,
    Roster,
    Run,
    RunPrivate,
)
from protocol.records.environment import Environment, differing
from protocol.records.signed_records import Record, read_record
from protocol.replay.differences import Outcome
from protocol.visible import named
from strategy.contents.summary import weights_of
from strategy.replies.distances import Content, NotMeasured, Update, update_distances

ALWAYS_UNCHECKED: Final = (
    "What a client trained on, and that it trained at all: its updates and metrics are its own word, which it signed",
    "Who holds a key: the federation's admins have listed it under a name",
    "Times: each is by the clock of the member that wrote it",
)
"""What no audit of a chain can check."""

DISTANCE: Final = "distance from the mean, relative to the mean change"
COSINE: Final = "cosine of the angle to the mean change"

_TRAIN: Final = "train"


def gather(audit: Audit, scratch: Scratch, made: Made, points: Points, apart: Points, why_no_replay: str) -> RunReport:
    """The report of a run that ``audit`` has verified, as far as it could.

    ``points`` and ``apart`` keep what is drawn, and are open as long as the report is used, as ``scratch`` is.
    ``why_no_replay`` is said if there was no replay.
    """
    return _Gathering(audit, scratch, points, apart).report(made, why_no_replay)


@dataclass(slots=True)
class _Span:
    """A member, and when it was one."""

    label: str
    name: str
    roles: tuple[str, ...]
    since: Place
    until: Place | None = None
    keys: dict[bytes, None] = field(default_factory=dict)
    """Its signing keys, in order."""


class _Gathering:
    """What is read from the chain before the rows are."""

    def __init__(self, audit: Audit, scratch: Scratch, points: Points, apart: Points) -> None:
        self._audit = audit
        self._report = audit.run()
        self._scratch = scratch
        self._points = points
        self._apart = apart
        self._spans: dict[bytes, _Span] = {}
        self._changes: list[Change] = []
        self._manifests: list[Manifest] = []
        self._run: Run | None = None
        self._last: Chained | None = None
        self._close: Close | None = None
        self._environment: Environment | None = None
        """In force at the last record that was read."""
        self._went_on: list[WentOn] = []
        self._errors = 0
        self._contents = 0
        self._differences = 0
        with contextlib.suppress(BlockError):  # the audit has said what is wrong; what is sound before that is told
            self._read_chain()
        shared = Counter(span.name for span in self._spans.values())
        self._names = {
            node_id(id): f"{span.name} ({span.label})" if shared[span.name] > 1 else span.name
            for id, span in self._spans.items()
        }
        self._called = {span.name: self._names[node_id(id)] for id, span in self._spans.items()}

    # -- the chain -------------------------------------------------------------------------------------------------

    def _bodies(self) -> Iterator[tuple[Record, Chained]]:
        """The verified records, oldest first."""
        height = self._report.height
        for at, cid in enumerate(self._scratch.oldest_first()):
            if height is None or at > height:
                return
            record = read_record(cid, self._audit.source)
            assert isinstance(record.body, Chained)  # it is verified
            yield record, record.body

    def _read_chain(self) -> None:
        for _, body in self._bodies():
            self._last = body
            match body:
                case Run():
                    self._run = body
                    private = read_private(body, RunPrivate, self._audit.keys)
                    self._environment = None if private is None else private.environment
                    self._take_manifest(body.manifest, body)
                case Roster():
                    self._take_manifest(body.manifest, body)
                case NewEnvironment():
                    self._take_environment(read_private(body, Environment, self._audit.keys), body)
                case Close():
                    self._close = body

    def _take_environment(self, new: Environment | None, body: Chained) -> None:
        was, self._environment = self._environment, new
        if was is not None and new is not None and len(self._went_on) < MAX_ENVIRONMENTS:
            changes = tuple((name, _cut(before), _cut(now)) for name, (before, now) in differing(was, new).items())
            self._went_on.append(WentOn(Place(body.height, body.time), changes))

    def _take_manifest(self, link: CID, body: Chained) -> None:
        assert self._report.federation is not None  # a record is verified
        known = self._manifests[-1] if self._manifests else None
        manifest = manifest_at(
            link, self._report.federation, self._audit.source, known=known, reader=self._audit.reader
        )
        self._manifests = [*self._manifests[:1], manifest]
        place = Place(body.height, body.time)
        for words in self._changed(manifest, place):
            if known is not None:
                self._changes.append(Change(place, manifest.version, words))

    def _changed(self, manifest: Manifest, place: Place) -> Iterator[str]:
        """Take in a manifest, and say what it changes."""
        for id, member in sorted(manifest.members.items(), key=lambda each: _rank(each[1], manifest)):
            roles = tuple(role.value for role in member.roles)
            span = self._spans.get(id)
            if span is None:
                label = f"M{len(self._spans) + 1}"
                name = _cut(manifest.names.get(id, "")) or label
                span = self._spans[id] = _Span(label, name, roles, place)
                yield f"{named(name)} was admitted as {', '.join(roles)}"
            elif span.until is not None:
                yield f"{named(span.name)} was admitted again as {', '.join(roles)}"
            elif span.roles != roles:
                yield f"{named(span.name)} is {', '.join(roles)} and was {', '.join(span.roles)}"
            if span.keys and member.signing not in span.keys:
                yield f"{named(span.name)} changed its keys"
            span.keys[member.signing] = None
            span.roles, span.until = roles, None
        for id, span in self._spans.items():
            if id not in manifest.members and span.until is None:
                span.until = place
                revoked = not span.keys.keys().isdisjoint(manifest.revoked)
                yield f"{named(span.name)} was removed" + (", and its key revoked" if revoked else "")

    def _private(self) -> RunPrivate | None:
        return None if self._run is None else read_private(self._run, RunPrivate, self._audit.keys)

    # -- the whole -------------------------------------------------------------------------------------------------

    def report(self, made: Made, why_no_replay: str) -> RunReport:
        private = self._private()
        readable = private is not None
        self._pass(readable=readable)
        scratch, report = self._scratch, self._report
        return RunReport(
            made=made,
            judgement=self._judgement(why_no_replay, readable=readable),
            about=self._about(readable=readable),
            app=None if private is None else self._app(private),
            replayed=report.replay is not None and not report.replay.unfinished,
            differences=Table(self._differences, self._all_differences),
            reigns=tuple(map(self._reign, report.reigns)),
            reigns_left_out=report.reigns_left_out,
            participants=tuple(self._participants()),
            changes=tuple(self._changes),
            rounds=Table(report.exchanges, self._rounds),
            errors=Table(self._errors, self._all_errors),
            curves=self._points.curves(),
            distances=Table(self._apart.row_count(), self._distances),
            distance_curves=self._apart.curves(),
            metrics_left_out=len(self._points.left_out),
            ids=tuple(self._ids(private)),
            record_ids=Table(scratch.length(), self._record_ids),
            content_ids=Table(self._contents, self._content_ids),
        )

    def _judgement(self, why_no_replay: str, *, readable: bool) -> Judgement:
        report = self._report
        return Judgement(
            verdict=report.verdict,
            words=_cut(verdict_in_words(report, contents=self._audit.with_contents), 2_000),
            root=None if report.root is None else report.root.value,
            root_words=_root_words(report),
            checked=tuple(self._checked()),
            not_checked=(*self._unchecked(why_no_replay, readable=readable), *ALWAYS_UNCHECKED),
            findings=tuple(map(_bounded, report.findings)),
            findings_left_out=report.findings_left_out,
            remarks=tuple(map(_bounded, report.remarks)),
        )

    def _checked(self) -> Iterator[str]:
        report, replay = self._report, self._report.replay
        if report.height is not None:
            yield (
                f"{report.height + 1} of {report.records} records: who signed each, that it links the one before it, "
                "and every rule of the protocol"
            )
        if report.height is not None and self._audit.with_contents:
            names_blocks = any(finding.cid is not None for finding in report.findings)  # those of a replay do not
            but = ", but for what the findings name" if names_blocks else ""
            gone = report.not_kept.contents
            but += f", but for {gone} contents that are not kept by policy" if gone else ""
            yield f"What they link, {self._contents} replies and contents among it: that it is here, and unchanged{but}"
        if report.confirmed:
            yield f"Acks of {len(report.confirmed)} members, which say up to where each of them saw this very history"
        if replay is not None and replay.exchanges:
            yield (
                f"The server's work: its app was run again on the recorded replies, and {replay.messages} messages in "
                f"{replay.exchanges} exchanges are equal bit for bit"
            )

    def _not_replayed(self, replay: Replay) -> Iterator[str]:
        if replay.not_kept:
            yield (
                f"The server's work in {replay.not_kept} of {self._report.exchanges} exchanges: replies before them "
                "are not kept by policy, so its app could not be run again on them"
            )
        if replay.not_checked:
            yield f"Of the server's work, {replay.not_checked}"

    def _unchecked(self, why_no_replay: str, *, readable: bool) -> Iterator[str]:
        report, replay = self._report, self._report.replay
        verified = 0 if report.height is None else report.height + 1
        if verified < report.records:
            yield f"{report.records - verified} of {report.records} records, and what they link: they follow a bad one"
        if not self._audit.with_contents:
            yield "What the records link, such as models and updates: whether it is here, and whole"
        elif report.not_kept.contents:
            yield f"What is not kept by policy: {report.not_kept.in_words(report.keep)}"
        if replay is None:
            yield f"Whether the server computed what it says: its app was not run again ({why_no_replay})"
        else:
            if replay.unfinished:
                yield f"The server's work, all or the rest of it: {_cut(replay.unfinished, 1_000)}"
            if replay.undecided:
                yield (
                    f"Whether the server computed what it says in {replay.undecided} exchanges: what the app did again "
                    f"here differs, and this machine cannot tell why ({replay.settling or 'nothing'} would settle it)"
                )
            yield from self._not_replayed(replay)
        if self._run is not None and not readable:
            why = report.shredded or "the run is encrypted, and no key for it was given"
            yield (
                f"What is in messages, replies and settings: {why}. Names, metrics and distances of updates are not "
                "shown for the same reason"
            )
        if report.closing:
            yield "How long the server waited before it left out a client: no record has when a reply came"
        if not report.confirmed:
            yield "Whether others saw this very history: no ack of a member is here"

    def _about(self, *, readable: bool) -> About:
        report, last = self._report, self._last
        return About(
            federation=_cut(report.federation_name),
            run=_text(report.run),
            head=str(report.head),
            federation_id=_text(report.federation),
            leader=self._called.get(_cut(report.leader)) or self._by(),
            began=None if self._run is None else self._run.time,
            ended=None if self._close is None or last is None else last.time,
            outcome="" if report.outcome is None else report.outcome.value,
            reason=_cut(report.reason),
            records=report.records,
            verified_height=report.height,
            keep=report.keep,
            closing=report.closing,
            best=None if report.best is None else replace(report.best, by=_cut(report.best.by)),
            rounds=report.rounds,
            numbered=report.numbered,
            exchanges=report.exchanges,
            encrypted=self._run is not None and self._run.keys is not None,
            readable=readable,
            settled=report.settled,
        )

    def _reign(self, reign: Reign) -> Reign:
        """A reign, with names as the rest of the report has them."""
        before = self._call(reign.before) if reign.before else ""
        return replace(reign, leader=self._call(reign.leader), before=before, voted=tuple(map(self._call, reign.voted)))

    def _by(self) -> str:
        return "" if self._run is None else self._names.get(node_id(self._run.by), "")

    def _app(self, private: RunPrivate) -> App:
        replay = self._report.replay
        environments = [] if replay is None else replay.environments
        return App(
            name=_cut(private.name),
            version=_cut(private.version),
            id=str(private.app),
            settings=tuple((_cut(key), _cut(_setting(value))) for key, value in private.config),
            environment=tuple(
                (name, _cut(value, 2_000) or "none") for name, value in _flat(to_plain(private.environment))
            ),
            differing=tuple(
                (f"{name} (from height {each.height} on)" if len(environments) > 1 else name, _cut(was), _cut(now))
                for each in environments
                for name, (was, now) in each.differing.items()
            ),
            went_on=tuple(self._went_on),
            replay_format=private.replay_format,
        )

    def _participants(self) -> Iterator[Participant]:
        report = self._report
        for id, span in self._spans.items():
            keys = [span.name, VerifyKey(id).did]
            tally = next((report.participants[key] for key in keys if key in report.participants), Tally())
            yield Participant(
                label=span.label,
                name=self._names[node_id(id)],
                roles=span.roles,
                since=span.since,
                until=span.until,
                asked=tally.asked,
                answered=tally.answered,
                errors=tally.errors,
                left_out=tally.left_out,
                late=tally.late,
                confirmed=next((report.confirmed[key] for key in keys if key in report.confirmed), None),
            )

    # -- rows ------------------------------------------------------------------------------------------------------

    def _pass(self, *, readable: bool) -> None:
        """Read all rows once: the points of the curves, and how far updates were from their mean."""
        self._differences = sum(1 for _ in self._all_differences())
        for row in map(json.loads, self._scratch.rows()):
            at = (row["number"], self._at(row))
            what = _kinds(row["types"])
            words = "the mean weighted by num-examples, as Flower's FedAvg weighs" if row["weighted"] else "plain mean"
            for answer in row["answers"]:
                self._errors += answer["code"] is not None
                self._contents += (answer["reply"] is not None) + (answer["content"] is not None)
                for name, value in answer["metrics"].items():
                    self._points.put(what, _cut(name), self._who(answer), at, _number(value))
            self._contents += len(row["contents"])
            for name, value in row["metrics"].items():
                self._points.put_mean(what, _cut(name), words, at, _number(value))
            if readable and any(kind.partition(".")[0] == _TRAIN for kind in row["types"]):
                self._measure(row, at)

    def _at(self, row: Mapping[str, Any]) -> int:
        """The round that something is drawn at; the exchange, if the app does not number rounds."""
        return int(row["round"]) if row["round"] is not None else int(row["number"])

    def _who(self, answer: Mapping[str, Any]) -> str:
        return self._names.get(answer["node"], f"node {answer['node']}")

    def _measure(self, row: Mapping[str, Any], at: tuple[int, int]) -> None:
        given = [answer for answer in row["answers"] if answer["content"]]
        weights = weights_of([answer["metrics"] for answer in given])
        mean: float | None = None
        updates: tuple[Distance, ...] = ()
        why = ""
        try:
            mean, found = update_distances(
                [
                    Update(*self._opened(answer, row), weight)
                    for answer, weight in zip(given, weights or [1.0] * len(given), strict=True)
                ],
                self._audit.source,
            )
            updates = tuple(
                Distance(self._who(answer), _finite(each.norm), _finite(each.apart), _finite(each.cosine))
                for answer, each in zip(given, found, strict=True)
            )
        except NotMeasured as error:
            why = str(error)
        except BlockError as error:
            why = _cut(f"a content cannot be read: {error}")
        row_of = Distances(row["number"], row["round"], weights is not None, _finite(mean), updates, why)
        self._apart.put_row(row["number"], msgspec.json.encode(row_of).decode())
        for update in updates:
            relative = update.apart / mean if update.apart is not None and mean else None
            self._apart.put("updates", DISTANCE, update.name, at, relative)
            self._apart.put("updates", COSINE, update.name, at, update.cosine)

    def _opened(self, answer: Mapping[str, Any], row: Mapping[str, Any]) -> tuple[Content, Content]:
        reply, dispatch = self._body(answer["reply"]), self._body(row["dispatch"])
        assert isinstance(reply, Reply)  # the chain is verified
        assert isinstance(dispatch, Dispatch)
        keys = self._audit.keys
        given: ContentKey | None = keys.reply_content(reply)
        return (
            Content(CID.parse(answer["content"]), given),
            Content(CID.parse(answer["question"]), keys.content(dispatch.epoch)),
        )

    def _body(self, cid: str) -> object:
        link = CID.parse(cid)
        return read_record(link, self._audit.source).body

    def _rounds(self) -> Iterator[Round]:
        for row in map(json.loads, self._scratch.rows()):
            yield Round(
                number=row["number"],
                round=row["round"],
                types=tuple(map(_cut, row["types"])),
                height=row["height"],
                last_height=row["last_height"],
                sent_at=row["time"],
                ended=row["ended"],
                asked=tuple(sorted(map(self._call, row["participants"]))),
                answers=tuple(map(self._answer, row["answers"])),
                unanswered=tuple(map(self._call, row["unanswered"])),
                late=tuple(Late(self._call(each["name"]), each["exchange"], each["reply"]) for each in row["late"]),
                bytes_sent=row["bytes_sent"],
                bytes_received=row["bytes_received"],
                means=_some(row["metrics"]),
                weighted=row["weighted"],
                confirmed_by=tuple(map(self._call, self._report.confirmed_by(row["last_height"]))),
                recomputed_by=tuple(map(self._call, self._report.recomputed_by(row["height"]))),
                dispatch=row["dispatch"],
                contents=tuple(row["contents"]),
            )

    def _answer(self, answer: Mapping[str, Any]) -> Answer:
        return Answer(
            name=self._who(answer),
            reply=answer["reply"],
            content=answer["content"],
            bytes=answer["bytes"],
            metrics=_some(answer["metrics"]),
            code=answer["code"],
            reason=_cut(answer["reason"]),
            refused=answer["refused"],
            left_out=answer["left_out"],
        )

    def _call(self, name: str) -> str:
        """What a member is called in the report that the audit calls ``name``."""
        found = self._called.get(_cut(name))
        if found is not None:
            return found
        by_key = (self._names[node_id(id)] for id in self._spans if VerifyKey(id).did == name)
        return next(by_key, _cut(name))

    def _all_errors(self) -> Iterator[Error]:
        for each in self._rounds():
            where = f"round {each.round}" if each.round is not None else f"exchange {each.number}"
            for answer in each.errors:
                code = answer.code or 0
                yield Error(where, answer.name, answer.refused is not None, answer.left_out, answer.reason, code)

    def _all_differences(self) -> Iterator[ReplayDifference]:
        for row in map(json.loads, self._scratch.rows()):
            compared = row.get("compared")
            if compared is not None and compared["outcome"] != Outcome.EQUAL:
                yield _difference(row["number"], row["round"], row["height"], compared)
        replay = self._report.replay
        if replay is not None and (told := replay.at_end) is not None:
            yield _difference(None, told.round, told.height, told.value())

    def _distances(self) -> Iterator[Distances]:
        return (msgspec.json.decode(row, type=described(Distances)) for row in self._apart.rows())

    # -- what labels stand for -------------------------------------------------------------------------------------

    def _ids(self, private: RunPrivate | None) -> Iterator[Id]:
        report = self._report
        yield Id("head", "the newest record, which fixes all of the run", str(report.head))
        for label, what, cid in (
            ("run", "the first record", report.run),
            ("federation", "version 1 of its manifest", report.federation),
            ("app", "the app, as the same files always have it", private.app if private else None),
            ("bundle", "the app's files, as this run has them", self._run.bundle if self._run else None),
            ("seed", "from which the app's random numbers begin", self._run.seed if self._run else None),
            ("initial model", "what the app began with", self._run.initial_model if self._run else None),
            ("final model", "what the app ended with", report.model),
        ):
            if cid is not None:
                yield Id(label, what, str(cid))
        for manifest in self._manifests:
            yield Id(f"manifest {manifest.version}", "the list of members", str(manifest.cid))
        for span in self._spans.values():
            for number, key in enumerate(span.keys):
                name = "" if span.name == span.label else f"{named(span.name)}, "
                yield Id(span.label, f"{name}{'its key' if number == 0 else 'its newer key'}", VerifyKey(key).did)

    def _record_ids(self) -> Iterator[Id]:
        for record, body in self._bodies():
            yield Id(f"height {body.height}", body.TYPE.value, str(record.cid))

    def _content_ids(self) -> Iterator[Id]:
        for each in self._rounds():
            what = _kinds(each.types)
            where = f"round {each.round}, {what}" if each.round is not None else f"exchange {each.number}, {what}"
            for content in each.contents:
                yield Id(where, "sent by the server", content)
            for answer in each.answers:
                if answer.reply:
                    yield Id(where, f"reply of {named(answer.name)}", answer.reply)
                if answer.content:
                    yield Id(where, f"content of {named(answer.name)}", answer.content)
                if answer.refused:
                    yield Id(where, f"refused reply of {named(answer.name)}", answer.refused)


def _root_words(report: Report) -> str:
    """The root of trust; its id is among the ids, if there is a name for it."""
    said = root_in_words(report)
    shortened = report.federation_name and report.root in (Root.GIVEN, Root.JOINED)  # else a reader has to compare it
    return said.replace(f"{report.federation}, ", "", 1) if shortened else said


def _difference(number: int | None, round: int | None, height: int, compared: Mapping[str, Any]) -> ReplayDifference:
    return ReplayDifference(
        number=number,
        round=round,
        height=height,
        what=_cut(compared["what"] or ""),
        record=_cut(compared["record"] or ""),
        tensor=_cut(compared["tensor"] or ""),
        largest=compared["largest"],
        ulps=compared["ulps"],
        of_update=compared["of_update"],
        of_bound=compared["of_bound"],
        unbounded=_cut(compared["unbounded"] or ""),
        outcome=Outcome(compared["outcome"]),
    )


def _rank(member: Member, manifest: Manifest) -> tuple[bool, str]:
    """Servers first, then by name."""
    return Role.SERVER not in member.roles, manifest.names.get(member.id, "")


def _cut(text: str, most: int = MAX_TEXT) -> str:
    return text if len(text) <= most else f"{text[:most]}... ({len(text)} characters)"


def _kinds(types: Sequence[str]) -> str:
    """What an exchange's messages are: it is said of each content, and a dispatch may have any number of types."""
    return _cut(" ".join(types)) or "messages"


def _bounded(finding: Finding) -> Finding:
    return Finding(finding.height, finding.cid, finding.rule, _cut(finding.message, 2_000), finding.count)


def _some(metrics: Mapping[str, Any]) -> dict[str, object]:
    """The first metrics; of a list, its beginning."""
    return {
        _cut(name): value[:MAX_METRICS] if isinstance(value, list) else _short(value)
        for name, value in list(metrics.items())[:MAX_METRICS]
    }


def _short(value: object) -> object:
    return _cut(value) if isinstance(value, str) else value


def _number(value: object) -> object:
    """A number of a row: those that JSON lacks are texts there."""
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return float(value)
    return value


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _setting(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _flat(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    """Nested values as pairs of a name and a text."""
    match value:
        case dict():
            for key, item in value.items():
                yield from _flat(item, f"{name} {key}".strip())
        case list() | tuple():
            yield name, ", ".join(map(_item, value))
        case _:
            yield name, str(value)


def _item(value: object) -> str:
    """An item of a list, such as a package with its version."""
    match value:
        case dict():
            return " ".join(map(str, value.values()))
        case list() | tuple():
            return " ".join(map(str, value))
    return str(value)


def _text(cid: CID | None) -> str | None:
    return None if cid is None else str(cid)
