"""Members with valid keys that say, and serve, anything at all to one machine."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Final

import chains
import corpus
from attacked import Attacked, Fetch, following, keeping, leading, message_to, nowhere, position, reply_of
from chains import ALICE, BOB, CAROL, CONTENT, SECOND, SERVER, node_of
from mutations import Mutator

from crypto.keys import SigningKey
from protocol.app.calls import Answered, AppReady, Examine, Examined, Failed, GetNodes, Outgoing, Pull, Push, Task, Wait
from protocol.blocks.cid import CID, Block, BlockError, cbor_block, decode_cbor
from protocol.chain.closure import missing
from protocol.replies.checks_and_limits import Check, Examination, FailedCheck
from protocol.roles.catch_up import AHEAD
from protocol.roles.effects import FetchContent, FetchRecord, Hand, StartApp, Stop, UnpackApp
from protocol.roles.events import AppCalled, AppLost, Done, Fetched, Received
from protocol.roles.keeper.keeper import Keeper
from protocol.roles.leader.leader import Leader
from protocol.wire.announcements import (
    Beat,
    Bye,
    Canvass,
    Canvassed,
    Head,
    Hello,
    ManifestRef,
    PeerState,
    Position,
    Proof,
    ProposalReady,
    Refusal,
    ReplyReady,
    Said,
    VoteAsked,
    VoteReady,
)

MEMBERS: Final = (ALICE, BOB, CAROL, SECOND, SERVER)
MOST_FETCHES: Final = AHEAD + 4 * len(MEMBERS)
"""That may be under way at once."""
_HEIGHTS: Final = (0, 1, 2, 3, 255, 256, 2**31, 2**62, 2**63 - 1)


_TERMS: Final = (0, 1, 2, 3, 2**62)


class World:
    """One machine among hostile members; `step` lets something happen to it."""

    def __init__(self, seed: int, machine: Callable[[], Attacked]) -> None:
        self.random = Random(seed)
        self.machine = machine()
        self.scribe = self.machine.scribe
        self.served: dict[CID, bytes] = dict(self.scribe.source)
        self._bodies = Mutator(seed, [*corpus.saved("chain"), *corpus.saved("manifest")])
        self._wire = Mutator(seed, corpus.saved("announcement"))
        self._seen = 0
        self._tasks: list[Task] = []
        self._calls = 1
        for body in self._honest():
            self._serve(body)

    def _honest(self) -> list[Block]:
        """More of the run than the machine knows."""
        scribe = chains.begun()
        scribe.add(scribe.collect(scribe.taken(ALICE)))
        scribe.add(scribe.roster(scribe.with_dave().cid))
        return [Block(cid, data) for cid, data in scribe.source.items()]

    @property
    def is_over(self) -> bool:
        """Whether the machine has stopped."""
        return bool(self.machine.all(Stop))

    def step(self) -> None:
        """Something happens."""
        steps = (self._say, self._say, self._say, self._reply, self._send, self._answer_fetch, self._wait, self._app)
        self.random.choice(steps)()
        self._look_at_effects()
        assert len(self.machine.fetching) <= MOST_FETCHES

    def _look_at_effects(self) -> None:
        for effect in self.machine.effects[self._seen :]:
            if isinstance(effect, Hand) and isinstance(effect.value, Task):
                self._tasks.append(effect.value)
            if isinstance(effect, StartApp):
                self._tasks.clear()
        self._seen = len(self.machine.effects)

    # -- what members say --------------------------------------------------------------------------------------------

    def _say(self) -> None:
        blocks = [self._block() for _ in range(self.random.choice((0, 0, 1, 3)))]
        addresses = ("/ip4/10.0.0.1/tcp/1/p2p/a",) * self.random.randrange(3)
        self.machine.say(self.random.choice(MEMBERS), self._said(), blocks=blocks, addresses=addresses)

    def _reply(self) -> None:
        """A client's answer, true except for its content."""
        machine = self.machine.machine
        if not isinstance(machine, Leader) or not machine.chain.open:
            return
        node = self.random.choice(list(machine.chain.open.values())).node
        client = next(each for each in MEMBERS if node_of(each) == node)
        reply = self._serve(reply_of(self.machine, client, nowhere(self.random.randrange(2))))
        said = ReplyReady(machine.chain.run, message_to(self.machine, client).id, reply.cid)
        self.machine.say(client, said, blocks=[reply][: self.random.randrange(2)])

    def _send(self) -> None:
        self.machine.feed(Received(self._wire.next()))

    def _said(self) -> Said:
        manifest = ManifestRef(self._cid(), self.random.choice((1, 2, 3, 2**63 - 1)))
        state = self.random.choice(list(PeerState))
        match self.random.randrange(9):
            case 0:
                return Hello(manifest, state, self._position(), "a note")
            case 1:
                return Beat(manifest, state, self._position())
            case 2:
                return Head(self._position())
            case 3:
                return Bye()
            case 4:
                return Proof(self._cid(), self._cid())
            case 5:
                return ProposalReady(manifest, self._cid(), self._cid())
            case 6:
                return self._of_election()
            case _:
                return ReplyReady(self._run(), self._message(), self._cid())

    def _of_election(self) -> Said:
        to, term, run = chains.id_of(self.random.choice(MEMBERS)), self.random.choice(_TERMS), self._run()
        match self.random.randrange(4):
            case 0:
                return Canvass(self._position(), self._cid(), term)
            case 1:
                refusal = self.random.choice((None, *Refusal))
                return Canvassed(to, run, term, self.random.choice(_TERMS), refusal, self._position())
            case 2:
                return VoteAsked(self._position(), self._cid(), term)
            case _:
                return VoteReady(run, to, term, self._cid())

    def _position(self) -> Position:
        if self.scribe.chain.head is not None and self.random.random() < 0.3:
            return position(self.scribe)
        return Position(self._run(), self._cid(), self.random.choice(_HEIGHTS), self.random.choice((1, 1, 2, 2**62)))

    def _run(self) -> CID:
        runs = [self._cid()]
        if self.scribe.chain.head is not None:
            runs += [self.scribe.chain.run] * 3
        if isinstance(self.machine.machine, Leader):
            runs += [self.machine.machine.chain.run] * 5
        return self.random.choice(runs)

    def _message(self) -> bytes:
        machine = self.machine.machine
        known = list(machine.chain.open) if isinstance(machine, Leader) else list(self.scribe.chain.open)
        return self.random.choice([*known, bytes(32)])

    def _cid(self) -> CID:
        if self.random.random() < 0.2:
            return nowhere(self.random.randrange(100))
        return self._block().cid if self.random.random() < 0.4 else self.random.choice(list(self.served))

    def _block(self) -> Block:
        """A block that can be had: a real one, or a record that a member signed and nobody should have."""
        if self.random.random() < 0.4:
            cid = self.random.choice(list(self.served))
            return Block(cid, self.served[cid])
        try:
            body = decode_cbor(self._bodies.next())
        except BlockError:
            return self._serve(chains.block_of(self._bodies.next()))
        who = self.random.choice((*MEMBERS, chains.ADMIN))
        if isinstance(body, dict) and self.random.random() < 0.7:
            self._place(body, who)
        sigs = [{"by": chains.id_of(who), "sig": chains.signature_of(body, who)}]
        return self._serve(cbor_block({"body": body, "sigs": sigs}))

    def _place(self, body: dict[str, Any], who: SigningKey) -> None:
        """Make a body fit what the machine knows, except for what is wrong in it."""
        machine = self.machine.machine
        chain = machine.chain if isinstance(machine, Leader) else self.scribe.chain
        fitting = {"by": chains.id_of(who), "run": chain.run, "prev": chain.head, "height": chain.height + 1}
        if chain.open:
            message = self.random.choice(list(chain.open.values()))
            fitting |= {"message": message.id, "dispatch": message.dispatch}
        body.update({name: value for name, value in fitting.items() if name in body})

    def _serve(self, block: Block) -> Block:
        self.served[block.cid] = block.data
        return block

    # -- what comes of it --------------------------------------------------------------------------------------------

    def _answer_fetch(self) -> None:
        if not self.machine.fetching:
            return
        fetch = self.random.choice(list(self.machine.fetching.values()))
        del self.machine.fetching[fetch.id]
        if self.random.random() < 0.2:
            self.machine.feed(Failed(fetch.id, "nobody has it"))
            return
        self._end_fetch(fetch)

    def _end_fetch(self, fetch: Fetch) -> None:
        match fetch:
            case FetchRecord():
                try:
                    event: Any = Fetched(fetch.id, self._closure(fetch))
                except (BlockError, KeyError) as error:
                    event = Failed(fetch.id, str(error))
            case Examine():
                check, found = self.random.choice(list(Check)), self.random.randrange(2)
                norm = self.random.choice((None, 1.0, float("nan"), float("inf")))
                here = not found or check is not Check.SIZE
                event = Examined(fetch.id, Examination((FailedCheck(check, "wrong"),) * found, norm, here=here))
            case FetchContent() | UnpackApp():
                event = Done(fetch.id)
        self.machine.feed(event)

    def _closure(self, fetch: FetchRecord) -> dict[CID, bytes]:
        blocks = {fetch.cid: self.served[fetch.cid]}
        while fetch.kind is not None and (
            lacking := missing(fetch.cid, chains.Blocks(blocks), fetch.trusted, fetch.kind)
        ):
            blocks.update((cid, self.served[cid]) for cid in lacking)
        return blocks

    def _wait(self) -> None:
        self.machine.wait(self.random.choice((0.0, 0.01, 0.3, 2.0, 20.0, 400.0)))

    def _app(self) -> None:
        """The app does what it may."""
        machine = self.machine.machine
        if isinstance(machine, Keeper):
            return
        if self.random.random() < 0.02:
            self.machine.feed(AppLost("killed"))
            if not self.is_over:
                self.machine.feed(AppReady(chains.ENVIRONMENT))
        elif isinstance(machine, Leader):
            self._call(machine)
        elif self._tasks:
            self.machine.feed(Answered(self._tasks.pop().message, self.machine.now, content=CONTENT))

    def _call(self, leader: Leader) -> None:
        self._calls += 1
        messages = tuple(leader.chain.open)
        sent = (Outgoing(CONTENT, "train", "1", 3600.0, node_of(self.random.choice((ALICE, BOB, CAROL)))),)
        waits = (Pull(self._calls, messages), Wait(self._calls, messages, 5.0))
        self.machine.feed(AppCalled(self.random.choice((GetNodes(self._calls), Push(self._calls, sent), *waits))))


MACHINES: Final[dict[str, Callable[[], Attacked]]] = {
    "leader": leading,
    "client": following,
    "keeper": lambda: keeping(chains.begun()),
}
