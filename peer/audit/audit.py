"""The audit of a run: every record by every rule, and everything that a record links.

First the chain is walked back from its head. Then `protocol.chain.chain.Chain` verifies it forward. What must be
remembered is in a `Scratch` on disk, so memory does not grow with the length of the chain.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import replace
from typing import Final

from crypto.dsse import BadSignature
from peer.audit.confirmations import Confirmations
from peer.audit.kept_reports import Basis
from peer.audit.key_history import KeyHistory
from peer.audit.report import BestModel, Report, Settled
from peer.audit.revocations import Revocations
from peer.audit.root_of_trust import Root
from peer.audit.terms.promises import Promises
from peer.base.errors import PeerError
from peer.erasure.shredded_runs import why_shredded
from peer.history.not_kept import Lacking
from peer.history.reigns import Reigns
from peer.history.rounds import Exchange, Rounds, exchange_value
from peer.history.run_sources import CarSource, RunSource
from peer.history.scratch import Scratch
from peer.history.verdict import (
    APP_BUNDLE,
    CAR_SECTION,
    CUT_SHORT,
    EQUIVOCATION,
    FEDERATION_BRANCH,
    MISSING_BLOCK,
    OTHER_APP,
    OTHER_FEDERATION,
    REMARKS,
    REVOKED_EQUIVOCATION,
    SHREDDED,
    UNSETTLED_CLOSE,
    Finding,
    Verdict,
    verdict_of,
)
from peer.history.walk_back import height_above, walk_back
from peer.home.acks_grants_proofs import NOTHING, AcksGrantsProofs, run_named
from peer.home.federations import StoredFederation
from peer.replay.conditions import AuditedApp, ReplayToCome
from peer.replay.replay import ComparedExchange
from peer.replay.run_replay import RunReplay, Versions
from protocol.blocks.bundle import NamedBundle, difference_from, read_named_bundle
from protocol.blocks.cid import CID, Block, BlockError, BlockMismatch, MemoryBlocks, MissingBlock, encode_cbor
from protocol.chain import rules
from protocol.chain.chain import Chain, Step
from protocol.federation.manifest import PUBLIC, Manifest, ManifestError, federation_of, manifest_at
from protocol.federation.readers import Reader
from protocol.federation.run_keys import RunKeys, read_private
from protocol.keeping.best import BestSoFar
from protocol.keeping.confirmed import audited_height
from protocol.keeping.droppable import RunSoFar
from protocol.keeping.plan import KEEP_EVERYTHING
from protocol.records.bodies import (
    Chained,
    Close,
    Collect,
    GridError,
    Keys,
    NewEnvironment,
    Reply,
    Role,
    Roster,
    Run,
    RunConfig,
    RunPrivate,
)
from protocol.records.broken_promises import BrokenPromise
from protocol.records.equivocation import Equivocation, equivocation, place_of, read_proof
from protocol.records.signed_records import Record, WellSigned, answers, parse_record, read_record
from protocol.roles.leader.run_plan import named_bundle

MAX_FINDINGS: Final = 1_000
"""How many findings are listed one by one."""


class Audit:
    """One audit.

    ``known`` are the federations of the auditor's home, whose keys are trusted already. ``root`` is the id of the
    federation that the run has to be in, if the auditor named one. ``reader`` opens what is encrypted, as far as it
    can: verifying needs no secret. The signatures of ``well_signed`` records are not verified again; without any, the
    verdict comes from the bytes alone. The scratch notes whose signatures were found right. ``dropped_here`` are the
    contents that the auditor's home dropped by its own plan.
    """

    def __init__(
        self,
        head: CID,
        source: RunSource,
        scratch: Scratch,
        *,
        known: Sequence[StoredFederation] = (),
        root: CID | None = None,
        reader: Reader = PUBLIC,
        beside: AcksGrantsProofs = NOTHING,
        head_height: int | None = None,
        with_contents: bool = True,
        well_signed: WellSigned = frozenset(),
        dropped_here: Container[CID] = frozenset(),
    ) -> None:
        self._source = source
        self._scratch = scratch
        self._reader = reader
        self._beside = beside
        self._known = {stored.id: stored for stored in known}
        self._root = root
        self._head_height = head_height
        self._with_contents = with_contents
        self._well_signed = well_signed
        self._rounds = Rounds(source, scratch.size_of, need_no_contents=not with_contents)
        self._lacking = Lacking(scratch, dropped_here)
        self._best: BestSoFar | None = None
        """None if no metric is named, or not to this reader."""
        self._is_best_known = True
        """Whether the answers of all exchanges could be read by which the best is told."""
        self._chain: Chain | None = None
        self._confirmations: Confirmations | None = None
        self._revocations: Revocations | None = None
        self._keys_had = KeyHistory()
        self._reigns = Reigns()
        self._promises = Promises(source, self._keys_had)
        self._contradictions: list[tuple[Equivocation, CID, int | None]] = []
        """Two records that one key signed at one place. Whose key it was is known once the chain is read."""
        self._rules: set[str] = set()
        self._to_come: ReplayToCome | None = None
        self._begun: RunReplay | None = None
        """The replay to come, if its app process has been started."""
        self._is_done = False
        self.proofs: list[Equivocation | BrokenPromise] = []
        """After `run`: what proves its findings against a key by itself, with no chain."""
        self.report = Report(head)

    @property
    def with_contents(self) -> bool:
        """Whether it reads what the records link."""
        return self._with_contents

    @property
    def source(self) -> RunSource:
        """Where the run is read from."""
        return self._source

    def close(self) -> None:
        """End what was started for a replay."""
        begun, self._begun = self._begun, None
        if begun is not None:
            begun.close()

    def run(self, to_come: ReplayToCome | None = None) -> Report:
        """Audit, and report what was found. Later calls return the same report.

        If a replay is ``to_come``, its app process starts as soon as the run record is verified, because imports take
        long. It gets nothing to run before `replay`. `close` ends it.

        Raises:
            PeerError: if the head is not a record of a chain.
            EngineError: if the engine cannot be used.
        """
        if self._is_done:
            return self.report
        self._to_come = to_come
        finding = walk_back(self.report.head, self._source, self._scratch, self._head_height)
        self._tell_start()
        if finding is None:
            self._verify_forward()
        else:
            self._note(self._with_height(finding))
            self._check_alone()
        if isinstance(self._source, CarSource):
            self._check_car(self._source)
        self._check_proofs()
        for found, cid, height in self._contradictions:
            self._note_equivocation(found, cid, height)
        self._check_promises()
        self.report.verdict = verdict_of(self._rules)
        if self.report.verdict is not Verdict.VERIFIED:
            self.close()
        self._is_done = True
        return self.report

    @property
    def reader(self) -> Reader:
        """The reader that opens what is encrypted."""
        return self._reader

    @property
    def basis(self) -> Basis | None:
        """After `run`: what the verdict rests on besides the chain; None if the run record is not verified."""
        if self._chain is None or self._chain.head is None:
            return None
        known = self._known.get(self._chain.federation)
        newest = None if known is None else known.manifest.cid
        return Basis(newest, self._beside.cids(), encrypted=self._chain.keys.current is not None)

    @property
    def chain(self) -> Chain | None:
        """After `run`: the chain, as far as it is verified; None if not even the run record is."""
        return self._chain

    @property
    def keys(self) -> RunKeys:
        """After `run`: the run's keys, as far as the reader may read them."""
        return self._chain.keys if self._chain else RunKeys(self._reader)

    def bundle(self) -> NamedBundle | None:
        """After `run`: the app that the run record names, and its bundle; None if this reader cannot read them."""
        found = self._run_private()
        return None if found is None or self._chain is None else named_bundle(*found, self._chain.keys)

    def run_config(self) -> RunConfig | None:
        """After `run`: the settings that the run record names; None if this reader cannot read them."""
        found = self._run_private()
        return None if found is None else found[1].config

    def recorded(self) -> RunPrivate | None:
        """After `run`: what the run record says of app and environment; None if that is for other readers."""
        found = self._run_private()
        return None if found is None else found[1]

    def _run_private(self) -> tuple[Run, RunPrivate] | None:
        if self._chain is None or self._chain.head is None:
            return None
        run = read_record(self._chain.run, self._source).body
        assert isinstance(run, Run)  # the chain begins with it
        private = read_private(run, RunPrivate, self._chain.keys)
        return None if private is None else (run, private)

    def replay(
        self,
        app: AuditedApp,
        *,
        to_round: int | None = None,
        on_compared: Callable[[ComparedExchange], None] = lambda _: None,
        on_versions: Callable[[Versions], None] = lambda _: None,
    ) -> None:
        """After `run`, and only if the chain is sound: run the app again, and compare what it does with what is
        recorded.

        ``to_round`` is the last round to replay; None replays to the end. ``on_versions`` is told, before the app
        starts, which packages have other versions here than in the run.
        """
        if self.report.verdict is not Verdict.VERIFIED or self.report.run is None:
            return
        if self._is_shredded():
            self._note(Finding(0, self.report.run, SHREDDED, self.report.shredded))
            self.report.verdict = verdict_of(self._rules)
            return
        bundle = self.bundle()
        if bundle is not None and app.id != bundle.app:
            what = f"the run is of the app {bundle.app}, and {app.where} has the app {app.id}"
            with contextlib.suppress(BlockError):
                files = [(file.path, file.read(app.source)) for file in app.files]
                what += f": {difference_from(bundle, self._source, files).in_words()}"
            self._note(Finding(0, self.report.run, OTHER_APP, what))
        else:
            with contextlib.closing(self._replay_of(self.report.run, app)) as begun:
                replay = begun.run(
                    self.keys,
                    to_round=to_round,
                    numbered=self.report.numbered,
                    changes_environment=self.report.environments > 1,
                    exchanges=self.report.exchanges,
                    has_gaps=self.report.not_kept.contents > 0,
                    on_compared=on_compared,
                    on_versions=on_versions,
                )
            self.report.replay = replay
            for finding in replay.findings():
                self._note(finding)
        self.report.verdict = verdict_of(self._rules)

    def _is_shredded(self) -> bool:
        """Whether the run's keys were destroyed, so that this reader cannot replay it."""
        why = "" if self._chain is None else why_shredded(self._known.get(self._chain.federation), self._chain.run)
        return bool(why) and self.recorded() is None

    def _replay_of(self, run: CID, app: AuditedApp) -> RunReplay:
        """The replay with ``app``, whose process may have been started already."""
        begun, self._begun = self._begun, None
        if begun is not None and begun.app is app:
            return begun
        if begun is not None:
            begun.close()
        begun = RunReplay(run, self._scratch, self._source, self.keys, app.conditions)
        begun.start()
        begun.give(app)
        return begun

    def _begin_replay(self, to_come: ReplayToCome) -> None:
        """Start the app process of the replay to come, which imports while the run is verified."""
        assert self._chain is not None  # the run record is verified
        self._begun = RunReplay(self._chain.run, self._scratch, self._source, self.keys, to_come.conditions)
        self._begun.start()
        try:
            self._begun.give(to_come.app())
        except (PeerError, BlockError):  # whoever wants the replay asks for the app again, if the run is verified
            self.close()

    # -- forward ---------------------------------------------------------------------------------------------------

    def _foresee(self) -> None:
        """Let the reader take keys from the whole chain first: what it was given later may open what came before."""
        bodies = (read_record(cid, self._source).body for cid in self._scratch.newest_first())
        links = (body.keys for body in bodies if isinstance(body, Run | Roster) and body.keys is not None)
        keys = (read_record(link, self._source).body for link in links)
        with contextlib.suppress(BlockError):  # verifying the record that links it will say so
            run = read_record(self.report.run, self._source).body if self.report.run else None
            if isinstance(run, Run):
                federation = federation_of(run.manifest, self._source)
                self._reader.foresee((body for body in keys if isinstance(body, Keys)), federation, self._source)

    def _verify_forward(self) -> None:
        if self._reader.has_keys:
            self._foresee()
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
            if height == 0:
                self._tell_keeping()
            if height == 0 and self._to_come is not None and not self._is_shredded():
                self._begin_replay(self._to_come)
        for exchange in self._rounds.finish():
            self._put(exchange)
        if self._with_contents:
            self._check_bundle()
        self._tell_chain()

    def _tell_keeping(self) -> None:
        """Take from the run record what stays of the run, when exchanges close, and what marks its best model."""
        assert self._chain is not None  # the run record is verified
        run = read_record(self._chain.run, self._source).body
        assert isinstance(run, Run)  # the chain begins with it
        self._lacking.plan, self.report.keep = run.plan, run.plan.text_if_any
        self.report.closing = run.closing
        private = read_private(run, RunPrivate, self._chain.keys)
        if private is not None and private.best_by is not None:
            self._best = BestSoFar(private.best_by)

    def _append(self, block: Block) -> Step:
        """Verify one record. The first one says which federation the run is in."""
        if self._chain is None:
            record = parse_record(block)
            if not isinstance(record.body, Run):
                raise rules.RunFirst(f"the chain begins with a {record.body.TYPE}")
            federation = federation_of(record.body.manifest, self._source)
            self._chain = Chain(federation, self._reader, self._well_signed)
        return self._chain.append_block(block, self._source)

    def _take(self, height: int, step: Step) -> None:
        assert self._chain is not None  # it made the step
        self._scratch.note_well_signed(step.well_signed)
        if isinstance(step.record.body, Run | NewEnvironment):
            self.report.environments += 1
        if step.manifest_changed:
            self._keys_had.take(height, self._chain.manifest)
        if self._with_contents:
            for root, kind, number in self._lacking.exchanges.take(step.record, self._source):
                self._check_content(height, root, step)
                self._lacking.uses(root, kind, number)
        self._reigns.take(step, self._chain)
        self._promises.step(step)
        for record in (*self._replies(step), *step.votes, *step.dispute):
            self._check_contradiction(record, height)
        for exchange in self._rounds.take(step, self._chain.in_force):
            self._put(exchange)
        if self._confirmations is None:
            self._confirmations = Confirmations(self._chain.run, self._beside.acks, self._source, self._promises)
            known = self._known.get(self._chain.federation)
            self._revocations = None if known is None else Revocations(known.manifest)
        self._confirmations.take(step, self._chain)
        if self._revocations is not None:
            self._revocations.take(step, self._chain, self._confirmations.heights)

    def _check_content(self, height: int, root: CID, step: Step) -> None:
        assert self._chain is not None
        manifest = self._chain.manifest
        if self._scratch.size_of(root) is not None or self._scratch.lacks(root):
            return
        size = 0
        try:
            size = self._source.content_size(root, manifest.settings.max_content_bytes)
        except MissingBlock as error:
            what = f"{self._what_is(root, step, manifest)} (content {root}) is not whole: {error}"
            self._lacking.note(root, Finding(height, error.cid, MISSING_BLOCK, what))
            if self._lacking.plan != KEEP_EVERYTHING:
                self._source.hurry()
            return
        except BlockError as error:
            self._note_broken(height, root, error, f"in {self._what_is(root, step, manifest)}: ")
        self._scratch.see(root, size)

    def _check_bundle(self) -> None:
        """Check that the bundle holds the app that the run record names, as far as it can be read."""
        bundle = self.bundle()
        if bundle is None or bundle.content == bundle.app:
            return
        try:
            read_named_bundle(bundle, self._source)
        except MissingBlock:
            pass  # noted already: it is a content that is not whole
        except BlockError as error:
            self._note(Finding(0, bundle.content, APP_BUNDLE, f"in the app: {error}"))

    def _what_is(self, root: CID, step: Step, manifest: Manifest) -> str:
        """What the content ``root`` is in the record of ``step``, in words."""
        match step.record.body:
            case Run(bundle=bundle, seed=seed):
                return {bundle: "the app", seed: "the seed"}.get(root, "the initial model")
            case Collect():
                replies = [each.reply.body for each in step.answered if each.reply is not None]
                authors = [body.by for body in replies if isinstance(body, Reply) and body.content == root]
                return f"what {', '.join(map(manifest.called, authors))} answered"
            case Close():
                return "the final model"
            case _:
                return "what the server sent"

    def _replies(self, step: Step) -> Iterator[Record]:
        """The replies that a record takes, and those that it refuses."""
        yield from (answered.reply for answered in step.answered if answered.reply is not None)
        if isinstance(step.record.body, Collect):
            for answer in answers(step.record.body, self._source):
                if isinstance(answer, GridError) and answer.refused is not None:
                    yield read_record(answer.refused, self._source)

    def _settle_lacking(self, chain: Chain) -> None:
        """Tell what is missing from what is not kept by policy."""
        exchanges = self._lacking.exchanges
        confirmed = {} if self._confirmations is None else self._confirmations.heights
        best = self._best.exchange if self._best is not None and self._is_best_known else None
        run = RunSoFar(len(exchanges), chain.closed, audited_height(confirmed, chain.manifest), best)
        for finding in self._lacking.settle(run, self.report.not_kept):
            self._note(finding)

    def _mark_best(self, exchange: Exchange) -> None:
        best = self._best
        if best is None:
            return
        if best.take(exchange.number, exchange.mean_metrics().get(best.by.metric)):
            self.report.best = BestModel(str(best.by), exchange.number, exchange.round, best.value)
        if any(answer.content is not None and self._scratch.lacks(answer.content) for answer in exchange.answers):
            self._is_best_known = self._is_best_known and all(
                answer.metrics for answer in exchange.answers if answer.code is None
            )

    def _put(self, exchange: Exchange) -> None:
        self.report.tally(exchange)
        self._mark_best(exchange)
        self._scratch.put_row(exchange.number, json.dumps(exchange_value(exchange)))

    # -- besides the chain -----------------------------------------------------------------------------------------

    def _check_alone(self) -> None:
        """Check each record of a broken chain alone: a forged one is somebody's fault all the same."""
        for cid in self._scratch.newest_first():
            record = read_record(cid, self._source)
            try:
                record.check_signatures(self._well_signed)
            except BadSignature as error:
                height = record.body.height if isinstance(record.body, Chained) else None
                self._note(Finding(height, cid, rules.SignatureValid.name, str(error)))

    def _check_car(self, car: CarSource) -> None:
        """Check the rest of the file: for contradictions that the chain does not link, and for damage that nothing has
        met yet."""
        for block in car.blocks(chunks=False):
            with contextlib.suppress(BlockError):  # a content's manifest, a listing
                record = parse_record(block)
                self._check_contradiction(record, None)
                self._take_beside(record)
        for damage in car.damage:
            self._note(Finding(None, None, CAR_SECTION, damage))
        if car.cut_short:
            self._note(Finding(None, None, CUT_SHORT, car.cut_short))

    def _take_beside(self, record: Record) -> None:
        """Take a vote, or a record of a tail that was lost, which the chain does not have."""
        if self.report.run is not None and not self._scratch.in_chain(record.cid):
            self._promises.take_beside(record, self.report.run, self._well_signed)

    def _check_promises(self) -> None:
        """Note the promises that were broken."""
        if self._chain is None or self._confirmations is None:
            return
        if self._beside.votes:
            self._source.hurry()  # nobody need have the heads that they name
        for block in self._beside.votes:
            record = parse_record(block)
            self._check_contradiction(record, None)
            self._take_beside(record)
        for head in self._promises.wanted(self._confirmations.lost, self._reigns):
            self._source.hurry()
            with contextlib.suppress(BlockError):  # then it is a remark
                self._take_beside(read_record(head, self._source))
        for finding, proof in self._promises.findings(self._chain, self._revoked(self._chain)):
            self._note(finding)
            self.proofs += [] if proof is None else [proof]

    def _check_proofs(self) -> None:
        """Take the proofs beside the run, unless the audit met the same two records: a file has its proofs' records."""
        met = {(found.key, found.first.id, found.second.id) for found, *_ in self._contradictions}
        for proof, *records in self._beside.proofs:
            with contextlib.suppress(BlockError):  # then it proves nothing
                found = read_proof(proof, MemoryBlocks({block.cid: block.data for block in records}))
                if found.run == self.report.run and (found.key, found.first.id, found.second.id) not in met:
                    self._contradictions.append((found, found.second.cid, None))

    def _note_equivocation(self, found: Equivocation, cid: CID, height: int | None) -> None:
        """Note it if the key was the member's own: anybody may sign in its name, which proves nothing about it. If the
        key was revoked since, nobody can tell who used it."""
        if self._chain is None or not self._keys_had.proves(found, self._source):
            return
        name, both = self._chain.manifest.called(found.by), f"{found.first.cid} and {found.second.cid}"
        if found.key in self._revoked(self._chain):
            what = f"a key of {name}'s that was revoked since signed two records in one place: {both}"
            self._note(Finding(height, cid, REVOKED_EQUIVOCATION, what))
        else:
            what = f"{name} signed two different records in one place: {both}"
            self.proofs.append(found)
            self._note(Finding(height, cid, EQUIVOCATION, what))

    def _revoked(self, chain: Chain) -> frozenset[bytes]:
        """The keys that a manifest revokes: the newest one of the run, or of this home."""
        known = self._known.get(chain.federation)
        return frozenset((*chain.manifest.revoked, *(known.manifest.revoked if known else ())))

    def _check_contradiction(self, record: Record, height: int | None) -> None:
        """Note a contradiction if the same key has signed another record at the same place."""
        place = place_of(record)
        if place is None:
            return
        (key,) = record.signers  # a member does not answer for what another key signed in its name
        other = self._scratch.say(encode_cbor(list(place)), record.body.by + key, record.cid)
        if other is None or len(self._contradictions) >= MAX_FINDINGS:
            return
        proof = equivocation(record, read_record(other, self._source))
        if proof is not None:
            self._contradictions.append((proof, record.cid, height))

    def _check_root(self, chain: Chain) -> None:
        """Check that the run is in the federation that the auditor named."""
        if self._root is None or chain.federation == self._root:
            return
        what = f"the run is in the federation {chain.federation}, not in {self._root}, which is the root of trust here"
        self._note(Finding(0, chain.run, OTHER_FEDERATION, what))

    def _root_of(self, chain: Chain) -> Root:
        if chain.federation == self._root:
            return Root.GIVEN
        return Root.JOINED if chain.federation in self._known else Root.RUN

    def _check_branch(self, chain: Chain) -> None:
        """Check that one of the run's manifest and this home's follows from the other."""
        known = self._known.get(chain.federation)
        if known is None:
            return
        ours, theirs = known.manifest, chain.manifest
        if theirs.version > ours.version:
            with contextlib.suppress(ManifestError):
                manifest_at(theirs.cid, ours.federation, self._source, known=ours)
                return
        elif theirs.id in known.versions():
            return
        what = f"version {theirs.version} of the run's manifest and {ours.version} of this home's are on two branches"
        self._note(Finding(chain.height, theirs.cid, FEDERATION_BRANCH, what))

    # -- telling ---------------------------------------------------------------------------------------------------

    def _note(self, finding: Finding) -> None:
        if finding.rule in REMARKS:
            self.report.remarks += [finding][: MAX_FINDINGS - len(self.report.remarks)]
            return
        self._rules.add(finding.rule)
        if len(self.report.findings) < MAX_FINDINGS:
            self.report.findings.append(finding)
        else:
            self.report.findings_left_out += 1

    def _note_broken(self, height: int, cid: CID, error: BlockError, where: str = "") -> None:
        """Note that ``cid`` breaks a rule, or that a block which it needs is damaged."""
        damaged = next((each for each in (error, error.__cause__) if isinstance(each, BlockMismatch)), None)
        broken = rules.as_rule(error)
        self._note(Finding(height, damaged.cid if damaged else cid, broken.name, f"{where}{broken}"))

    def _tell_start(self) -> None:
        """Report what the head alone says."""
        self.report.records = self._scratch.length()
        if self.report.records:
            self.report.run = run_named(self.report.head, self._source)

    def _tell_chain(self) -> None:
        chain = self._chain
        if chain is None or chain.head is None:
            return
        self._settle_lacking(chain)
        self._check_root(chain)
        self._check_branch(chain)
        for finding in self._revocations.findings(chain) if self._revocations else ():
            self._note(finding)
        if self._confirmations is not None:
            self.report.confirmed = {chain.manifest.name_of(by): at for by, at in self._confirmations.heights.items()}
            witnesses = self._confirmations.witnesses
            self.report.witnesses, self.report.unwitnessed = witnesses.needed, witnesses.count
            recomputed, contradicted = self._confirmations.recomputed, self._confirmations.contradicted
            self.report.recomputed = {chain.manifest.name_of(by): tuple(spans) for by, spans in recomputed.items()}
            self.report.contradicted = {chain.manifest.name_of(by): at for by, at in contradicted.items()}
            for finding in self._confirmations.findings(chain, self._revoked(chain)):
                self._note(finding)
            self._tell_terms(chain, self._confirmations)
            self._scratch.note_well_signed(self._confirmations.well_signed)
        self.report.tell_chain(chain, self._root_of(chain))
        self.report.shredded = why_shredded(self._known.get(chain.federation), chain.run)
        for cid in (chain.run, chain.head):
            self.report.tell_record(read_record(cid, self._source), chain.keys)

    def _tell_terms(self, chain: Chain, confirmations: Confirmations) -> None:
        """Tell who led when, and up to where the run is settled."""
        settling, report = confirmations.settling, self.report
        report.reigns, report.reigns_left_out = self._reigns.finished(
            settling.acked, settling.of_terms, {term: height for term, (height, _) in confirmations.lost.items()}
        )
        report.settled = settled = Settled(settling.height, *settling.of_newest())
        servers = len(chain.manifest.ids_of(Role.SERVER))
        is_open_to_others = servers > 1 and bool(self._beside.acks or chain.term > 1)
        if chain.closed and settling.height != chain.height and is_open_to_others:
            assert chain.head is not None  # it is closed
            self._note(Finding(chain.height, chain.head, UNSETTLED_CLOSE, settled.unsettled_close()))

    def _with_height(self, finding: Finding) -> Finding:
        """The finding with the height of a damaged head, which only the records below it in a CAR tell."""
        if finding.cid != self.report.head or not isinstance(self._source, CarSource):
            return finding
        return replace(finding, height=height_above(self._source.blocks(chunks=False)))
