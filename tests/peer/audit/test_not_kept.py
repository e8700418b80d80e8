"""What an audit says of contents that are not here: missing, or not kept by policy."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from chains import ALICE, BOB, DAVE, MEMBERS, Scribe, decryption_key, id_of, member
from command_line import Peer
from inspected_runs import WrittenRun

from crypto.identity import Identity
from peer.attest.confirming import confirm
from peer.audit.audit import Audit
from peer.audit.report import Report, verdict_in_words
from peer.base.errors import ExitCode, PeerError
from peer.engine.local.engine import LocalEngine
from peer.history.run_sources import CarSource
from peer.history.scratch import Scratch
from peer.history.verdict import MISSING_BLOCK, Verdict
from peer.home.acks_grants_proofs import AcksGrantsProofs
from peer.home.home import Home
from peer.home.journal import Journal
from peer.replay.replay import ComparedExchange, Replay
from protocol.blocks.car import write_car
from protocol.blocks.cid import CID, Block, raw_block
from protocol.records.bodies import Ack, Role
from protocol.records.signed_records import sign_record
from protocol.replay.differences import Outcome as ReplayOutcome

LOSSES = (0.9, 0.3, 0.6)
"""Of the exchanges of each run here."""


class KeptRun:
    """A run that is recorded with a plan, and a CAR file without some of its contents."""

    def __init__(self, folder: Path, keep: str = "", *, best: str = "", closed: bool = True) -> None:
        self.folder = folder
        self.scribe = Scribe(MEMBERS | {"dave": member(DAVE, Role.AUDITOR)})
        self.written = WrittenRun(self.scribe, keep=keep, best=best)
        self.updates: list[CID] = []
        """Alice's, by exchange. Bob answers with an error."""
        self.heads = [self.written.head]
        """By height."""
        for number, loss in enumerate(LOSSES, start=1):
            self.models.append(self.written.model(number))
            self.updates.append(self.written.answer(loss=loss, examples=number))
            group = self.scribe.group(ALICE, BOB, content=self.models[-1])
            self.heads.append(self.scribe.add(self.scribe.dispatch(group)).record.cid)
            taken = self.scribe.taken(ALICE, content=self.updates[-1])
            self.heads.append(self.scribe.add(self.scribe.collect(taken, self.scribe.error(BOB))).record.cid)
        self.final = self.written.model(9)
        if closed:
            self.scribe.add(self.scribe.close(model=self.final))

    @property
    def models(self) -> list[CID]:
        """What was sent, by exchange."""
        return self.written.sent

    def ack(self, height: int) -> Block:
        """An auditor's, who is nothing else."""
        head, empty = self.heads[height], self.scribe.pack([])
        body = Ack(by=id_of(DAVE), time=0.0, run=self.written.run, term=1, height=height, head=head, replies=empty)
        return sign_record(body, [DAVE])

    def audit(self, *without: CID, acks: Iterable[Block] = (), dropped_here: frozenset[CID] = frozenset()) -> Report:
        """The audit of a file without the first block of each of these contents."""
        car = self.folder / "run.car"
        blocks = [block for block in self.written.blocks if block.cid not in without]
        car.write_bytes(b"".join(write_car([self.written.head], blocks)))
        source = CarSource(car)
        with Scratch() as scratch:
            beside = AcksGrantsProofs(acks=tuple(acks))
            report = Audit(source.roots[0], source, scratch, beside=beside, dropped_here=dropped_here).run()
        source.close()
        return report


def missing(report: Report) -> int:
    """How many contents are missing, in an audit that finds nothing else."""
    assert {finding.rule for finding in report.findings} <= {MISSING_BLOCK}
    assert report.verdict is (Verdict.INCOMPLETE if report.findings else Verdict.VERIFIED)
    return len(report.findings)


def test_what_the_plan_lets_go_is_not_kept_by_policy_and_the_chain_is_verified(tmp_path: Path) -> None:
    run = KeptRun(tmp_path, "models=last:2 updates=last:1")
    report = run.audit(run.models[0], *run.updates[:2])
    assert missing(report) == 0
    assert (report.not_kept.models, report.not_kept.updates) == (1, 2)
    assert "3 contents that are not kept by policy" in verdict_in_words(report)


