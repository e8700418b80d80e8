"""What a machine wants kept is in the journal and in the engine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from peer.base.errors import PeerError
from peer.engine.local.engine import LocalEngine
from peer.home.federations import FederationStore
from peer.home.home import Home
from peer.home.journal import Journal
from peer.run.durable_effects import DurableEffects
from protocol.blocks.cid import cbor_block
from protocol.records.bodies import Role
from protocol.roles.effects import KeepAcks, KeepVote, WriteHead

RUN, HEAD, REPLY, ACK, OTHER = (cbor_block(text) for text in ("run", "head", "reply", "ack", "other"))


@pytest.fixture
def durable(tmp_path: Path) -> Iterator[DurableEffects]:
    home = Home(tmp_path / "home").create()
    with (
        contextlib.closing(LocalEngine(tmp_path / "engine")) as engine,
        Journal(home.journal) as journal,
    ):
        yield DurableEffects(engine, journal, FederationStore(home), RUN.cid, Role.CLIENT, engine.address, "here")


def test_with_a_head_it_keeps_what_was_verified(durable: DurableEffects) -> None:
    durable.carry_out(WriteHead(1, RUN.cid, HEAD.cid, 3, 1, False, b"leader", (HEAD.cid, REPLY.cid)))
    assert durable.journal.leader_of(RUN.cid) == b"leader"
    assert [block.cid in durable.journal.well_signed for block in (HEAD, REPLY, OTHER)] == [True, True, False]


def test_an_ack_that_is_kept_was_verified(durable: DurableEffects) -> None:
    durable.carry_out(KeepAcks(1, RUN.cid, (ACK,)))
    assert [block.cid in durable.journal.well_signed for block in (ACK, OTHER)] == [True, False]


def test_a_home_has_one_vote_in_a_run_and_never_another_in_its_term_or_below(durable: DurableEffects) -> None:
    durable.carry_out(KeepVote(1, RUN.cid, 2, HEAD))
    durable.carry_out(KeepVote(2, RUN.cid, 4, ACK))
    for term in (3, 4):
        with pytest.raises(PeerError, match=f"has voted in the run .* in term {term}"):
            durable.carry_out(KeepVote(3, RUN.cid, term, OTHER))
    assert durable.journal.votes() == {RUN.cid: ACK}


def test_what_was_voted_outlives_the_run_unless_all_that_was_signed_in_it_is_forgotten(durable: DurableEffects) -> None:
    durable.carry_out(KeepVote(1, RUN.cid, 2, HEAD))
    durable.journal.forget_run(RUN.cid, [])
    assert durable.journal.votes()
    durable.journal.forget_run(RUN.cid, [OTHER.cid])
    assert not durable.journal.votes()
