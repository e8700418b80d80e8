"""A run that several servers led: who led when, what is settled, and who did not keep a promise."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from chains import ADMIN, ALICE, BOB, CAROL, CONTENT, DAVE, KEEPER, MEMBERS, SECOND, SERVER, TIME, Scribe, id_of, member
from command_line import Peer
from disputed_runs import ELSE, THREE_SERVERS, WITNESSES, against, word
from inspected_runs import WrittenRun
from rostered import change

from crypto.keys import SigningKey
from peer.audit.audit import Audit
from peer.audit.report import Report
from peer.base.errors import ExitCode
from peer.engine.local.engine import LocalEngine
from peer.history.reigns import reign_value
from peer.history.run_sources import CarSource
from peer.history.scratch import Scratch
from peer.history.verdict import Verdict
from peer.home.acks_grants_proofs import AcksGrantsProofs
from peer.home.home import Home
from peer.home.journal import Journal
from protocol.blocks.car import read_car, write_car
from protocol.blocks.cid import CID, Block
from protocol.blocks.listing import Listing
from protocol.federation.unsigned_versions import with_revoked
from protocol.federation.voters import Voting
from protocol.records.bodies import Ack, Comparison, Recomputed, RecomputedAck, Role, TakeoverCause, Vote
from protocol.records.signed_records import parse_record, sign_record


class Led(WrittenRun):
    """A run, with the acks of its members."""

    def __init__(self, scribe: Scribe | None = None) -> None:
        super().__init__(scribe)
        self.acks: list[Block] = []

    def ack(self, *members: SigningKey, recomputed: Recomputed | None = None) -> None:
        """They confirm the head."""
        chain = self.scribe.chain
        for each in members:
            place = {"run": self.run, "term": chain.term, "height": self.height, "head": self.head}
            said = {"by": id_of(each), "time": TIME, "replies": Listing(()), **place}
            body = Ack(**said) if recomputed is None else RecomputedAck(**said, recomputed=recomputed)
            self.acks.append(sign_record(body, [each]))

    def close(self) -> None:
        self.scribe.add(self.scribe.close(model=None))


def led() -> Led:
    """A run of one round, by the first server."""
    run = Led()
    run.exchange(1)
    return run


Audited = Callable[..., Report]


@pytest.fixture
def audited(tmp_path: Path) -> Audited:
    """The report of a run's CAR, in which ``more`` lies beside it."""

    def audit(
        run: Led,
        more: Iterable[Block] = (),
        acks: Iterable[Block] = (),
        votes: Iterable[Block] = (),
        *,
        with_contents: bool = True,
    ) -> Report:
        beside = AcksGrantsProofs(acks=(*run.acks, *acks), votes=tuple(votes))
        with opened(run, tmp_path, more, beside, with_contents=with_contents) as found:
            return found.run()

    return audit


@contextlib.contextmanager
def opened(
    run: Led, folder: Path, more: Iterable[Block], beside: AcksGrantsProofs, *, with_contents: bool
) -> Iterator[Audit]:
    car = folder / "run.car"
    car.write_bytes(b"".join(write_car([run.head], [*run.blocks, *more])))
    with (
        Scratch() as scratch,
        contextlib.closing(CarSource(car)) as source,
        contextlib.closing(Audit(run.head, source, scratch, beside=beside, with_contents=with_contents)) as audit,
    ):
        yield audit


def rules(report: Report) -> list[str]:
    return [finding.rule for finding in report.findings]


def remarks(report: Report) -> list[str]:
    return [remark.rule for remark in report.remarks]


def record(run: Led) -> Block:
    return Block(run.head, run.scribe.source[run.head])


# -- who led -------------------------------------------------------------------------------------------------------


