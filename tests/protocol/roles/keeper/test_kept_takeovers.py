"""A keeper goes across takeovers: it keeps what one has lost, and looks for nothing more that only this names."""

from __future__ import annotations

import copy

from attacked import Attacked, keeping, position
from chains import ALICE, BOB, SECOND, WITH_KEEPER, Scribe, begun, id_of

from protocol.blocks.cid import raw_block
from protocol.blocks.listing import Listing
from protocol.records.bodies import Ack
from protocol.roles.effects import FetchContent, FetchRecord, KeepAcks, KeepProof, KeepWhole, What, WriteHead
from protocol.roles.events import Done
from protocol.wire.announcements import AckReady, Head, ReplyReady

LOST = raw_block(b"what only a lost record names").cid


def hear(keeper: Attacked, scribe: Scribe) -> None:
    """The leader announces its head; records that the keeper fetches are there."""
    keeper.say(scribe.leader, Head(position(scribe)))
    while wanted := [fetch for fetch in keeper.fetching.values() if isinstance(fetch, FetchRecord)]:
        keeper.give(wanted[0])


def have(keeper: Attacked) -> None:
    """All contents that it fetches are here, but `LOST`."""
    for fetch in list(keeper.fetching.values()):
        if isinstance(fetch, FetchContent) and fetch.cid != LOST:
            del keeper.fetching[fetch.id]
            keeper.feed(Done(fetch.id))


def forked(*, closed: bool = False) -> tuple[Attacked, Scribe]:
    """A keeper that has a record which a takeover loses, and the server that was elected."""
    scribe = begun(members=WITH_KEEPER)
    elected = copy.copy(scribe)
    elected.chain = scribe.chain.copy()
    keeper = keeping(scribe)
    if closed:
        scribe.add(scribe.close())
    else:
        scribe.add(scribe.dispatch(scribe.group(ALICE, content=LOST)))
    hear(keeper, scribe)
    have(keeper)
    elected.lead()
    return keeper, elected


def test_a_takeover_that_forks_is_kept_and_nobody_is_accused() -> None:
    keeper, elected = forked()
    hear(keeper, elected)
    assert keeper.all(WriteHead)[-1].head == elected.chain.head
    assert keeper.reported(What.RECORDS_LOST)
    assert not keeper.all(KeepProof)


def test_a_run_is_whole_though_what_only_a_lost_record_names_is_nowhere() -> None:
    keeper, elected = forked()
    elected.add(elected.close())
    hear(keeper, elected)
    have(keeper)
    assert keeper.all(KeepWhole)


def test_a_closed_run_that_is_whole_is_followed_again_if_another_was_elected_before_its_close() -> None:
    keeper, elected = forked(closed=True)
    assert len(keeper.all(KeepWhole)) == 1
    hear(keeper, elected)
    assert keeper.all(WriteHead)[-1].head == elected.chain.head
    elected.add(elected.close())
    hear(keeper, elected)
    have(keeper)
    assert len(keeper.all(KeepWhole)) == 2


def test_a_closed_run_stays_whole_whatever_a_server_says_that_nobody_elected() -> None:
    keeper, elected = forked(closed=True)
    written = keeper.all(WriteHead)
    liar = elected.sign(elected.reply_body(ALICE), SECOND)
    heard = 0
    for _ in range(100):
        keeper.now += 0.01
        keeper.say(SECOND, Head(position(elected, head=liar.cid, term=9)))
        while wanted := [fetch for fetch in keeper.fetching.values() if isinstance(fetch, FetchRecord)]:
            heard += wanted[0].cid == liar.cid
            keeper.give(wanted[0])
        have(keeper)
    assert keeper.all(WriteHead) == written, "the head on disk is never an older one"
    assert 0 < heard < 6


def test_a_reply_signed_anew_is_kept_and_its_client_is_accused_of_nothing() -> None:
    keeper, elected = forked()
    reply = keeper.scribe.reply_body(ALICE)
    announce = keeper.scribe.sign(reply, ALICE)
    keeper.say(ALICE, ReplyReady(reply.run, reply.message, announce.cid), blocks=[announce])
    hear(keeper, elected)
    assert not keeper.reported(What.REPLY_REFUSED)
    assert not keeper.all(KeepProof)


def test_an_ack_of_a_lost_record_confirms_nothing_and_is_nobodys_fault() -> None:
    keeper, elected = forked()
    lost = keeper.scribe.chain
    hear(keeper, elected)
    for chain in (lost, elected.chain):
        body = Ack(
            by=id_of(BOB),
            time=keeper.now,
            run=chain.run,
            term=chain.term,
            height=chain.height,
            head=chain.head,
            replies=Listing(()),
        )
        block = elected.sign(body, BOB)
        keeper.say(BOB, AckReady(chain.run, block.cid), blocks=[block])
    assert not keeper.reported(What.ACK_REFUSED)
    assert len(keeper.all(KeepAcks)) == 1
