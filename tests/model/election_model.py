"""All that can happen in an election: states, and the steps that lead from one to the next.

A message that was sent stays in the state for ever, and may be taken at any later step, by anybody, once or never. So
loss, repetition, delay and any order are all there. A vote, a win, a record on disk is one step; between two of them
everybody may crash. Time is not in the model: a server may stand whenever it likes, and nobody hears a leader. What is
safe with that is safe whatever the clocks say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain as joined
from itertools import groupby, pairwise, permutations, product
from typing import Any, NamedTuple, TypeVar

from election_rules import RULES, Asked, Chain, Rules, electorate, rank, term_of

from protocol.votes.electorate import Electorate

Candidacy = tuple[int, Chain, bool, bool] | tuple[()]
"""What a server tries: its term, its head, whether it is against the record after that, and whether it asks for votes
already; before, it canvasses. Empty: nothing. Without names, so that a search that was kept is read as it was."""


class Peer(NamedTuple):
    """One member."""

    chain: Chain
    """What it has verified."""
    durable: Chain
    """What of it is on disk."""
    term: int = 0
    """The term of its promise; 0: none."""
    candidate: int = -1
    """To whom it is promised."""
    against: bool = False
    """Whether it has the words of most servers against the contradicted record, and has laid that down."""
    seen: int = 0
    """The highest term of what it has laid down."""
    candidacy: Candidacy = ()
    """What is under way, if the search looks at that: in memory alone, so a crash ends it."""


class Ballot(NamedTuple):
    """One candidate's question for votes, and who has voted: one bit a peer."""

    term: int
    candidate: int
    head: Chain
    votes: int
    against: bool = False
    """Whether it is against the record after the head."""


Report = tuple[int, int, tuple[int, int]]
"""Who reports, the highest term that it has promised or seen, and the rank of its newest record."""
Records = tuple[tuple[Chain, int], ...]
Winners = tuple[tuple[int, int], ...]


class State(NamedTuple):
    """All peers, and all that was ever said."""

    peers: tuple[Peer, ...]
    ballots: tuple[Ballot, ...]
    records: Records
    """Each announced record, by its chain, and who has confirmed it in its own term: one bit a peer."""
    winners: Winners
    """Each term and who won it."""
    restored: tuple[int, tuple[Report, ...] | None] | None = None
    """Who was put back to an older copy of its home, and what the others have reported to it since it asked; None: it
    has not asked."""
    crashes: int = 0


class Violation(AssertionError):
    """Something that must never happen has happened."""


@dataclass(frozen=True)
class Bounds:
    """How far the search goes. Within it, it is complete."""

    servers: int = 3
    clients: int = 2
    terms: int = 3
    height: int = 3
    """Records in a chain at most."""
    ballots: int = 9
    """How often servers stand at most."""
    slow_disk: bool = False
    """Whether a record may be verified and not on disk yet."""
    crashes: int = 0
    restores: bool = False
    """Whether the home of one peer that has led nothing may be put back to its first record, and no promise."""
    voters: tuple[frozenset[int], frozenset[int]] | None = None
    """The voters before and after a roster, if there may be one; None: all peers vote, always."""
    candidacies: bool = False
    """Whether a server that stands does so in two steps, as a peer: it canvasses, and votes for itself later, if it
    does. Its candidacy is in memory. If not, it stands in one step, and has won in its term whenever the votes are
    there, though it crashed meanwhile."""
    contradicted: Chain = ()
    """A chain that ends with a record against which most servers may have spoken, at any time; none if empty."""

    @property
    def peers(self) -> int:
        """How many there are."""
        return self.servers + self.clients


T = TypeVar("T")

Label = tuple[str | int | Chain, ...]
"""A step, for people."""