def test_an_audit_says_who_led_when_and_why_that_changed(audited: Audited) -> None:
    run = led()
    run.scribe.lead(leader=SECOND)
    run.exchange(2)
    run.scribe.lead(leader=SERVER, cause=TakeoverCause.HANDOVER, voters=(SERVER, ALICE, CAROL))
    run.close()
    report = audited(run)
    assert report.verdict is Verdict.VERIFIED
    assert [(each.term, each.leader, each.since, each.until) for each in report.reigns] == [
        (1, "server", 0, 2),
        (2, "second server", 3, 5),
        (3, "server", 6, 7),
    ]
    assert [(each.votes, each.voters) for each in report.reigns] == [(0, 0), (3, 5), (3, 5)]
    assert set(report.reigns[1].voted) == {"second server", "alice", "bob"}
    assert (report.leader, report.term) == ("server", 3)


def test_the_change_is_told_as_people_say_it(audited: Audited) -> None:
    run = led()
    run.scribe.lead(leader=SECOND)
    assert [each.in_words() for each in audited(run).reigns] == [
        "server led from the start, in term 1",
        '"second server" took over from server at height 3, in term 2, as nothing was heard of server (3 of 5 votes)',
    ]


@pytest.mark.parametrize(
    ("cause", "leader", "why"),
    [
        (TakeoverCause.HANDOVER, SECOND, "as server handed the run over"),
        (TakeoverCause.SILENCE, SERVER, "server was elected again"),
    ],
)
def test_each_cause_has_its_words(cause: TakeoverCause, leader: SigningKey, why: str, audited: Audited) -> None:
    run = led()
    run.scribe.lead(leader=leader, cause=cause, voters=(leader, ALICE, BOB))
    assert why in audited(run).reigns[1].in_words()


def test_a_takeover_by_warrant_says_which_admin_wanted_it(audited: Audited) -> None:
    run = led()
    warrant = run.scribe.sign(run.scribe.warrant(), ADMIN)
    run.scribe.lead(cause=TakeoverCause.HANDOVER, warrant=warrant.cid)
    report = audited(run)
    assert report.verdict is Verdict.VERIFIED
    assert "an admin, wanted by warrant" in report.reigns[1].in_words()
    assert reign_value(report.reigns[1])["warrant"] == report.reigns[1].warrant


def test_an_audit_says_that_most_servers_were_against_a_record_and_finds_no_fault_in_who_voted(
    audited: Audited,
) -> None:
    run = Led(Scribe(THREE_SERVERS))
    words = [word(run.scribe, each) for each in WITNESSES]
    body = against(run.scribe)
    run.scribe.leader = SECOND
    step = run.scribe.add(body)
    votes = [Block(vote.cid, run.scribe.source[vote.cid]) for vote in step.votes]
    report = audited(run, acks=words, votes=votes)
    assert (report.verdict, report.remarks, rules(report)) == (Verdict.VERIFIED, [], [])
    assert "as most servers had computed something else than server" in report.reigns[1].in_words()
    assert report.reigns[0].lost == 1
    assert "is left behind, even if it was settled" in report.reigns[0].lost_in_words()


def test_a_server_that_says_two_things_of_a_disputed_record_has_equivocated(audited: Audited) -> None:
    run = Led(Scribe(THREE_SERVERS))
    other = word(run.scribe, DAVE, replace(ELSE, content=CONTENT))
    body = against(run.scribe)
    run.scribe.leader = SECOND
    run.scribe.add(body)
    report = audited(run, acks=[other])
    assert [finding.rule for finding in (*report.findings, *report.remarks)] == ["equivocation"]


def test_a_gap_in_terms_and_the_same_leader_again_are_nobodys_fault(audited: Audited) -> None:
    run = led()
    votes = [run.scribe.sign(run.scribe.vote(each, SERVER, term=5), each) for each in by_id(SERVER, ALICE, BOB)]
    run.scribe.lead(*votes, leader=SERVER, term=5)
    report = audited(run)
    assert (report.verdict, report.remarks) == (Verdict.VERIFIED, [])
    assert [each.term for each in report.reigns] == [1, 5]


def by_id(*members: SigningKey) -> list[SigningKey]:
    return sorted(members, key=id_of)


