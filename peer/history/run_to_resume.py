"""Going on with a run that this peer led and left open: its chain is verified, and its plan is as recorded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from peer.base.errors import ExitCode, PeerError
from peer.engine.interface import Engine, Unreachable
from peer.engine.linked_blocks import links_of, reached
from peer.engine.own_blocks import OwnBlocks
from peer.engine.record_fetcher import RecordFetcher
from peer.home.journal import Journal, RunHead
from protocol.blocks.bundle import NamedBundle
from protocol.blocks.cid import CID, Block, BlockError, MemoryBlocks
from protocol.chain.chain import Chain
from protocol.chain.closure import contents
from protocol.federation.epochs import read_seed
from protocol.federation.readers import Reader
from protocol.federation.run_keys import read_private
from protocol.keeping.best import BestBy
from protocol.keeping.plan import KeepPlan
from protocol.records.bodies import Ack, Chained, Collect, Role, Run, RunConfig, RunPrivate
from protocol.records.environment import Environment
from protocol.records.signed_records import parse_record, read_chained, read_record
from protocol.replies.closing_rule import ClosingRule
from protocol.roles.leader.run_plan import ResumedRun, RunPlan, TermStart, recorded_plan
from protocol.run_names import SHOWN


@dataclass(frozen=True, slots=True)
class RunToResume:
    """A run to go on with."""

    resumed: ResumedRun
    begun: RunPlan
    """With which it began, as its record says."""
    environment: Environment
    """In which it began."""
    collected: tuple[CID, ...]
    """The updates that its app was handed, the oldest first, as far as the plan lets them go."""
    begun_by: bytes
    """The server that began it."""

    @property
    def is_closed(self) -> bool:
        """Whether the run is closed, so that only its end is left to do."""
        return self.resumed.chain.closed

    @property
    def bundle(self) -> NamedBundle:
        """Its app."""
        return self.begun.bundle

    def plan(self, node_config: RunConfig) -> RunPlan:
        """The plan that it began with. Only ``node_config``, the settings of this machine, are new."""
        return replace(self.begun, node_config=node_config)

    def require_updates(self, engine: Engine) -> None:
        """Check that the updates are here from which its app would be brought to where it was.

        Raises:
            PeerError: if one is not, by the run's own plan.
        """
        if self.is_closed or all(_is_whole(content, engine) for content in self.collected):
            return
        run = self.resumed.chain.run
        raise PeerError(
            f"the run {run.label} cannot go on: its updates are not kept, by its own plan ({self.begun.keep})",
            fix="begin another one with its newest model, which peer model "
            f"{str(run)[:SHOWN]} -o FILE writes: peer start --role server --initial-model FILE, or --new-run",
            code=ExitCode.UNFINISHED,
        )

    def other_options(
        self, keep: KeepPlan | None, best_by: BestBy | None, witnesses: int | None, closing: ClosingRule | None
    ) -> str:
        """How what stays of it, or is marked, how many witnesses it asks for, or when its exchanges close, differs from
        this; empty if it does not. None says nothing of it."""
        if keep is not None and keep != self.begun.keep:
            return f"of it stays {self.begun.keep}, not {keep}"
        if best_by is not None and best_by != self.begun.best_by:
            return f"its best model is by {self.begun.best_by or 'no metric'}, not by {best_by}"
        if witnesses is not None and witnesses != self.begun.witnesses:
            return f"it asks for {self.begun.witnesses} witnesses, not {witnesses}"
        if closing is not None and closing != self.begun.closing:
            return f"its exchanges close by {self.begun.closing or 'no rule, with all replies'}, not by {closing}"
        return ""

    def difference(self, app: CID, config: RunConfig, replay_format: int, seed: bytes | None) -> str:
        """How its app or its settings differ from these; empty if they do not. ``seed`` is None if none is given."""
        if app != self.bundle.app:
            return f"its app is {self.bundle.app}, this one is {app}: the folder has changed, or is another"
        if replay_format != self.begun.replay_format:
            return f"it is in replay format {self.begun.replay_format}, this version has {replay_format}"
        was, now = dict(self.begun.config), dict(config)
        for key in [*was, *now]:
            if was.get(key) != now.get(key):
                return f"its setting {key} is {was.get(key)!r}, not {now.get(key)!r}"
        return "" if seed is None or seed == self.begun.seed else "it has another seed than --seed gives"


def _is_whole(content: CID, engine: Engine) -> bool:
    try:
        return all(engine.has(cid) for cid in reached(content, lambda cid: _links(cid, engine)))
    except (BlockError, Unreachable):
        return False


def _links(cid: CID, engine: Engine) -> Sequence[CID]:
    return () if cid.is_raw else links_of(Block(cid, engine.get(cid, timeout=0)))


def run_to_resume(
    journal: Journal, federation: CID, reader: Reader, engine: Engine, run: CID | None = None
) -> RunToResume | None:
    """The newest run that ``reader``'s peer led in the federation, or this ``run``, if something is left to do for it.

    Its chain is verified by every rule. Records that the engine lost come from the journal. Each signature is verified
    once in the life of the home.

    Raises:
        PeerError: if its chain cannot be read, or is not sound.
    """
    led = (
        head
        for head in journal.heads()
        if head.role is Role.SERVER and head.federation == federation and run in (None, head.run)
    )
    head = next((head for head in led if _has_led(head, reader.member, OwnBlocks(engine, journal))), None)
    if head is None or (head.closed and journal.is_finished(head.run)):
        return None
    try:
        return _read(head, federation, reader, OwnBlocks(engine, journal))
    except BlockError as error:
        raise PeerError(
            f"the run {head.run.label} was left open, and its chain cannot be verified: {error}",
            fix=f"audit it: peer audit {head.head}. A damaged block repairs itself if this home's journal or a running "
            "member has it: start the other members, then this again. As a last resort, --new-run begins another run",
            code=ExitCode.VERIFICATION_FAILED,
        ) from error
    except Unreachable as error:
        raise PeerError(
            f"the run {head.run.label} was left open, and a block of it is lost: {error}",
            fix="start the other members, who may have it, then this again",
            code=ExitCode.UNFINISHED,
        ) from error


def _has_led(head: RunHead, member: bytes, own: OwnBlocks) -> bool:
    """Whether ``member``'s peer led the run, or only stood by. One whose head cannot be read counts: whoever goes on
    with it is told so."""
    if own.journal.has_led(head):
        return True
    try:
        return read_chained(head.head, own).by == member
    except (BlockError, Unreachable):
        return True


def _read(head: RunHead, federation: CID, reader: Reader, own: OwnBlocks) -> RunToResume | None:
    fetcher = RecordFetcher(own)
    records = [head.head]
    while (before := read_chained(records[-1], own).prev) is not None:
        records.append(before)
    records.reverse()
    chain = Chain(federation, reader, own.journal.well_signed)
    well_signed: list[CID] = []
    terms: list[TermStart] = []
    for cid in records:
        blocks = fetcher.fetch(cid, Chained)
        well_signed += chain.append_block(Block(cid, blocks[cid]), MemoryBlocks(blocks)).well_signed
        if not terms or terms[-1].term != chain.term:
            terms.append(TermStart(chain.height, chain.term))
    fetcher.close()
    own.journal.keep_well_signed(well_signed)
    if chain.by != reader.member:
        return None
    run = read_record(chain.run, own).body
    assert isinstance(run, Run)  # the chain begins with it
    private = read_private(run, RunPrivate, chain.keys)
    if private is None:
        raise BlockError("its run record is encrypted for others")
    seed = read_seed(Block(run.seed, own.get(run.seed)), chain.keys)
    acks = [block for block in own.journal.beside(chain.run) if isinstance(parse_record(block).body, Ack)]
    resumed = ResumedRun(chain, records, acks, terms, own.journal.was_watched(chain.run))
    return RunToResume(
        resumed,
        recorded_plan(run, private, chain.keys, seed, (), elsewhere=resumed.was_taken_over),
        private.environment,
        tuple(_droppable_updates(run, records, own)),
        run.by,
    )


def _droppable_updates(run: Run, records: list[CID], own: OwnBlocks) -> Iterator[CID]:
    """The updates that may be gone, the oldest first."""
    if not run.plan.drop_updates:
        return
    for cid in records:
        record = read_record(cid, own)
        if isinstance(record.body, Collect):
            yield from contents(record, own)


def not_the_same(why: str) -> PeerError:
    """The error if the run that was left open began with another app or other settings."""
    return PeerError(
        f"a run was left open, and this is not the same: {why}",
        fix="to go on with it, start it as it was started; --new-run begins another run",
    )