def test_what_the_plan_keeps_is_missing(tmp_path: Path) -> None:
    run = KeptRun(tmp_path, "models=last:2 updates=last:1")
    assert missing(run.audit(run.updates[2])) == 1
    assert missing(run.audit(run.models[1], run.updates[0])) == 1


def test_a_run_without_a_plan_keeps_everything(tmp_path: Path) -> None:
    run = KeptRun(tmp_path)
    assert missing(run.audit(run.updates[0])) == 1


def test_app_and_final_model_are_missing_whatever_the_plan(tmp_path: Path) -> None:
    run = KeptRun(tmp_path, "models=last:0 updates=last:0 drop-updates")
    assert missing(run.audit(run.final, run.written.app)) == 2


def test_an_open_run_keeps_everything_unless_it_drops_updates(tmp_path: Path) -> None:
    run = KeptRun(tmp_path, "models=all updates=last:1", closed=False)
    assert missing(run.audit(run.updates[0])) == 1
    run = KeptRun(tmp_path, "models=all updates=last:1 drop-updates", closed=False)
    assert missing(run.audit(run.updates[0])) == 0
    assert missing(run.audit(run.updates[2])) == 1


def test_updates_that_stay_until_an_auditor_has_confirmed_are_missing_before(tmp_path: Path) -> None:
    run = KeptRun(tmp_path, "models=all updates=until-audited")
    assert missing(run.audit(run.updates[0], run.updates[1])) == 2
    assert missing(run.audit(run.updates[0], run.updates[1], acks=[run.ack(3)])) == 1
    assert missing(run.audit(run.updates[0], run.updates[1], acks=[run.ack(4)])) == 0


def test_the_best_model_is_missing_and_any_other_is_not(tmp_path: Path) -> None:
    run = KeptRun(tmp_path, "models=last:1+best updates=all", best="loss:min")
    report = run.audit(run.models[0])
    assert missing(report) == 0
    assert report.best is not None
    assert (report.best.exchange, report.best.value) == (2, pytest.approx(0.3))
    assert missing(run.audit(run.models[1])) == 1


def test_nobody_is_accused_if_the_answers_are_gone_by_which_the_best_is_told(tmp_path: Path) -> None:
    run = KeptRun(tmp_path, "models=last:1+best updates=last:1", best="loss:min")
    assert missing(run.audit(run.models[0], run.models[1], *run.updates[:2])) == 0


def test_a_content_that_two_exchanges_link_is_missing_if_one_of_them_keeps_it(tmp_path: Path) -> None:
    run = KeptRun(tmp_path, "models=last:1 updates=all", closed=False)
    first = run.models[0]
    run.scribe.add(run.scribe.dispatch(run.scribe.group(ALICE, content=first)))
    assert missing(run.audit(first)) == 1


def test_what_this_home_dropped_by_its_own_plan_is_not_missing_but_for_what_every_plan_keeps(tmp_path: Path) -> None:
    run = KeptRun(tmp_path)
    report = run.audit(run.updates[0], dropped_here=frozenset([run.updates[0]]))
    assert missing(report) == 0
    assert report.not_kept.here == 1
    assert missing(run.audit(run.final, dropped_here=frozenset([run.final]))) == 1


def test_a_run_that_is_exported_and_taken_in_elsewhere_has_the_same_verdict(
    tmp_path: Path, peers: Callable[[str], Peer]
) -> None:
    run = KeptRun(tmp_path, "models=last:2 updates=last:1")
    gone = {run.models[0], *run.updates[:2]}
    engine = LocalEngine(tmp_path / "engine")
    engine.put(block for block in run.written.blocks if block.cid not in gone)
    engine.close()
    here = ("--ipfs", f"local:{tmp_path / 'engine'}")
    exported = peers("server")("export", str(run.written.head), tmp_path / "run.car", *here, "--json")
    assert exported.json["not_kept"] == 3
    other = peers("auditor")
    assert other("import", tmp_path / "run.car", "--ipfs", f"local:{tmp_path / 'other'}").code == ExitCode.DONE
    for where in (str(tmp_path / "run.car"), "latest"):
        audited = other("audit", where, "--ipfs", f"local:{tmp_path / 'other'}", "--json")
        assert audited.code == ExitCode.DONE, audited.err
        assert audited.json["verdict"] == "verified"
        assert audited.json["not_kept"]["updates"] == 2