class Model:
    """The steps within ``bounds`` by ``rules``."""

    def __init__(self, bounds: Bounds, rules: Rules = RULES) -> None:
        self.bounds = bounds
        self.rules = rules
        everybody = frozenset(range(bounds.peers))
        first, second = bounds.voters or (everybody, everybody)
        before = first if rules.asks_voters_before_too and first != second else None
        self._electorates = (
            electorate(first, bounds.servers),
            electorate(second, bounds.servers, before),
            electorate(second, bounds.servers),
        )
        self._would_vote = lru_cache(1 << 18)(lambda *asked: rules.would_vote(Asked(*asked)))
        self._settles = lru_cache(1 << 18)(rules.settles)
        self._is_majority = lru_cache(1 << 12)(lambda votes, by: rules.has_majority(members_of(votes), by))
        self._has_won = lru_cache(1 << 12)(lambda server, votes, by: rules.has_won(server, _as_they_come(votes), by))
        self._loses = lru_cache(1 << 18)(self._lost)
        self._floor_of = lru_cache(1 << 14)(rules.floor_of)

    @property
    def start(self) -> State:
        """Server 0 has begun a run, and all others have heard of it."""
        begun: Chain = (1,)
        peers = (Peer(begun, begun),) * self.bounds.peers
        return State(peers, (), ((begun, (1 << self.bounds.peers) - 1),), ((1, 0),))

    def electorate(self, chain: Chain) -> Electorate:
        """Who votes after a head."""
        return self._electorates[rosters(chain)]

    def _have_majority(self, votes: int, chain: Chain) -> bool:
        """Whether those whose bits are set decide after a head."""
        return self._is_majority(votes, self.electorate(chain))

    def after(self, *labels: str) -> State:
        """The state after these steps."""
        state = self.start
        for label in labels:
            state = next(each for said, each in self.steps(state) if " ".join(map(str, said)) == label)
        return state

    # -- steps ------------------------------------------------------------------------------------------------------

    def steps(self, state: State) -> Iterator[tuple[Label, State]]:
        """Everything that may happen next, and what it leads to.

        Raises:
            Violation: if one of them must never happen.
        """
        yield from self._canvass(state) if self.bounds.candidacies else self._stand(state)
        if self.bounds.candidacies:
            yield from self._claim(state)
        yield from self._vote(state)
        yield from self._win(state)
        yield from self._append(state)
        yield from self._verify(state)
        if self.bounds.slow_disk:
            yield from self._write(state)
        if state.crashes < self.bounds.crashes:
            yield from self._crash(state)
        if self.bounds.restores:
            yield from self._restore(state)
        if self.bounds.contradicted:
            yield from self._lay_down(state)

    def _refuses(self, state: State, voter: int, asked: Ballot) -> bool:
        peer, floor = state.peers[voter], self._floor(state, voter)
        newest = peer.chain if self.rules.judges_by_what_is_signed else peer.durable
        promised = peer.term, peer.candidate
        electorates = self.electorate(newest), self.electorate(asked.head)
        against = self._is_against(peer), asked.against
        question = asked.candidate, asked.head, asked.term
        return not self._would_vote(voter, newest, promised, floor, *question, *electorates, peer.seen, against)

    def _is_against(self, peer: Peer) -> bool:
        """Whether a peer has laid down the record after its head."""
        return peer.against and peer.chain == self.bounds.contradicted[:-1]

    def _floor(self, state: State, voter: int) -> int | None:
        """Above which term a peer votes; None: it does not vote yet."""
        if state.restored is None or state.restored[0] != voter:
            return 0
        if (reported := state.restored[1]) is None:
            return None
        chain = state.peers[voter].chain
        if self.rules.catches_up_first and any(rank(chain) < newest for _, _, newest in reported):
            return None
        return self._floor_of(voter, tuple(each[:2] for each in reported), self.electorate(chain))

    def _may_stand(self, state: State) -> Iterator[Ballot]:
        """With what a server may stand now, in any term: reports may raise it."""
        if len(state.ballots) >= self.bounds.ballots:
            return
        for server in range(self.bounds.servers):
            peer = state.peers[server]
            for term in range(max(peer.term, term_of(peer.chain)) + 1, self.bounds.terms + 1):
                ballot = Ballot(term, server, peer.chain, 1 << server, self._is_against(peer))
                if not self._refuses(state, server, ballot):
                    yield ballot

    def _stand(self, state: State) -> Iterator[tuple[Label, State]]:
        for ballot in self._may_stand(state):
            yield ("stands", ballot.candidate, ballot.term, ballot.head), self._asks(state, ballot, ())

    def _canvass(self, state: State) -> Iterator[tuple[Label, State]]:
        """A server asks who would vote for it, which binds nobody. What it tried before is over."""
        for ballot in self._may_stand(state):
            peer, candidacy = state.peers[ballot.candidate], (ballot.term, ballot.head, ballot.against, False)
            if peer.candidacy != candidacy:
                canvassing = _with_peer(state, ballot.candidate, peer._replace(candidacy=candidacy))
                yield ("canvasses", ballot.candidate, ballot.term, ballot.head), canvassing

    def _claim(self, state: State) -> Iterator[tuple[Label, State]]:
        """A server that has canvassed votes for itself, and asks for votes. Any time may have passed since: it looks
        again if it would vote so."""
        for server, peer in enumerate(state.peers):
            match peer.candidacy:
                case (term, head, against, False):
                    ballot = Ballot(term, server, head, 1 << server, against)
                    is_on = peer.chain == head and not self._refuses(state, server, ballot)
                    if is_on or not self.rules.looks_again_before_it_asks:
                        yield (
                            ("asks for votes", server, term, head),
                            self._asks(state, ballot, (term, head, against, True)),
                        )

    def _asks(self, state: State, ballot: Ballot, candidacy: Candidacy) -> State:
        """A candidate has voted for itself."""
        server, peer = ballot.candidate, state.peers[ballot.candidate]
        self._check_promise(state, server, ballot)
        # the disk writes in order: the head too
        promised = peer._replace(durable=peer.chain, term=ballot.term, candidate=server, candidacy=candidacy)
        state_with = _with_peer(state, server, promised)._replace(ballots=_sorted(*state.ballots, ballot))
        return self._on_disk(state_with, server, peer)

    def _vote(self, state: State) -> Iterator[tuple[Label, State]]:
        for at, ballot in enumerate(state.ballots):
            for voter, peer in enumerate(state.peers):
                if ballot.votes >> voter & 1:
                    continue
                if self._refuses(state, voter, ballot):
                    continue
                self._check_promise(state, voter, ballot)
                promised = peer._replace(durable=peer.chain, term=ballot.term, candidate=ballot.candidate)
                given = ballot._replace(votes=ballot.votes | 1 << voter)
                ballots = _sorted(*state.ballots[:at], given, *state.ballots[at + 1 :])
                state_with = _with_peer(state, voter, promised)._replace(ballots=ballots)
                label = ("votes", voter, "for", ballot.candidate, ballot.term)
                yield label, self._on_disk(state_with, voter, peer)

    def _check_promise(self, state: State, voter: int, ballot: Ballot) -> None:
        """A vote is the only one in its term, and beyond its head there is no older record by the voter."""
        if any(each.term == ballot.term and each.votes >> voter & 1 for each in state.ballots):
            raise Violation(f"{voter} votes twice in term {ballot.term}")
        chain, head = state.peers[voter].chain, ballot.head
        if chain != head and not ballot.against and not self.rules.may_break_promises:
            wrote = {term for term, server in state.winners if server == voter and term < ballot.term}
            if any(abs(chain[at]) in wrote and chain[: at + 1] != head[: at + 1] for at in range(len(chain))):
                raise Violation(f"{voter} votes in term {ballot.term} for {head}, and has signed {chain}")

    def _on_disk(self, state: State, peer: int, before: Peer) -> State:
        """What was on its way to disk before a promise is there with it, and is said with the promise."""
        return state if before.durable == before.chain else self._said(state, peer)

    def _win(self, state: State) -> Iterator[tuple[Label, State]]:
        for ballot in state.ballots:
            server = ballot.candidate
            peer = state.peers[server]
            if not self._is_on(peer, ballot) or len(ballot.head) == self.bounds.height:
                continue
            if not self._has_won(server, ballot.votes, self.electorate(ballot.head)):
                continue
            if any(term_of(chain) == ballot.term for chain, _ in state.records):
                raise Violation(f"two takeovers in term {ballot.term}: the second by {server}")
            before = (each for each in state.winners if each[0] != ballot.term)
            won = state._replace(winners=_sorted(*before, (ballot.term, server)))
            yield ("wins", server, ballot.term), self._appended(won, server, ballot.term)

    def _is_on(self, peer: Peer, ballot: Ballot) -> bool:
        """Whether a candidate still tries what it asked these votes for."""
        if peer.seen >= ballot.term or peer.chain != ballot.head:
            return False  # it gave that candidacy up when it verified the newer term, or has come further
        if not self.bounds.candidacies:
            return (peer.term, peer.candidate) == (ballot.term, ballot.candidate)
        is_under_way = peer.candidacy == (ballot.term, ballot.head, ballot.against, True)
        return is_under_way and not self.rules.gives_up(ballot.term, peer.term)

    def _append(self, state: State) -> Iterator[tuple[Label, State]]:
        for term, server in state.winners:
            peer = state.peers[server]
            leads = term_of(peer.chain) == term and peer.term <= term and len(peer.chain) < self.bounds.height
            if not leads:
                continue
            yield ("appends", server, term), self._appended(state, server, term)
            if self.bounds.voters is not None and self._may_bring_roster(state, peer.chain):
                yield ("appends a roster", server, term), self._appended(state, server, -term)

    def _may_bring_roster(self, state: State, chain: Chain) -> bool:
        """The second, which ends that those before the first are asked, comes only once the first is settled."""
        if rosters(chain) != 1:
            return not rosters(chain)
        settled = (kept for by, kept in self.settled(state.records, state.winners) if by == term_of(chain))
        return not self.rules.waits_with_roster or any(rosters(kept) for kept in settled)

    def _appended(self, state: State, server: int, record: int) -> State:
        peer = state.peers[server]
        if peer.term > abs(record) and not self.rules.may_break_promises:
            raise Violation(f"{server} has voted in term {peer.term}, and signs in term {abs(record)}")
        return self._verified(state, server, (*peer.chain, record))

    def _verify(self, state: State) -> Iterator[tuple[Label, State]]:
        """A peer takes the next record of a chain that is newer than its own; at a fork, up to the first that makes it
        newer."""
        for number, peer in enumerate(state.peers):
            ours = rank(peer.chain)
            targets = {next_of(chain, ours) for chain, _ in state.records if rank(chain) > ours}
            for target in sorted(targets):
                if peer.against and self._is_contradicted(target):
                    continue
                yield ("verifies", number, target), self._verified(state, number, target)

    def _verified(self, state: State, number: int, chain: Chain) -> State:
        peer = state.peers[number]
        if self.bounds.slow_disk:
            after = _with_peer(state, number, peer._replace(chain=chain))
            return after if self.rules.confirms_what_is_durable else self._said(after, number)
        return self._said(_with_peer(state, number, peer._replace(chain=chain, durable=chain)), number)

    def _is_contradicted(self, chain: Chain) -> bool:
        """Whether the contradicted record is in it."""
        contradicted = self.bounds.contradicted
        return bool(contradicted) and chain[: len(contradicted)] == contradicted

    def _lay_down(self, state: State) -> Iterator[tuple[Label, State]]:
        """A peer has the words of most servers: it goes back to before the record, in whatever term it is there, and
        takes that record from nobody any more. Who wrote it never does."""
        wrote = dict(state.winners)[term_of(self.bounds.contradicted)]
        for number, peer in enumerate(state.peers):
            if number == wrote or peer.against or not self._is_contradicted(peer.chain):
                continue
            kept = peer.chain[: len(self.bounds.contradicted) - self.rules.lays_down]
            laid_down = peer._replace(chain=kept, durable=kept, against=True, seen=term_of(peer.chain))
            yield ("lays down", number), _with_peer(state, number, laid_down)

    def _write(self, state: State) -> Iterator[tuple[Label, State]]:
        for number, peer in enumerate(state.peers):
            if peer.durable != peer.chain:
                written = _with_peer(state, number, peer._replace(durable=peer.chain))
                yield ("writes", number, peer.chain), self._said(written, number)

    def _said(self, state: State, number: int) -> State:
        """A peer says up to where it has verified, together with its promise; a leader announces its records so, and
        counts itself whatever it has promised."""
        peer = state.peers[number]
        term = term_of(peer.chain)
        records = dict(state.records)
        floor = self._floor(state, number) if self.rules.waits_for_reports else 0
        counts = floor is not None and self.rules.counts_for(term, max(peer.term, floor))
        if counts or (term, number) in state.winners:
            for length in range(len(peer.chain), 0, -1):
                prefix = peer.chain[:length]
                if term_of(prefix) != term and self.rules.settles_own_term_only:
                    break
                records[prefix] = records.get(prefix, 0) | 1 << number
        records.setdefault(peer.chain, 0)
        after = state._replace(records=tuple(sorted(records.items())))
        self._check(after.records, after.winners)
        return after

    def _crash(self, state: State) -> Iterator[tuple[Label, State]]:
        for number, peer in enumerate(state.peers):
            kept = (peer.term, peer.candidate) if self.rules.keeps_promises else (0, -1)
            after = Peer(peer.durable, peer.durable, *kept, peer.against, peer.seen)
            if after != peer:
                yield ("crashes", number), _with_peer(state, number, after)._replace(crashes=state.crashes + 1)

    def _restore(self, state: State) -> Iterator[tuple[Label, State]]:
        if state.restored is None:
            for number, peer in enumerate(state.peers):
                if all(server != number for _, server in state.winners):
                    begun = peer.chain[:1]
                    after = _with_peer(state, number, Peer(begun, begun))._replace(restored=(number, None))
                    yield ("is restored", number), after
            return
        number, reported = state.restored
        if reported is None:
            yield ("asks", number), self._expired(state._replace(restored=(number, ())), number)
            return
        for other, peer in enumerate(state.peers):
            if other != number and all(other != by for by, *_ in reported):
                told = _sorted(*reported, (other, max(peer.term, term_of(peer.chain)), rank(peer.chain)))
                yield ("reports", other, "to", number), state._replace(restored=(number, told))

    def _expired(self, state: State, number: int) -> State:
        """What a peer said before its home was restored counts no more, but for what it has decided already."""
        bit = 1 << number
        if self.rules.votes_expire:
            state = state._replace(ballots=_sorted(*(each._replace(votes=each.votes & ~bit) for each in state.ballots)))
        if self.rules.confirmations_expire:
            settled = [chain for _, chain in self.settled(state.records, state.winners)]
            kept = (
                (chain, by if any(each[: len(chain)] == chain for each in settled) else by & ~bit)
                for chain, by in state.records
            )
            state = state._replace(records=tuple(kept))
        return state

    # -- what must never happen -------------------------------------------------------------------------------------

    def _check(self, records: Records, winners: Winners) -> None:
        if lost := self._loses(records, winners):
            raise Violation(lost)

    def _lost(self, records: Records, winners: Winners) -> str:
        """Which settled record is not in each later leader's chain; empty: none."""
        settled = [*self.settled(records, winners)]
        for chain, _ in records:
            if len(chain) > 1 and term_of(chain) != term_of(chain[:-1]):
                for by, whole in settled:
                    kept = self._surely(whole)
                    if by < term_of(chain) and chain[: len(kept)] != kept:
                        return f"{kept} is settled, and the leader of term {term_of(chain)} has {chain}"
        return ""

    def _surely(self, settled: Chain) -> Chain:
        """What of a settled chain no takeover may lose: nothing from the contradicted record on."""
        if self.rules.may_lose_contradicted and self._is_contradicted(settled):
            return settled[: len(self.bounds.contradicted) - 1]
        return settled

    def settled(self, records: Records, winners: Winners) -> Iterator[tuple[int, Chain]]:
        """Each term, and what is settled in it."""
        if not self.rules.settles_own_term_only:
            yield from self._settled_in_any_term(records, winners)
            return
        for term, _ in winners:
            of_term = [each for each in records if term_of(each[0]) == term]
            if not of_term:
                continue
            newest = max((chain for chain, _ in of_term), key=len)
            confirmed = tuple(
                max((chain for chain, by in of_term if by >> peer & 1), key=len, default=None)
                for peer in range(self.bounds.peers)
            )
            if (at := self._settles(confirmed, self.electorate(newest), term)) is not None:
                yield term, newest[: at + 1]

    def _settled_in_any_term(self, records: Records, winners: Winners) -> Iterator[tuple[int, Chain]]:
        for term, _ in winners:
            for chain, by in records:
                led = any(each[: len(chain)] == chain and term_of(each) == term for each, _ in records)
                if led and term_of(chain) < term and self._have_majority(by, chain):
                    yield term, chain

    # -- symmetry ---------------------------------------------------------------------------------------------------

    def canonical(self, state: State) -> State:
        """One of all states that are the same but for the numbers of servers among each other, and of clients, and for
        candidacies of which nothing can come."""
        if self.bounds.candidacies:
            state = state._replace(peers=tuple(map(self._without_vain_candidacy, state.peers)))
        if self.bounds.voters is not None:
            return state
        won = dict.fromkeys(range(self.bounds.peers), ())
        for term, server in state.winners:
            won[server] = (*won[server], term)
        looks = [
            (
                peer.chain,
                peer.durable,
                peer.term,
                peer.candidate == number,
                peer.against,
                peer.seen,
                peer.candidacy,
                won[number],
                [by >> number & 1 for _, by in state.records],
                state.restored is not None and state.restored[0] == number,
                state.restored is not None and [each for by, *each in state.restored[1] or () if by == number],
            )
            for number, peer in enumerate(state.peers)
        ]

        def voted(number: int) -> list[Any]:
            """More of how a peer looks, for those that look the same so far: it costs as much as all else."""
            return sorted(
                (each.term, each.head, each.votes >> number & 1, each.candidate == number) for each in state.ballots
            )

        servers = _orders(looks, voted, range(self.bounds.servers))
        clients = _orders(looks, voted, range(self.bounds.servers, self.bounds.peers))
        return min(_renamed(state, (*one, *other)) for one in servers for other in clients)

    def _without_vain_candidacy(self, peer: Peer) -> Peer:
        """A peer gives up at once what it can never win or begin any more, whatever happens: it has promised or seen
        that term or a higher one, or has come further than the head. It comes back to a head only by laying down what
        follows, and then its question is another."""
        match peer.candidacy:
            case (term, head, against, False) if self.rules.looks_again_before_it_asks:
                is_vain = peer.term >= term or against is not self._is_against(peer)
            case (term, head, _, True):
                is_vain = self.rules.gives_up(term, peer.term)
            case _:
                return peer
        has_moved = peer.chain != head and not self.bounds.contradicted
        return peer._replace(candidacy=()) if is_vain or has_moved or peer.seen >= term else peer


