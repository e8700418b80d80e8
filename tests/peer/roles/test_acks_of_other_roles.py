"""What a member confirmed in one role binds it in the other: two words of one key at one place are proof against it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from chains import ALICE, TIME, id_of

from peer.home.journal import Journal, RunHead
from peer.roles.serving import signed_acks
from peer.roles.training import kept_runs
from protocol.blocks.cid import CID, cbor_block
from protocol.blocks.listing import Listing
from protocol.records.bodies import Ack, Role
from protocol.records.signed_records import sign_record

FEDERATION, RUN, HEAD = (cbor_block(name).cid for name in ("federation", "run", "head"))


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.db") as journal:
        yield journal


def acked(journal: Journal, role: Role, federation: CID = FEDERATION) -> None:
    """Alice has confirmed the close of a run, at height 7, in a role."""
    journal.keep_head(RunHead(RUN, federation, HEAD, 7, 1, True, role, "local:/engine", TIME))
    ack = Ack(by=id_of(ALICE), time=TIME, run=RUN, term=1, height=7, head=HEAD, replies=Listing(()))
    journal.keep_beside(RUN, [sign_record(ack, [ALICE])])


@pytest.mark.parametrize("role", [Role.CLIENT, Role.SERVER, Role.AUDITOR])
def test_a_standby_signs_nothing_where_its_member_has_signed_before(journal: Journal, role: Role) -> None:
    acked(journal, role)
    assert signed_acks(journal, FEDERATION, id_of(ALICE))[RUN].acked == (1, 7)


@pytest.mark.parametrize("role", [Role.CLIENT, Role.SERVER])
def test_a_client_signs_nothing_where_its_member_has_signed_before(journal: Journal, role: Role) -> None:
    acked(journal, role)
    assert kept_runs(journal, FEDERATION, id_of(ALICE))[RUN].acked == (1, 7)


def test_what_was_confirmed_in_another_federation_is_left_alone(journal: Journal) -> None:
    acked(journal, Role.CLIENT, cbor_block("another").cid)
    assert not signed_acks(journal, FEDERATION, id_of(ALICE))
    assert not kept_runs(journal, FEDERATION, id_of(ALICE))