def test_what_the_plan_keeps_has_to_be_there_to_be_exported(tmp_path: Path, peers: Callable[[str], Peer]) -> None:
    run = KeptRun(tmp_path, "models=last:2 updates=last:1")
    engine = LocalEngine(tmp_path / "engine")
    engine.put(block for block in run.written.blocks if block.cid != run.updates[2])
    engine.close()
    here = ("--ipfs", f"local:{tmp_path / 'engine'}")
    exported = peers("server")("export", str(run.written.head), tmp_path / "run.car", *here)
    assert exported.code == ExitCode.UNFINISHED
    assert "not whole" in exported.err


def test_the_best_model_is_written_to_a_file(tmp_path: Path, peers: Callable[[str], Peer]) -> None:
    run = KeptRun(tmp_path, best="loss:min")
    run.audit()
    written = peers("auditor")("model", tmp_path / "run.car", "--best", "-o", tmp_path / "best.npz", "--json")
    assert written.code == ExitCode.DONE, written.err
    assert written.json["content"] == str(run.models[1])


def test_a_run_that_names_no_metric_has_no_best_model(tmp_path: Path, peers: Callable[[str], Peer]) -> None:
    run = KeptRun(tmp_path)
    run.audit()
    written = peers("auditor")("model", tmp_path / "run.car", "--best", "-o", tmp_path / "best.npz")
    assert written.code == ExitCode.WRONG_USE
    assert "--best METRIC" in written.err


def test_an_auditor_confirms_once_and_a_file_takes_its_word_along(tmp_path: Path, peers: Callable[[str], Peer]) -> None:
    run, auditor = KeptRun(tmp_path, "models=all updates=until-audited"), peers("auditor")
    identity = Identity("dave", DAVE, decryption_key(DAVE))
    run.audit()
    with Scratch() as scratch, contextlib.closing(CarSource(tmp_path / "run.car")) as source:
        audit = Audit(source.roots[0], source, scratch)
        audit.run()
        acks = {confirm(audit, Home(auditor.home).create(), identity, at=float(when)) for when in (1, 2)}
    assert len(acks) == 1
    with Journal(Home(auditor.home).journal) as journal:
        beside = journal.beside(run.written.run)
    assert [block.cid for block in beside] == list(acks)
    assert missing(run.audit(*run.updates, acks=beside)) == 0


def test_nobody_confirms_what_nobody_can_see(tmp_path: Path, peers: Callable[[str], Peer]) -> None:
    run = KeptRun(tmp_path, "models=all updates=last:1")
    run.audit(run.updates[0])
    identity = Identity("dave", DAVE, decryption_key(DAVE))
    with Scratch() as scratch, contextlib.closing(CarSource(tmp_path / "run.car")) as source:
        audit = Audit(source.roots[0], source, scratch)
        audit.run()
        with pytest.raises(PeerError, match="not kept"):
            confirm(audit, Home(peers("auditor").home).create(), identity, at=1.0)


@pytest.mark.parametrize(
    ("after_gap", "why"),
    [(False, "this machine cannot tell why"), (True, "replies that may tell why are not kept by policy")],
)
def test_no_machine_is_asked_for_that_could_not_tell_either(after_gap: bool, why: str) -> None:
    told = ComparedExchange(11, 3, 6, 2, ReplayOutcome.UNDECIDED, "the model differs", after_gap=after_gap)
    replay = Replay(undecided=1, first=told, last=told)
    report = Report(raw_block(b"head").cid, Verdict.INCONCLUSIVE, replay=replay)
    assert verdict_in_words(report).endswith(f"and {why}")
