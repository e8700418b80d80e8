"""Tickets: what one holds, and that no damaged one passes for another."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.errors import CannotDecrypt
from protocol.blocks.cid import cbor_block
from protocol.joining.tickets import MAX_TEXT, PREFIX, TAG_SIZE, BadTicket, Ticket, TicketKeys
from protocol.records.contexts import JoinSide

FEDERATION = cbor_block("federation").cid
SECRET = bytes(range(32))
TICKET = Ticket(
    federation=FEDERATION,
    name="hospital-b",
    addresses=("/ip4/10.0.0.1/tcp/4001/p2p/12D3KooWtest",),
    swarm_key=bytes(32),
    secret=SECRET,
    expires=1_800_000_000,
)
TEXT = TICKET.text()
ALPHABET = string.ascii_letters + string.digits + "-_"

tickets = st.builds(
    Ticket,
    st.just(FEDERATION),
    st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=64),
    st.lists(st.text(max_size=256), max_size=16).map(tuple),
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=32, max_size=32),
    st.integers(0, 2**63 - 1),
)


@given(tickets)
def test_a_ticket_reads_as_it_was_written(ticket: Ticket) -> None:
    assert Ticket.parse(f"  {ticket.text()}\n") == ticket


def test_every_wrong_character_is_noticed() -> None:
    for place in range(len(TEXT)):
        wrong = "A" if TEXT[place] != "A" else "B"
        with pytest.raises(BadTicket):
            Ticket.parse(TEXT[:place] + wrong + TEXT[place + 1 :])


@given(st.integers(0, len(TEXT) - 1), st.sampled_from(ALPHABET))
def test_no_other_character_stands_for_the_right_one(place: int, character: str) -> None:
    damaged = TEXT[:place] + character + TEXT[place + 1 :]
    if damaged != TEXT:
        with pytest.raises(BadTicket):
            Ticket.parse(damaged)


def test_a_ticket_that_is_cut_short_is_noticed_wherever_it_was_cut() -> None:
    for length in range(len(TEXT)):
        with pytest.raises(BadTicket):
            Ticket.parse(TEXT[:length])


def test_two_characters_that_changed_places_are_noticed() -> None:
    for place in range(len(PREFIX), len(TEXT) - 1):
        first, second = TEXT[place : place + 2]
        if first != second:
            with pytest.raises(BadTicket):
                Ticket.parse(TEXT[:place] + second + first + TEXT[place + 2 :])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "begins with"),
        ("pollen-key-1.abc", "begins with"),
        (TEXT.replace(".", ". "), "space"),
        (TEXT[:40] + "\n" + TEXT[40:], "space"),
        (TEXT + "A" * MAX_TEXT, "at most"),
        (TEXT[:-1], "cut short"),
        (TEXT[:80] + TEXT[84:], "checksum"),
        (TEXT[:-1] + "!", "characters that no ticket has"),
    ],
)
def test_a_person_is_told_what_is_wrong(text: str, why: str) -> None:
    with pytest.raises(BadTicket, match=why):
        Ticket.parse(text)


@pytest.mark.parametrize("name", ["", "two\nlines", "\x1b[2J"])
def test_a_ticket_names_nobody_whom_a_terminal_would_obey(name: str) -> None:
    forged = Ticket(FEDERATION, name, (), bytes(32), SECRET, 0)
    with pytest.raises(BadTicket, match="name"):
        Ticket.parse(forged.text())


@given(st.text(max_size=200))
def test_any_text_is_a_ticket_or_refused(text: str) -> None:
    with pytest.raises(BadTicket):
        Ticket.parse(PREFIX + text)


def test_no_error_and_no_repr_shows_the_secret() -> None:
    with pytest.raises(BadTicket) as error:
        Ticket.parse(TEXT[:-1])
    shown = f"{error.value} {TICKET!r} {TICKET.keys!r}"
    assert TEXT[20:60] not in shown
    assert SECRET.hex() not in shown
    assert repr(SECRET) not in shown


def test_the_keys_say_nothing_of_each_other() -> None:
    keys = TicketKeys.of(SECRET, TICKET.federation)
    assert len(keys.tag) == TAG_SIZE
    assert keys.root != SECRET
    assert keys.root[:TAG_SIZE] != keys.tag
    assert TicketKeys.of(bytes(32), TICKET.federation).tag != keys.tag


def test_one_secret_gives_other_keys_in_another_federation() -> None:
    keys, others = TicketKeys.of(SECRET, TICKET.federation), TicketKeys.of(SECRET, cbor_block("another").cid)
    assert keys.tag != others.tag
    with pytest.raises(CannotDecrypt):
        TicketKeys(others.federation, keys.root).decrypt(keys.encrypt(b"hello", JoinSide.NEWCOMER), JoinSide.NEWCOMER)