def test_people_read_who_led_and_up_to_where_it_is_settled(peers: Callable[[str], Peer], tmp_path: Path) -> None:
    run = led()
    run.scribe.lead(leader=SECOND)
    run.exchange(2)
    car = tmp_path / "run.car"
    car.write_bytes(b"".join(write_car([run.head], run.blocks)))
    said = peers("auditor")("audit", car).out
    assert "term 2" in said
    assert "as nothing was heard of server (3 of 5 votes)" in said
    assert "settled" in said
    told = peers("auditor")("audit", car, "--json").json
    assert [each["cause"] for each in told["reigns"]] == [None, "silence"]
    assert told["settled"] == {"height": None, "of_head": 1, "voters": 5, "majority": 3}


def test_a_vote_and_a_takeover_can_be_shown(peers: Callable[[str], Peer], tmp_path: Path) -> None:
    run = led()
    run.scribe.lead(leader=SECOND)
    car = tmp_path / "run.car"
    car.write_bytes(b"".join(write_car([run.head], run.blocks)))
    shown = peers("auditor")("show", car, "--json").json
    assert (shown["type"], shown["body"]["cause"], len(shown["body"]["votes"])) == ("takeover", "silence", 3)
    vote = peers("auditor")("show", shown["body"]["votes"][0], "--car", car, "--json").json
    assert (vote["type"], vote["body"]["candidate"]) == ("vote", SECOND.verify_key.did)


def test_a_leader_that_stands_by_later_does_not_vouch_for_its_own_exchanges(audited: Audited) -> None:
    run = led()
    run.scribe.lead(leader=SECOND)
    run.exchange(2)
    run.ack(SERVER, recomputed=Recomputed(since=1, comparison=Comparison.EQUAL, message=None, content=None))
    report = audited(run)
    assert report.recomputed == {"server": ((1, 5),)}, "as it signs"
    assert [report.recomputed_by(height) for height in (1, 4)] == [[], ["server"]]


def test_a_leader_vouches_for_what_the_one_before_it_led_and_for_nothing_of_its_own(audited: Audited) -> None:
    run = led()
    run.scribe.lead(leader=SECOND)
    run.ack(SECOND, recomputed=Recomputed(since=1, comparison=Comparison.EQUAL, message=None, content=None))
    run.exchange(2)
    report = audited(run)
    assert report.recomputed == {"second server": ((1, 2),)}
    assert [report.recomputed_by(height) for height in (1, 4)] == [["second server"], []]


# -- what is settled -----------------------------------------------------------------------------------------------


def test_a_record_is_settled_once_a_majority_has_confirmed_it(audited: Audited) -> None:
    run = led()
    run.ack(ALICE, BOB)
    run.exchange(2)
    run.ack(ALICE)
    report = audited(run)
    assert report.settled is not None
    assert (report.settled.height, report.settled.of_head) == (2, 2)
    assert [report.is_settled(height) for height in (0, 2, 3)] == [True, True, False]


def test_acks_of_two_terms_are_no_majority_together(audited: Audited) -> None:
    run = led()
    run.ack(ALICE)
    run.scribe.lead(leader=SECOND)
    run.ack(BOB)
    report = audited(run)
    assert report.settled is not None
    assert report.settled.height is None
    run.ack(CAROL)
    settled = audited(run)
    assert settled.is_settled(2), "a record of the older term is settled through one of the newer"
    assert [each.settled for each in settled.reigns] == [None, 3]
    assert [each.acked for each in settled.reigns] == [1, 2]


def voted_by(run: Led, voting: Voting) -> None:
    """A roster that changes who votes."""
    change(run.scribe, voting=voting)


def test_after_a_roster_a_majority_of_the_voters_before_it_settles_too(audited: Audited) -> None:
    run = led()
    voted_by(run, Voting.SERVERS)
    run.ack(SECOND)
    settled = audited(run).settled
    assert settled is not None
    assert (settled.height, settled.of_head, settled.voters) == (None, 2, 5)
    run.ack(ALICE)
    assert audited(run).is_settled(3)


