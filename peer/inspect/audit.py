"""The audit of a run: every record by every rule, and everything a record links (design section 7).

First the chain is walked back from its head, then verified forward by `protocol.chain.Chain`. Memory does not grow with
the length of the chain: what must be remembered of it is in a `Scratch` on disk.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain as chained
from typing import Final

from crypto.dsse import BadSignature
from peer.federation import StoredFederation
from peer.inspect.findings import (
    CAR_SECTION,
    CUT_SHORT,
    EQUIVOCATION,
    FEDERATION_BRANCH,
    MISSING_BLOCK,
    Finding,
    verdict_of,
)
from peer.inspect.report import Report, exchange_value
from peer.inspect.rounds import Rounds
from peer.inspect.scratch import Scratch
from peer.inspect.sources import CarSource, RunSource
from peer.inspect.walk import walk_back
from protocol import rules
from protocol.blocks import CID, Block, BlockError, BlockMismatch, MissingBlock, encode_cbor
from protocol.chain import Chain, Step
from protocol.closure import contents
from protocol.equivocation import equivocation, place_of
from protocol.manifest import ManifestError, manifest_at
from protocol.records import Chained, Collect, Federation, GridError, Record, Run, answers, parse_record

MAX_FINDINGS: Final = 1_000
"""How many findings are told one by one."""


class Audit:
    """One audit. ``known`` are the federations of the auditor's home: the keys in them are trusted already."""

    def __init__(
        self,
        head: CID,
        source: RunSource,
        scratch: Scratch,
        *,
        known: Sequence[StoredFederation] = (),
        head_height: int | None = None,
        with_contents: bool = True,
    ) -> None:
        self._source = source
        self._scratch = scratch
        self._known = {stored.id: stored for stored in known}
        self._head_height = head_height
        self._with_contents = with_contents
        self._rounds = Rounds(source, scratch.size_of)
        self._chain: Chain | None = None
        self.report = Report(head)

    def run(self) -> Report:
        """Audit, and say what was found.

        Raises:
            peer.inspect.walk.NotAHead: where the head is no record of a chain.
            EngineError: where the engine cannot be used.
        """
        finding = walk_back(self.report.head, self._source, self._scratch, self._head_height)
        if finding is None:
            self._verify_forward()
        else:
            self._note(self._with_height(finding))
            self._check_alone()
        if isinstance(self._source, CarSource):
            self._check_car(self._source)
        self.report.verdict = verdict_of(self.report.findings)
        return self.report

    # -- forward ---------------------------------------------------------------------------------------------------

    def _verify_forward(self) -> None:
        for height, cid in enumerate(self._scratch.oldest_first()):
            try:
                step = self._append(Block(cid, self._source.get(cid)))
            except MissingBlock as error:
                self._note(Finding(height, error.cid, MISSING_BLOCK, f"record {cid} cannot be verified: {error}"))
                break
            except BlockError as error:
                self._note_broken(height, cid, error)
                break
            self._take(height, step)
        for exchange in self._rounds.finish():
            self._put(exchange_value(exchange), exchange.number)
        self._tell_chain()

    def _append(self, block: Block) -> Step:
        """Verify one record; the first one says which federation the run is in."""
        if self._chain is None:
            record = parse_record(block)
            if not isinstance(record.body, Run):
                raise rules.RunFirst(f"the chain begins with a {record.body.TYPE}")
            self._chain = Chain(self._federation_of(record.body.manifest))
        return self._chain.append_block(block, self._source)

    def _federation_of(self, manifest: CID) -> CID:
        """The first version of ``manifest``; that all versions are right is for the chain to check."""
        link = manifest
        while True:
            body = parse_record(Block(link, self._source.get(link))).body
            if not isinstance(body, Federation):
                raise rules.ManifestFollows(f"{link} is a {body.TYPE} record, no manifest")
            if body.prev is None:
                return link
            link = body.prev

    def _take(self, height: int, step: Step) -> None:
        assert self._chain is not None  # it made the step
        if self._with_contents:
            for root in contents(step.record, self._source):
                self._check_content(height, root)
        for record in self._replies(step):
            self._check_contradiction(record, height)
        for exchange in self._rounds.take(step, self._chain.manifest):
            self._put(exchange_value(exchange), exchange.number)
            self.report.tally(exchange)

    def _check_content(self, height: int, root: CID) -> None:
        assert self._chain is not None
        if self._scratch.size_of(root) is not None:
            return
        size = 0
        try:
            for block in self._source.content(root, self._chain.manifest.settings.max_content_bytes):
                size += len(block.data)
        except MissingBlock as error:
            self._note(Finding(height, error.cid, MISSING_BLOCK, f"content {root} is not whole: {error}"))
        except BlockError as error:
            self._note_broken(height, root, error)
        self._scratch.see(root, size)

    def _replies(self, step: Step) -> Iterator[Record]:
        """The replies that a record takes, and those it refuses."""
        yield from (answered.reply for answered in step.answered if answered.reply is not None)
        if isinstance(step.record.body, Collect):
            for answer in answers(step.record.body, self._source):
                if isinstance(answer, GridError) and answer.refused is not None:
                    yield parse_record(Block(answer.refused, self._source.get(answer.refused)))

    # -- besides the chain -----------------------------------------------------------------------------------------

    def _check_alone(self) -> None:
        """Of a chain that is not whole, each record alone: a forged one is somebody's fault all the same."""
        for cid in self._scratch.newest_first():
            record = parse_record(Block(cid, self._source.get(cid)))
            try:
                record.valid_signers()
            except BadSignature as error:
                height = record.body.height if isinstance(record.body, Chained) else None
                self._note(Finding(height, cid, rules.SignatureValid.name, str(error)))

    def _check_car(self, car: CarSource) -> None:
        """What else is in the file: contradictions that the chain does not link, and damage that nothing above met."""
        highest = -1
        for block in car.blocks():
            if block.cid.is_raw:
                continue
            try:
                record = parse_record(block)
            except BlockError:
                continue  # a content's manifest, a listing
            highest = max(highest, record.body.height if isinstance(record.body, Chained) else -1)
            self._check_contradiction(record, None)
        for damage in car.damage:
            self._note(Finding(None, None, CAR_SECTION, damage))
        if car.cut_short:
            self._note(Finding(None, None, CUT_SHORT, car.cut_short))

    def _check_contradiction(self, record: Record, height: int | None) -> None:
        place = place_of(record)
        if place is None:
            return
        other = self._scratch.say(encode_cbor(list(place)), record.body.by, record.cid)
        if other is None:
            return
        proof = equivocation(record, parse_record(Block(other, self._source.get(other))))
        if proof is not None:
            what = f"{self._name(record.body.by)} signed two different records in one place: {other} and {record.cid}"
            self._note(Finding(height, record.cid, EQUIVOCATION, what))

    def _check_branch(self) -> None:
        """Whether the run's manifest and the one in this home are versions of one line."""
        assert self._chain is not None
        known = self._known.get(self._chain.federation)
        if known is None:
            return
        ours, theirs = known.manifest, self._chain.manifest
        try:
            if theirs.version > ours.version:
                manifest_at(theirs.cid, ours.federation, self._source, known=ours)
            elif theirs.cid not in known.versions():
                raise ManifestError(rule=_BRANCH, message=f"{theirs.cid} is not version {theirs.version} here")
        except ManifestError as error:
            what = f"the run's manifest and this home's are two branches of {ours.name!r}: {error}"
            self._note(Finding(self._chain.height, theirs.cid, FEDERATION_BRANCH, what))

    # -- telling ---------------------------------------------------------------------------------------------------

    def _tell_chain(self) -> None:
        chain = self._chain
        if chain is None or chain.head is None:
            return
        self._check_branch()
        self.report.tell(chain, self._rounds, known=chain.federation in self._known)
        self.report.tell_run(parse_record(Block(chain.run, self._source.get(chain.run))))
        self.report.tell_end(parse_record(Block(chain.head, self._source.get(chain.head))))
