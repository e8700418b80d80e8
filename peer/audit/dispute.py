"""A dispute between a leader and a server that recomputed its run: found in a home, read from a file, and judged by a
third run of the app."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peer.audit.report import Report
from peer.base.errors import ExitCode, PeerError
from peer.history.verdict import Verdict
from peer.home.acks_grants_proofs import AcksGrantsProofs
from protocol.blocks.car import CarError, read_sections
from protocol.blocks.cid import CID, Block, BlockError, BlockSource, checked_block
from protocol.records.bodies import Ack, Comparison, RecomputedAck, Takeover
from protocol.records.signed_records import parse_record, read_chained, read_record, typed_items
from protocol.replay.differences import Outcome
from protocol.visible import named
from protocol.witnesses.dispute import Dispute, dispute_in

if TYPE_CHECKING:  # it imports flwr
    from peer.replay.replay import Replay


class Wrong(StrEnum):
    """Who is wrong in a dispute."""

    LEADER = "leader"
    WITNESS = "witness"
    UNTOLD = "untold"
    """It cannot be told here, or nobody can."""


@dataclass(frozen=True, slots=True)
class JudgedDispute:
    """A dispute, and who is wrong."""

    dispute: Dispute
    height: int
    leader: str
    witness: str
    """Their names."""
    wrong: Wrong
    why: str

    @property
    def exit_code(self) -> ExitCode:
        """1 if somebody is wrong."""
        return ExitCode.UNFINISHED if self.wrong is Wrong.UNTOLD else ExitCode.VERIFICATION_FAILED

    def in_words(self) -> str:
        """In a line."""
        leader, witness = named(self.leader), named(self.witness)
        who = {
            Wrong.LEADER: f"{leader}, which leads the run, is wrong, and not {witness}, which spoke against it,",
            Wrong.WITNESS: f"{witness}, which spoke against the run, is wrong, and not {leader}, which leads it,",
            Wrong.UNTOLD: f"it cannot be told whether {leader} or {witness or 'whoever spoke against it'} is wrong",
        }
        return f"{who[self.wrong]} about height {self.height}: {self.why}"

    def value(self) -> dict[str, Any]:
        """As ``--json`` shows it."""
        return {
            "record": str(self.dispute.record),
            "word": str(self.dispute.word),
            "height": self.height,
            "leader": self.leader,
            "witness": self.witness,
            "wrong": self.wrong.value,
            "why": self.why,
        }


def disputed(beside: AcksGrantsProofs, run: CID) -> tuple[Dispute, RecomputedAck] | None:
    """The lowest dispute of a run, by the acks that are ``beside`` it; None if nobody contradicts it."""
    found: list[tuple[int, CID, CID, RecomputedAck]] = []
    for block in beside.acks:
        body = parse_record(block).body
        if isinstance(body, RecomputedAck) and body.run == run and _contradicts(body):
            found.append((body.height, block.cid, body.head, body))
    if not found:
        return None
    _, word, record, ack = min(found, key=lambda each: (each[0], bytes(each[1])))
    return Dispute(record, word), ack


def words_in_takeovers(head: CID, source: BlockSource) -> tuple[Block, ...]:
    """The words that takeovers of a chain link, whose ``head`` is given: who was not there when they were spoken has
    them from there. Nothing is checked.

    Raises:
        protocol.blocks.cid.BlockError: if a record of the chain is not here.
    """
    words: list[Block] = []
    link: CID | None = head
    while link is not None:
        body = read_chained(link, source)
        if isinstance(body, Takeover):
            words += [Block(word, source.get(word)) for word in typed_items(body.words, CID, source)]
        link = body.prev
    return tuple(words)


def _contradicts(ack: RecomputedAck) -> bool:
    return ack.recomputed.comparison is Comparison.DIVERGED


def acks_up_to(beside: AcksGrantsProofs, word: RecomputedAck) -> AcksGrantsProofs:
    """What is beside the run up to the record of a ``word``: higher acks, and those of later terms, are about records
    that a dispute does not have."""
    bodies = ((block, parse_record(block).body) for block in beside.acks)
    acks = [
        block
        for block, body in bodies
        if isinstance(body, Ack) and body.height <= word.height and body.term <= word.term
    ]
    return AcksGrantsProofs(beside.grants, tuple(acks), beside.proofs)


def dispute_of_file(file: Path) -> Dispute | None:
    """The dispute that a CAR file holds: its first root is a dispute block, which comes first. None if it is another
    file, or none."""
    try:
        with file.open("rb") as stream:
            roots, sections = read_sections(stream)
            first = next(sections, None)
            if first is None or not roots or first.cid != bytes(roots[0]):
                return None
            return dispute_in(checked_block(roots[0], first.data))
    except (OSError, CarError, BlockError):
        return None  # reading it as a run says what is wrong


def judge(dispute: Dispute, report: Report, source: BlockSource) -> JudgedDispute:
    """Who is wrong, by the ``report`` of the run up to the disputed record, which has the replay.

    Raises:
        PeerError: if that is no dispute of this run: no server of its federation has signed the word.
    """
    try:
        word = read_record(dispute.word, source).body
    except BlockError as error:
        raise _no_dispute(f"its word cannot be read: {error}") from error
    if not isinstance(word, RecomputedAck) or not _contradicts(word) or word.head != dispute.record:
        raise _no_dispute("its word contradicts another record, or none")
    witness = next((name for name, height in report.contradicted.items() if height == word.height), "")
    if report.verdict is not Verdict.INCOMPLETE and report.replay is None and report.verdict is not Verdict.FAILED:
        raise _no_dispute("its run was not replayed")
    if report.replay is not None and not witness:
        raise _no_dispute("no server of the federation that recomputed the run has signed its word")
    wrong, why = _who(report, report.replay, word)
    return JudgedDispute(dispute, word.height, report.leader, witness, wrong, why)


def _who(report: Report, replay: Replay | None, word: RecomputedAck) -> tuple[Wrong, str]:
    if replay is None:
        return Wrong.UNTOLD, f"the chain is {report.verdict.value}, so the app was not run"
    if replay.unfinished:
        return Wrong.UNTOLD, replay.unfinished
    beyond = replay.beyond
    if replay.outcome is Outcome.BEYOND and beyond is not None:
        same = ", and it is what the other server signs that it made" if _is_theirs(beyond.made, word) else ""
        why = f"{beyond.what}; the app does the same each time here{same}, and no other machine causes that"
        return Wrong.LEADER, why
    if replay.first is not None and replay.repeats is False:
        return Wrong.UNTOLD, f"the app does not do the same thing twice ({replay.first.what})"
    if replay.outcome is Outcome.UNDECIDED and replay.first is not None:
        settled = f"; {replay.settling} would settle it" if replay.settling else ""
        return Wrong.UNTOLD, f"{replay.first.what}, and this machine or its software may be why{settled}"
    if replay.not_kept or report.height != word.height:
        return Wrong.UNTOLD, "what the app was given before is not here"
    return Wrong.WITNESS, "the app, run here on the recorded replies, does what is recorded there, bit for bit"


def _is_theirs(made: CID | None, word: RecomputedAck) -> bool:
    return made is not None and made == word.recomputed.content


def _no_dispute(why: str) -> PeerError:
    return PeerError(
        f"that is no dispute: {why}",
        fix="peer dispute RUN -o FILE.car writes one, in the home of a member that has a server's word against RUN",
        code=ExitCode.VERIFICATION_FAILED,
    )