@pytest.mark.parametrize("is_confirmed", [True, False])
def test_a_roster_that_is_not_known_to_be_settled_leaves_those_before_it_a_say_after_the_next(
    audited: Audited, is_confirmed: bool
) -> None:
    run = led()
    voted_by(run, Voting.SERVERS)
    if is_confirmed:
        run.ack(SECOND, ALICE)
    for _ in range(2):
        change(run.scribe)
    run.ack(SECOND)
    assert audited(run).is_settled(run.height) is is_confirmed


def test_a_close_that_a_majority_has_confirmed_counts(audited: Audited) -> None:
    run = led()
    run.close()
    run.ack(ALICE)
    report = audited(run)
    assert (report.verdict, remarks(report)) == (Verdict.VERIFIED, ["unsettled-close"])
    assert "the word of 2 of 5 voters for the close is here, and it takes 3" in report.remarks[0].message
    run.ack(BOB)
    assert audited(run).remarks == []


def test_where_no_other_server_is_nobody_could_take_over(audited: Audited) -> None:
    alone = {name: each for name, each in MEMBERS.items() if name != "second server"}
    run = Led(Scribe(alone))
    run.exchange(1)
    run.close()
    run.ack(ALICE)
    assert audited(run).remarks == []


# -- tails that were lost --------------------------------------------------------------------------------------------


def lost_and_won(*, until: int = 4) -> tuple[Led, Led]:
    """The same run twice: the first server went on alone, and the second took over before that."""
    lost, won = led(), led()
    while lost.height < until:
        lost.exchange(lost.height)
    won.scribe.lead(leader=SECOND)
    won.exchange(2)
    assert lost.run == won.run
    return lost, won


def test_who_confirmed_a_tail_that_was_lost_accuses_nobody(audited: Audited) -> None:
    lost, won = lost_and_won()
    lost.ack(CAROL)
    report = audited(won, acks=lost.acks)
    assert (report.verdict, report.remarks) == (Verdict.VERIFIED, [])
    assert report.reigns[0].lost == 4
    assert "is lost: the next leader went on without it" in report.reigns[0].lost_in_words()
    assert report.confirmed == {}


def test_nor_does_a_tail_that_was_longer_than_the_run_is_now(audited: Audited) -> None:
    lost, won = lost_and_won(until=10)
    lost.ack(CAROL)
    report = audited(won, acks=lost.acks)
    assert (report.verdict, report.remarks, report.reigns[0].lost) == (Verdict.VERIFIED, [], 10)


def test_a_reply_that_is_signed_anew_for_the_successor_of_a_lost_dispatch_contradicts_nothing(audited: Audited) -> None:
    lost, won = led(), led()
    content, answer = won.model(2), won.answer(loss=0.5, examples=30)
    lost.scribe.add(lost.scribe.dispatch(lost.scribe.group(ALICE, content=content)))
    before = lost.scribe.taken(ALICE, content=answer, time=TIME).reply
    won.scribe.lead(leader=SECOND)
    won.scribe.add(won.scribe.dispatch(won.scribe.group(ALICE, content=content)))
    won.scribe.add(won.scribe.collect(won.scribe.taken(ALICE, content=answer, time=TIME + 9)))
    report = audited(won, more=[Block(before, lost.scribe.source[before])])
    assert (report.verdict, report.remarks) == (Verdict.VERIFIED, [])
    assert report.participants["alice"].answered == 2


def test_a_chain_that_was_left_behind_is_told_by_a_member_that_has_seen_the_newer_term(audited: Audited) -> None:
    lost, won = lost_and_won()
    won.ack(ALICE)
    report = audited(lost, acks=won.acks)
    assert (rules(report), remarks(report)) == ([], ["overtaken"])
    assert "another server has taken the run over" in report.remarks[0].message


def test_a_term_that_began_elsewhere_is_another_history(audited: Audited) -> None:
    won, other = led(), Led()
    won.scribe.lead(leader=SECOND)
    other.scribe.lead(leader=SECOND)
    other.ack(ALICE)
    assert rules(audited(won, acks=other.acks)) == ["another-history"]