def _orders(looks: list[Any], more: Callable[[int], Any], peers: range) -> list[tuple[int, ...]]:
    """All orders of ``peers`` in which their looks rise, then what ``more`` tells: one, unless two look the same."""
    rising = sorted(peers, key=looks.__getitem__)
    if all(looks[one] != looks[other] for one, other in pairwise(rising)):
        return [tuple(rising)]
    whole = {number: (looks[number], more(number)) for number in peers}
    alike = [[*group] for _, group in groupby(sorted(peers, key=whole.__getitem__), key=whole.__getitem__)]
    return [tuple(joined.from_iterable(each)) for each in product(*map(permutations, alike))]


def rosters(chain: Chain) -> int:
    """How many there are: the first brings other voters, the second says that it is settled."""
    return sum(each < 0 for each in chain)


def next_of(chain: Chain, ours: tuple[int, int]) -> Chain:
    """The shortest part of ``chain`` that is newer than a head of the rank ``ours``."""
    for length in range(1, len(chain)):
        if rank(chain[:length]) > ours:
            return chain[:length]
    return chain


@lru_cache(1 << 8)
def members_of(bits: int) -> frozenset[int]:
    """The peers whose bits are set."""
    return frozenset(number for number in range(bits.bit_length()) if bits >> number & 1)


