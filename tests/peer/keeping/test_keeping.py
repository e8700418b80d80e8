"""Taking stock of a run, dropping what may go, forgetting it: with a real journal and a real directory of blocks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chains import ALICE, BOB, TIME, Scribe
from command_line import Peer
from flwr.app import RecordDict
from hurried import RULE, late_reply, leaving_out, telling
from inspected_runs import WrittenRun

from peer.cli.keeping.opened_dropping import opened_dropping
from peer.engine import open_engine
from peer.engine.interface import EngineUnavailable, SharedEngine, Unreachable
from peer.engine.local.block_files import BlockFiles
from peer.home.home import Home
from peer.home.journal import Journal, RunHead
from peer.keeping.dropped import dropped_here
from peer.keeping.stock import Stock
from peer.keeping.upkeep import Upkeep
from protocol.blocks.cid import CID, Block, cbor_block
from protocol.keeping.budget import AtMost
from protocol.keeping.home_plan import Keeping
from protocol.keeping.plan import KeepPlan, Last, parse_plan
from protocol.records.bodies import Role, Run

MODEL = 1_200_000
"""Bytes of a model, about."""


class PlannedScribe(Scribe):
    """Writes a run whose record says what stays of it."""

    def run(self, *arguments: Any, **changes: Any) -> Run:
        run = super().run(*arguments, **changes)
        return replace(run, keep="models=all updates=last:1 drop-updates")


class TracedRun(WrittenRun):
    """A run, and the contents that it stored."""

    def __init__(self, scribe: Scribe, **run: Any) -> None:
        super().__init__(scribe, **run)
        self.stored = [self.app]

    def store(self, records: RecordDict) -> CID:
        self.stored.append(super().store(records))
        return self.stored[-1]

    def answer(self, *, loss: float, examples: int) -> CID:
        return self.model(1000 * len(self.stored))


class Kept:
    """A home that leads runs, or has another role in them, and keeps them as a peer does."""

    def __init__(self, root: Path) -> None:
        self.role = Role.SERVER
        self.home = Home(root / "home").create()
        self.journal = Journal(self.home.journal)
        self.address = f"local:{root / 'engine'}"
        self.journal.remember_engine(self.address)
        self.engine = open_engine(self.address, owner=self.journal.pin_owner())
        self.upkeep = Upkeep(self.home, self.engine, self.journal)
        self._put: set[CID] = set()

    def wrote(self, run: TracedRun, *, closed: bool = False) -> str:
        """The newest record of a run is on disk, with what belongs to it; what the upkeep says of the room."""
        chain = run.scribe.chain
        new = [Block(cid, data) for cid, data in run.scribe.source.items() if cid not in self._put]
        of_contents = {cid for cid in run.scribe.source if cid.is_raw} | set(run.stored)
        self.engine.put(new, pin=[block.cid for block in new if block.cid not in of_contents or len(block.data) < 100])
        for content in run.stored:
            if content not in self._put:
                self.engine.pin(content, recursive=True)
        self._put |= {block.cid for block in new}
        assert chain.head is not None
        where = run.scribe.manifest.federation, chain.head, chain.height, chain.term
        self.journal.keep_head(RunHead(chain.run, *where, closed, self.role, self.address, float(chain.height)))
        return self.upkeep.wrote(chain.run)

    def here(self, *contents: CID) -> list[bool]:
        return [self.engine.has(content) for content in contents]

    def on_disk(self) -> int:
        return self.engine.status().bytes_stored

    def say(self, plan: KeepPlan | None = None, budget: int | None = None) -> None:
        self.journal.remember_keeping(str(Keeping(plan) if budget is None else Keeping(plan, AtMost(budget))))


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    made = Kept(tmp_path)
    yield made
    made.engine.close()
    made.journal.close()


@pytest.fixture
def command(kept: Kept, capsys: pytest.CaptureFixture[str]) -> Peer:
    return Peer(kept.home.path, capsys)


def closed_run(kept: Kept, rounds: int = 3, run: TracedRun | None = None) -> TracedRun:
    run = run or TracedRun(Scribe())
    for number in range(rounds):
        run.exchange(number)
    run.scribe.add(run.scribe.close(model=run.model(99)))
    kept.wrote(run, closed=True)
    return run


def test_what_is_counted_is_what_is_on_the_disk(kept: Kept, command: Peer) -> None:
    closed_run(kept)
    use = command("du", "--json").json
    (run,) = use["runs"]
    assert run["models"] + run["updates"] > 8 * MODEL
    assert use["of_runs"] == pytest.approx(kept.on_disk(), rel=0.02)


def test_a_plan_drops_what_does_not_stay_and_the_rest_still_reads(kept: Kept, command: Peer, tmp_path: Path) -> None:
    run = closed_run(kept)
    would = command("keep", "models=last:1", "updates=last:1", "--dry-run", "--json").json["dropped"]
    before = kept.on_disk()
    assert kept.here(*run.stored) == [True] * len(run.stored)

    done = command("keep", "models=last:1", "updates=last:1", "--json").json["dropped"]

    gone = dropped_here(kept.home, run.scribe.chain.run)
    assert done == would
    assert (len(gone), before - kept.on_disk()) == (6, done[0]["bytes"])
    assert kept.here(*gone) == [True] * 6  # their first blocks, with what was measured
    for content in gone:
        with pytest.raises(Unreachable):
            list(kept.engine.read_content(content))
    for content in set(run.stored) - gone:
        assert len(list(kept.engine.read_content(content)))
    exported = command("export", "latest", tmp_path / "run.car", "--json").json
    assert exported["not_kept"] == 6
    assert "of these, 6 went by this home's own plan" in command("export", "latest", tmp_path / "run.car").out
    audited = command("audit", "latest", "--json").json
    assert (audited["verdict"], audited["findings"], audited["not_kept"]["dropped_here"]) == ("verified", [], 6)


class MeasuredRun(TracedRun):
    """A run whose clients say how good the models are: each the same, so the first is the best."""

    def answer(self, *, loss: float, examples: int) -> CID:
        return WrittenRun.answer(self, loss=loss, examples=examples)


def test_the_best_model_stays_beside_the_last_ones_where_it_is_known(kept: Kept) -> None:
    run = closed_run(kept, 4, MeasuredRun(Scribe(), keep="models=last:1+best updates=all", best="loss:min"))
    assert kept.journal.contents.gone(run.scribe.chain.run) == set(run.sent[1:3])


def test_a_home_that_does_not_know_which_model_is_the_best_keeps_all_of_them(kept: Kept) -> None:
    kept.role = Role.CLIENT  # it cannot read what the others answered
    closed_run(kept, 4, MeasuredRun(Scribe(), keep="models=last:1+best updates=all", best="loss:min"))
    assert dropped_here(kept.home, kept.journal.heads()[0].run) == set()


def test_a_run_that_drops_its_updates_goes_on_in_a_budget_without_a_plan_for_models(kept: Kept) -> None:
    run = TracedRun(Scribe(), keep=str(parse_plan("drop-updates")))
    kept.say(budget=20 * MODEL)
    rooms = set()
    for number in range(20):  # each a model, and two updates
        run.exchange(number)
        rooms.add(kept.wrote(run))
    assert rooms == {""}
    assert kept.on_disk() <= 20 * MODEL
    there = [model not in kept.journal.contents.gone(run.scribe.chain.run) for model in run.sent]
    assert (there[0], sum(there) > 4, there[-4:]) == (False, True, [True] * 4)


def test_an_open_run_keeps_all_that_resuming_it_takes_whatever_the_plan_and_the_budget(kept: Kept) -> None:
    run = TracedRun(Scribe())
    kept.say(KeepPlan(models=Last(1), updates=Last(1)), budget=5 * MODEL)
    rooms = []
    for number in range(3):
        run.exchange(number)
        rooms.append(kept.wrote(run))
    assert kept.here(*run.stored) == [True] * len(run.stored)
    assert rooms[-1].startswith("the runs of this home take")


def test_what_only_a_lost_record_names_goes_once_the_run_is_closed(kept: Kept) -> None:
    run = TracedRun(Scribe())
    kept.say(KeepPlan(models=Last(9), updates=Last(9)))
    run.exchange(0)
    before = run.scribe.chain.copy()
    run.exchange(1)
    kept.wrote(run)
    lost = run.stored[-3:]  # a model, and two updates
    run.scribe.chain = before
    run.scribe.lead()
    kept.wrote(run)
    run.exchange(2)
    kept.wrote(run)
    assert not kept.journal.contents.gone(run.scribe.chain.run)
    run.scribe.add(run.scribe.close(model=run.model(99)))
    kept.wrote(run, closed=True)
    assert kept.journal.contents.gone(run.scribe.chain.run) == set(lost)


def test_a_keeper_lets_go_of_closed_runs_for_those_that_come_and_says_if_that_is_not_enough(kept: Kept) -> None:
    kept.role = Role.KEEPER
    closed = closed_run(kept)
    kept.say(budget=kept.on_disk() + 2 * MODEL)
    run = TracedRun(Scribe(), time=1.0)
    run.stored *= 100  # so that it has other contents
    run.exchange(100)
    assert kept.wrote(run) == ""
    assert dropped_here(kept.home, closed.scribe.chain.run)
    assert kept.journal.is_finished(closed.scribe.chain.run), "what went is looked for again at the next start"
    for number in range(101, 106):
        run.exchange(number)
        room = kept.wrote(run)
    assert room.startswith("the runs of this home take")
    assert kept.here(*run.stored) == [True] * len(run.stored), "of an open run"


def test_a_budget_holds_at_an_engine_that_drops_nothing(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(contents: Sequence[CID], blocks: Sequence[CID] = ()) -> None:
        raise SharedEngine("another home uses it")

    monkeypatch.setattr(kept.engine, "drop", refuse)
    run = TracedRun(PlannedScribe())
    kept.say(KeepPlan(models=Last(1)), budget=5 * MODEL)
    for number in range(3):
        run.exchange(number)
        no_room = kept.wrote(run)
    assert no_room.startswith("the runs of this home take")
    assert kept.here(*run.stored) == [True] * len(run.stored)


def test_a_home_has_room_again_once_its_owner_makes_some(kept: Kept) -> None:
    run = TracedRun(Scribe())
    kept.say(budget=5 * MODEL)
    for number in range(3):
        run.exchange(number)
        kept.wrote(run)
    assert kept.upkeep.look()
    kept.say(budget=500 * MODEL)
    assert kept.upkeep.look() == ""


def test_no_room_is_held_for_a_run_in_which_nobody_takes_part_any_more(kept: Kept) -> None:
    run = TracedRun(Scribe())
    kept.say(budget=12 * MODEL)
    for number in range(3):  # 9 models; another exchange would take 3 or 4
        run.exchange(number)
        kept.wrote(run)
    run.scribe.add(run.scribe.dispatch(run.scribe.group(ALICE, content=run.sent[-1])))
    kept.wrote(run)
    kept.say(budget=kept.on_disk() + MODEL)
    assert kept.upkeep.look()
    kept.upkeep.left([run.scribe.chain.run])
    assert kept.upkeep.look() == ""


def test_a_run_that_drops_its_updates_stays_within_the_budget_while_it_is_open(kept: Kept) -> None:
    run = TracedRun(PlannedScribe())
    budget = 16 * MODEL
    kept.say(KeepPlan(models=Last(2)), budget=budget)
    rooms, most = [], 0
    for number in range(20):  # 60 models in all
        run.exchange(number)
        rooms.append(kept.wrote(run))
        most = max(most, kept.on_disk())
    newest = run.sent[-1], run.stored[-1]
    assert (set(rooms), kept.here(*newest)) == ({""}, [True, True])
    assert most <= budget
    assert kept.journal.contents.used_in_all() == pytest.approx(kept.on_disk(), rel=0.02)


def test_two_processes_that_take_stock_at_once_count_each_record_once(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = TracedRun(Scribe())
    run.exchange(1)
    kept.wrote(run)
    head = run.scribe.chain.head
    assert head is not None
    ours, theirs = (Stock(kept.engine, kept.journal) for _ in range(2))
    slow = ours.journal.contents.add

    def overtaken(*arguments: Any) -> int | None:
        monkeypatch.undo()
        theirs.take(run.scribe.chain.run, head)
        return slow(*arguments)

    monkeypatch.setattr(ours.journal.contents, "add", overtaken)
    ours.take(run.scribe.chain.run, head)
    assert [each.at.number for each in kept.journal.contents.exchanges(run.scribe.chain.run)] == [1]
    ours.take(run.scribe.chain.run, run.scribe.chain.run)  # of a head that is older than the stock
    assert [each.at.number for each in kept.journal.contents.exchanges(run.scribe.chain.run)] == [1]


def test_what_was_dropped_and_is_sent_again_is_here_again(kept: Kept) -> None:
    run = TracedRun(PlannedScribe())
    kept.say(KeepPlan(models=Last(1)), budget=8 * MODEL)
    run.exchange(1)
    kept.wrote(run)
    first = run.sent[0]
    for number in range(2, 9):
        run.exchange(number)
        kept.wrote(run)
    assert kept.journal.contents.gone(run.scribe.chain.run) >= {first}
    run.scribe.add(run.scribe.dispatch(run.scribe.group(ALICE, content=first)))
    kept.engine.put_content(first, [Block(cid, data) for cid, data in run.scribe.source.items()])
    kept.wrote(run)
    assert first not in kept.journal.contents.gone(run.scribe.chain.run)
    assert kept.here(first) == [True]


def taken_in_beside(kept: Kept, run: TracedRun) -> TracedRun:
    """Another run with the same contents that another process has put into the home, as `peer import` does."""
    other = TracedRun(Scribe(), time=TIME + 1)
    other.scribe.source.update(run.scribe.source)
    other.scribe.add(other.scribe.dispatch(other.scribe.group(ALICE, content=run.sent[0])))
    upkeep, kept.upkeep = kept.upkeep, Upkeep(kept.home, kept.engine, kept.journal)
    kept.upkeep.wrote = lambda _: ""  # type: ignore[method-assign]  # the running peer is not told
    kept.wrote(other)
    kept.upkeep = upkeep
    return other


def test_what_a_run_needs_that_came_meanwhile_is_not_dropped(kept: Kept) -> None:
    run = TracedRun(PlannedScribe())
    kept.say(KeepPlan(models=Last(1)), budget=500 * MODEL)
    for number in range(2):
        run.exchange(number)
        kept.wrote(run)  # now all runs of the home are known
    taken_in_beside(kept, run)
    for number in range(2, 14):
        run.exchange(number)
        kept.wrote(run)
    gone = kept.journal.contents.gone(run.scribe.chain.run)
    assert (run.sent[1] in gone, run.sent[0] in gone) == (True, False)
    assert len(list(kept.engine.read_content(run.sent[0]))) > 1


def test_nothing_is_dropped_as_long_as_nobody_can_tell_what_another_run_needs(kept: Kept, command: Peer) -> None:
    run = closed_run(kept)
    other = taken_in_beside(kept, run)
    first = kept.home.path.parent.glob(f"engine/blocks/*/{other.scribe.chain.run}")
    next(first).write_bytes(b"damaged")
    refused = command("keep", "models=last:1", "updates=last:1")
    assert (refused.code, "nobody knows what it needs" in refused.err) == (3, True)
    assert kept.here(*run.stored) == [True] * len(run.stored)
    assert f"peer forget {str(other.scribe.chain.run)[:10]}" in refused.err


def test_stock_that_a_crash_interrupted_lacks_nothing_later(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    run = TracedRun(Scribe())
    for number in range(6):
        run.exchange(number)

    def crash(*_: object) -> None:
        raise EngineUnavailable("it was stopped")

    with monkeypatch.context() as patch:
        patch.setattr(kept.engine, "sizes", crash)
        kept.say(budget=500 * MODEL)
        kept.wrote(run)
    Upkeep(kept.home, kept.engine, kept.journal).wrote(run.scribe.chain.run)
    assert kept.journal.contents.used_in_all() == pytest.approx(kept.on_disk(), rel=0.02)


def test_a_crash_while_something_is_dropped_loses_nothing_that_a_client_measured(
    kept: Kept, command: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = closed_run(kept)
    remove = BlockFiles.remove

    def cut_short(files: BlockFiles, cids: Iterable[CID]) -> None:
        remove(files, cids)
        raise EngineUnavailable("it was stopped")

    with monkeypatch.context() as patch:
        patch.setattr(BlockFiles, "remove", cut_short)
        assert command("keep", "models=last:1", "updates=last:1").code == 3
    assert kept.here(*run.stored) == [True] * len(run.stored)
    with opened_dropping(kept.home, kept.address):
        pass  # it finishes what was begun
    assert kept.here(*run.stored) == [True] * len(run.stored)
    assert kept.journal.contents.used_in_all() == pytest.approx(kept.on_disk(), rel=0.02)


def test_what_was_to_go_and_is_sent_again_stays(kept: Kept) -> None:
    run = TracedRun(PlannedScribe())
    kept.say(budget=500 * MODEL)
    run.exchange(1)
    kept.wrote(run)
    stock = Stock(kept.engine, kept.journal)
    kept.journal.contents.let_go(run.sent[0], stock.chunks_of(run.sent[0]), 0.0)  # and then the engine was away
    run.scribe.add(run.scribe.dispatch(run.scribe.group(ALICE, content=run.sent[0])))
    kept.wrote(run)
    with opened_dropping(kept.home, kept.address):
        pass  # it finishes what was begun
    assert len(list(kept.engine.read_content(run.sent[0]))) > 1
    assert kept.journal.contents.used_in_all() == pytest.approx(kept.on_disk(), rel=0.02)


def test_a_forgotten_run_leaves_nothing_but_proofs_and_what_another_run_needs(kept: Kept, command: Peer) -> None:
    one = closed_run(kept)
    other = TracedRun(Scribe(), time=TIME + 1)
    other.scribe.source.update(one.scribe.source)
    other.stored += one.stored[1:3]
    other.scribe.add(other.scribe.dispatch(other.scribe.group(ALICE, content=one.sent[0])))
    other.scribe.add(other.scribe.close(model=one.stored[-1]))
    kept.wrote(other, closed=True)
    proof = cbor_block({"proof": b"p"})
    kept.engine.put([proof], pin=[proof.cid])
    kept.journal.keep_proof(one.scribe.chain.run, (proof, proof, proof))

    refused = command("forget", one.scribe.chain.run)
    assert (refused.code, "nobody is here to ask" in refused.err) == (2, True)
    done = command("forget", one.scribe.chain.run, "--yes", "--json").json

    assert (done["proofs_kept"], [head.run for head in kept.journal.heads()]) == (1, [other.scribe.chain.run])
    assert kept.here(one.sent[0], one.stored[-1], proof.cid) == [True, True, True]
    assert kept.here(one.sent[1], one.scribe.chain.run) == [False, False]
    assert kept.journal.beside(one.scribe.chain.run) == []


def test_a_run_taken_in_without_all_its_contents_is_counted_and_forgotten(
    kept: Kept, command: Peer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    closed_run(kept, run=TracedRun(PlannedScribe()))
    kept.upkeep.look()
    assert command("export", "latest", tmp_path / "run.car", "--json").json["not_kept"] > 0
    other = Peer(tmp_path / "other", capsys)
    there = open_engine(f"local:{tmp_path / 'there'}")
    taken_in = other("import", tmp_path / "run.car", "--ipfs", there.address)
    assert taken_in.code == 0, taken_in.err
    (run,) = other("du", "--json", "--ipfs", there.address).json["runs"]
    assert run["models"] > 3 * MODEL
    assert other("forget", "latest", "--yes", "--ipfs", there.address).code == 0
    assert there.status().bytes_stored < 1000  # of 6 MB


def test_a_clients_states_go_with_its_closed_run_unless_another_run_has_them(kept: Kept, command: Peer) -> None:
    kept.role = Role.CLIENT
    run = closed_run(kept, 1)
    states = [run.model(number) for number in (500, 501)]
    for number, state in enumerate(states):
        blocks = [Block(cid, data) for cid, data in run.scribe.source.items() if cid not in kept._put]
        kept.engine.put_content(state, blocks)
        kept.journal.keep_reply(run.scribe.chain.run, b"%d" % number, run.sent[0], state)
    kept.journal.keep_reply(run.app, b"of another run", run.sent[0], states[1])
    assert command("forget", "latest", "--yes").code == 0
    assert kept.here(*states) == [False, True]


def test_what_a_client_answered_too_late_goes_with_the_exchange_that_tells_of_it(kept: Kept, command: Peer) -> None:
    kept.role = Role.CLIENT
    run = TracedRun(Scribe(), closing=RULE)
    scribe = run.scribe
    scribe.add(scribe.dispatch(scribe.group(ALICE, BOB, content=run.model(0))))
    scribe.add(leaving_out(scribe, BOB))
    late = run.answer(loss=0.0, examples=1)
    scribe.add(scribe.dispatch(scribe.group(ALICE, BOB, content=run.model(1))))
    scribe.add(telling(scribe, late_reply(scribe, content=late)))
    closed_run(kept, rounds=2, run=run)
    assert command("keep", "updates=last:1").code == 0
    assert late in dropped_here(kept.home, run.scribe.chain.run)


def test_an_open_run_is_forgotten_without_what_was_signed_in_it(kept: Kept, command: Peer) -> None:
    run = TracedRun(Scribe())
    run.exchange(1)
    kept.wrote(run)
    head = run.scribe.chain.head
    assert head is not None
    kept.journal.keep_own([Block(head, run.scribe.source[head])])
    with kept.home.lock():
        assert "may go on with it" in command("forget", "latest", "--yes").err
    assert command("forget", "latest", "--yes").code == 0
    assert (kept.journal.own(head) is not None, kept.here(head)) == (True, [False])