def test_a_term_that_a_later_one_left_out_accuses_nobody(audited: Audited) -> None:
    run, other = Led(), Led()
    other.scribe.lead(leader=SECOND)
    other.ack(CAROL)
    run.exchange(1)
    votes = [run.scribe.sign(run.scribe.vote(each, SERVER, term=3), each) for each in by_id(SERVER, ALICE, BOB)]
    run.scribe.lead(*votes, leader=SERVER, term=3)
    report = audited(run, acks=other.acks)
    assert (report.verdict, report.remarks) == (Verdict.VERIFIED, [])


def test_another_history_in_one_term_is_a_finding_as_before(audited: Audited) -> None:
    run, other = led(), led()
    run.exchange(2)
    other.exchange(3)
    other.ack(ALICE)
    assert rules(audited(run, acks=other.acks)) == ["another-history"]


# -- promises --------------------------------------------------------------------------------------------------------


def with_servers_vote() -> tuple[Led, Led]:
    """The first server votes for the second to take over, and goes on all the same."""
    lost, won = led(), led()
    lost.exchange(2)
    won.scribe.lead(leader=SECOND, voters=(SERVER, SECOND, ALICE))
    won.exchange(2)
    return lost, won


def test_a_leader_that_went_on_after_its_vote_is_named_by_a_record_of_the_lost_tail(audited: Audited) -> None:
    lost, won = with_servers_vote()
    report = audited(won, more=[record(lost)])
    assert (report.verdict, rules(report)) == (Verdict.FAILED, ["broken-promise"])
    assert "server voted for" in report.findings[0].message
    assert (report.findings[0].height, report.findings[0].cid) == (4, lost.head)


def test_an_ack_leads_to_that_record(audited: Audited) -> None:
    lost, won = with_servers_vote()
    lost.ack(CAROL)
    assert rules(audited(won, more=[record(lost)], acks=lost.acks)) == ["broken-promise"]
    without = audited(won, acks=lost.acks)
    assert (rules(without), remarks(without)) == ([], ["promise-in-doubt"]), "an ack is its author's word alone"


def test_a_leader_is_named_too_if_its_own_tail_is_shown_and_its_vote_lies_beside(audited: Audited) -> None:
    lost, won = with_servers_vote()
    votes = [block for block in won.blocks if is_vote(block)]
    assert rules(audited(lost, more=votes)) == ["broken-promise"]


def is_vote(block: Block) -> bool:
    with contextlib.suppress(Exception):
        return isinstance(parse_record(block).body, Vote)
    return False


def test_a_vote_that_no_takeover_links_counts_as_well(audited: Audited) -> None:
    lost, won = with_servers_vote()
    (vote,) = [each for each in won.blocks if is_vote(each) and parse_record(each).body.by == id_of(SERVER)]
    assert rules(audited(lost, votes=[vote])) == ["broken-promise"]


def test_a_voter_that_confirms_the_old_term_beyond_its_vote_is_named(audited: Audited) -> None:
    lost, won = lost_and_won()
    lost.ack(ALICE)
    report = audited(won, acks=lost.acks)
    assert rules(report) == ["broken-promise"]
    assert "alice voted for" in report.findings[0].message
    assert "confirmed height 4 in term 1" in report.findings[0].message


def test_what_a_key_signed_that_was_revoked_since_is_a_remark(audited: Audited) -> None:
    lost, won = lost_and_won()
    lost.ack(ALICE)
    alice = won.scribe.manifest.members[id_of(ALICE)]
    revoked = won.scribe.next_manifest(with_revoked(won.scribe.manifest, alice, by=id_of(ADMIN), time=TIME))
    won.scribe.add(won.scribe.roster(revoked.cid))
    report = audited(won, acks=lost.acks)
    assert (rules(report), remarks(report)) == ([], ["broken-promise-by-revoked-key"])


def test_what_a_stranger_signs_in_a_voters_name_accuses_nobody(audited: Audited) -> None:
    lost, won = lost_and_won()
    lost.ack(ALICE)
    forged = [sign_record(parse_record(block).body, [BOB]) for block in lost.acks]
    assert rules(audited(won, acks=forged)) == []


