"""An admin's command: it learns the term and who is here, signs a warrant, and ends once that server leads."""

from __future__ import annotations

from typing import Any

import pytest
from attacked import Attacked, position
from chains import ADMIN, ALICE, BOB, CAROL, SECOND, SERVER, begun, id_of

from crypto.keys import SigningKey
from protocol.chain.takeover_warrant import check_warrant
from protocol.records.bodies import Role
from protocol.records.signed_records import parse_record
from protocol.roles.appointing.appointment import ASKS_FOR, GOOD_FOR, Appointment
from protocol.roles.effects import Publish, Stop
from protocol.roles.newest_manifest import Author, TrustedManifest
from protocol.wire.announcements import (
    Announcement,
    Beat,
    Canvass,
    Canvassed,
    PeerState,
    Refusal,
    WarrantReady,
    parse_announcement,
)


class Asked(Attacked):
    """Carol's home has the admin's key, or that of another member."""

    def __init__(self, to: SigningKey | None = None, *, home: SigningKey = CAROL) -> None:
        scribe = begun()
        author, trusted = Author(id_of(home), (home,), 1), TrustedManifest(scribe.first, scribe.source)
        named = b"" if to is None else id_of(to)
        self.appointment = Appointment(author, trusted, scribe.chain.run, named, Role.CLIENT, ADMIN)
        self.home = home
        super().__init__(self.appointment, scribe)

    def answers(self, *members: SigningKey, refusal: Refusal = Refusal.NO_CANDIDATE, **changes: Any) -> None:
        run = self.scribe.chain.run
        for each in members:
            told = Canvassed(id_of(self.home), run, 9, 1, refusal, position(self.scribe, **changes))
            self.say(each, told)

    def leads(self, server: SigningKey, term: int = 1) -> None:
        self.say(server, Beat(self.manifest, PeerState.LEADING, position(self.scribe, term=term)))

    @property
    def announced(self) -> list[Announcement]:
        return [parse_announcement(effect.data).announcement for effect in self.all(Publish)]

    @property
    def shown(self) -> list[Announcement]:
        return [each for each in self.announced if isinstance(each.body, WarrantReady)]

    @property
    def why(self) -> str:
        (stop,) = self.all(Stop)
        return stop.why


def test_it_shows_a_warrant_that_counts_for_a_server_that_is_here_and_does_not_lead() -> None:
    asked = Asked()
    asked.answers(SERVER, SECOND, ALICE)
    asked.leads(SERVER)
    asked.wait(ASKS_FOR)
    (shown,) = asked.shown
    chain = asked.scribe.chain
    warrant = check_warrant(parse_record(shown.blocks[0]), chain.run, 1, chain.manifest)
    assert (warrant.candidate, warrant.expires) == (id_of(SECOND), asked.now + GOOD_FOR)


def test_it_asks_for_no_longer_than_it_has_to_for_a_server_that_was_named() -> None:
    asked = Asked(SECOND)
    asked.answers(SECOND)
    assert not asked.shown
    asked.leads(SERVER)
    assert asked.shown


def test_it_shows_it_again_until_that_server_leads() -> None:
    asked = Asked(SECOND)
    asked.answers(SECOND)
    asked.leads(SERVER)
    asked.wait(2.0)
    assert len(asked.shown) == 2
    asked.leads(SECOND)  # in the old term: it says what is not so
    asked.leads(SERVER, 2)
    assert not asked.all(Stop)
    asked.leads(SECOND, 2)
    assert asked.all(Stop) == [Stop("")]
    assert (asked.appointment.to, asked.appointment.leads_in) == ("second server", 2)


def test_a_server_in_the_home_of_the_admin_can_be_chosen_and_is_seen_to_lead() -> None:
    asked = Asked(home=SECOND)
    asked.answers(SERVER, ALICE)
    asked.leads(SERVER)
    asked.say(SECOND, Beat(asked.manifest, PeerState.WORKING, position(asked.scribe)))  # it answers not itself
    asked.wait(ASKS_FOR)
    assert parse_record(asked.shown[0].blocks[0]).body.candidate == id_of(SECOND)
    asked.leads(SECOND, 2)
    assert asked.all(Stop) == [Stop("")]


def test_one_member_that_says_that_the_run_is_closed_does_not_spoil_it() -> None:
    asked = Asked(SECOND)
    asked.answers(BOB, refusal=Refusal.CLOSED)
    asked.answers(SECOND, ALICE)
    asked.wait(ASKS_FOR)
    assert asked.shown


def test_one_member_that_names_another_term_does_not_spoil_it() -> None:
    asked = Asked(SECOND)
    asked.answers(BOB, term=1 << 62)
    asked.answers(SECOND, ALICE)
    asked.wait(ASKS_FOR)
    body = parse_record(asked.shown[0].blocks[0]).body
    assert body.term == 1


def test_it_says_nothing_by_which_anybody_would_take_it_for_a_client() -> None:
    asked = Asked()
    asked.wait(ASKS_FOR - 0.1)
    assert {type(each.body) for each in asked.announced} == {Canvass}


def _nobody(asked: Asked) -> None: ...


def _no_other(asked: Asked) -> None:
    asked.answers(SERVER, ALICE)
    asked.leads(SERVER)


def _closed(asked: Asked) -> None:
    asked.answers(SECOND, refusal=Refusal.CLOSED)


@pytest.mark.parametrize(
    ("scene", "to", "why"),
    [
        (_nobody, None, "no member that is here knows the run"),
        (_no_other, None, "no other server is here that could lead it"),
        (_no_other, SERVER, "server leads the run already"),
        (_closed, None, "the run is closed"),
    ],
)
def test_it_says_why_nobody_can_be_asked(scene: Any, to: SigningKey | None, why: str) -> None:
    asked = Asked(to)
    scene(asked)
    if not asked.all(Stop):
        asked.wait(ASKS_FOR)
    assert why in asked.why
    assert not asked.shown


def test_it_gives_up_once_the_warrant_has_expired() -> None:
    asked = Asked(SECOND)
    asked.answers(SECOND)
    asked.leads(SERVER)
    asked.wait(GOOD_FOR)
    assert "was not elected" in asked.why
    assert asked.appointment.leads_in is None