def _as_they_come(votes: int) -> tuple[int, ...]:
    """Votes as a network may bring them: each twice."""
    return (*members_of(votes), *members_of(votes))


@lru_cache(1 << 12)
def _renamed_bits(bits: int, order: tuple[int, ...]) -> int:
    return sum(1 << new for new, old in enumerate(order) if bits >> old & 1)


def _renamed(state: State, order: tuple[int, ...]) -> State:
    if all(number == at for at, number in enumerate(order)):
        return state
    new = {old: at for at, old in enumerate(order)} | {-1: -1}
    restored = state.restored
    return State(
        tuple(state.peers[old]._replace(candidate=new[state.peers[old].candidate]) for old in order),
        _sorted(
            *(
                Ballot(each.term, new[each.candidate], each.head, _renamed_bits(each.votes, order), each.against)
                for each in state.ballots
            )
        ),
        tuple((chain, _renamed_bits(by, order)) for chain, by in state.records),
        _sorted(*((term, new[server]) for term, server in state.winners)),
        None
        if restored is None
        else (new[restored[0]], restored[1] and _sorted(*((new[by], *each) for by, *each in restored[1]))),
        state.crashes,
    )


def _with_peer(state: State, number: int, peer: Peer) -> State:
    return state._replace(peers=(*state.peers[:number], peer, *state.peers[number + 1 :]))


def _sorted(*values: T) -> tuple[T, ...]:
    return tuple(sorted(values))  # type: ignore[type-var]  # all of them are tuples of numbers