def test_two_votes_of_one_voter_in_one_term_are_equivocation(audited: Audited) -> None:
    run = led()
    second = sign_record(run.scribe.vote(ALICE, SERVER), [ALICE])
    run.scribe.lead(leader=SECOND)
    report = audited(run, more=[second])
    assert (report.verdict, rules(report)) == (Verdict.FAILED, ["equivocation"])


def test_an_audit_writes_the_proof_and_reads_it_without_the_run(peers: Callable[[str], Peer], tmp_path: Path) -> None:
    lost, won = with_servers_vote()
    car, proof = tmp_path / "run.car", tmp_path / "proof.car"
    car.write_bytes(b"".join(write_car([won.head], [*won.blocks, record(lost)])))
    auditor = peers("auditor")
    assert auditor("audit", car, "--proof", proof).code == ExitCode.VERIFICATION_FAILED
    checked = auditor("audit", proof)
    assert checked.code == ExitCode.VERIFICATION_FAILED
    assert "broken promise" in checked.out
    told = auditor("audit", proof, "--json").json
    assert (told["verdict"], told["vote"]["term"], told["vote"]["head_height"]) == ("broken-promise", 2, 2)
    assert (told["record"]["type"], told["record"]["term"], told["record"]["height"]) == ("collect", 1, 4)


# -- files, and readers without keys ---------------------------------------------------------------------------------


def test_a_file_that_ends_with_a_takeover_has_its_votes_and_replaces_a_longer_tail(
    peers: Callable[[str], Peer], tmp_path: Path
) -> None:
    lost, won = lost_and_won(until=10)
    cut = led()
    cut.scribe.lead(leader=SECOND)
    peer, engine = peers("peer"), f"local:{tmp_path / 'engine'}"
    for number, run in enumerate((lost, cut)):
        file = tmp_path / f"{number}.car"
        file.write_bytes(b"".join(write_car([run.head], run.blocks)))
        assert peer("import", file, "--ipfs", engine).code == ExitCode.DONE
        assert newest(peer, run.run) == run.head
    exported = tmp_path / "exported.car"
    assert peer("export", str(cut.head), exported, "--ipfs", engine).code == ExitCode.DONE
    with exported.open("rb") as stream:
        _, blocks = read_car(stream)
        assert sum(map(is_vote, blocks)) == 3
    reigns = peers("other")("audit", exported, "--json").json["reigns"]
    assert reigns[1]["votes"] == 3
    kept = peer("history", str(cut.head), "--json").json
    assert (kept["reigns"], kept["verified_before"] is None) == (reigns, False)
    assert newest(peer, won.run) == cut.head


def test_a_file_has_the_record_of_a_lost_tail_that_a_member_confirmed(
    peers: Callable[[str], Peer], tmp_path: Path
) -> None:
    lost, won = with_servers_vote()
    lost.ack(CAROL)
    peer, engine, file = peers("peer"), LocalEngine(tmp_path / "engine"), tmp_path / "run.car"
    engine.put([*won.blocks, record(lost)])
    engine.close()
    with Journal(Home(peer.home).create().journal) as journal:
        journal.keep_beside(won.run, lost.acks)
    exported = peer("export", str(won.head), file, "--ipfs", engine.address)
    assert "of a tail that a takeover left out, and that is not in it: 1" in exported.out
    found = peers("other")("audit", file, "--json").json
    assert [finding["rule"] for finding in found["findings"]] == ["broken-promise"]


def newest(peer: Peer, run: CID) -> CID:
    with Journal(Home(peer.home).journal) as journal:
        head = journal.head_of(run)
    assert head is not None
    return head.head


def test_who_has_no_key_reads_who_led(audited: Audited) -> None:
    keeping = {**MEMBERS, "keeper": member(KEEPER, Role.KEEPER, place=ADMIN)}
    run = Led(Scribe(keeping, encrypted=True))
    run.scribe.add(run.scribe.dispatch())
    run.scribe.lead(leader=SECOND)
    report = audited(run, with_contents=False)
    assert report.verdict is Verdict.VERIFIED
    assert [(each.term, each.votes, each.voters) for each in report.reigns] == [(1, 0, 0), (2, 3, 5)]
