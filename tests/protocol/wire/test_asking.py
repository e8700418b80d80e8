"""What one member asks of another: nothing new is left out, nothing is without bound, and only members are in it."""

from __future__ import annotations

import random

import pytest

from crypto.symmetric import SymmetricKey
from protocol.blocks.cid import raw_block
from protocol.wire.announcements import Beat, Bye, Head, Hello, ManifestRef, PeerState, Position, ReplyReady
from protocol.wire.asking import (
    BYTES_OF_ONE,
    BYTES_OF_OTHERS,
    KEPT,
    KEPT_OF_ONE,
    KEPT_SECONDS,
    MAX_ANNOUNCEMENTS,
    MAX_MESSAGE,
    Answer,
    BadMessage,
    Board,
    Channel,
    Place,
    Question,
    subject_of,
)

CHANNEL = Channel(raw_block(b"federation").cid, b"m" * 32, SymmetricKey(b"s" * 32))
QUESTION = Question((bytes(8), 3), [b"one", b"two"], True)
ANSWER = Answer((b"board  1", 7), [b"three"], False)


def board(*notes: tuple[str, bytes]) -> Board:
    made = Board(b"board  1")
    for subject, data in notes:
        made.note(subject, data, 0.0)
    return made


def test_a_first_reader_of_a_board_is_told_all_and_later_what_is_new() -> None:
    ours = board(("head", b"1"), ("beat", b"2"))
    told, place = ours.since(Place(), 1.0)
    assert told == [b"1", b"2"]
    assert ours.since(place, 1.0) == ([], place)
    ours.note("head", b"3", 1.0)
    assert ours.since(place, 1.0)[0] == [b"3"]


def test_only_the_newest_of_each_subject_is_told() -> None:
    assert board(("head", b"1"), ("beat", b"2"), ("head", b"3")).since(Place(), 1.0)[0] == [b"2", b"3"]


def test_whoever_read_the_board_of_an_earlier_process_is_told_all() -> None:
    assert board(("head", b"1")).since(Place(b"board  0", 99), 1.0)[0] == [b"1"]


@pytest.mark.parametrize("size", [1, 1 << 10, 512 << 10])
def test_what_does_not_fit_one_message_comes_in_the_next(size: int) -> None:
    said = [str(number).encode().ljust(size, b".") for number in range(130)]
    ours = board(*((str(number), data) for number, data in enumerate(said)))
    place, heard, rounds = Place(), list[bytes](), 0
    while (told := ours.since(place, 1.0))[0]:
        assert len(told[0]) <= MAX_ANNOUNCEMENTS
        CHANNEL.read(CHANNEL.write(Answer((b"board  1", 1), told[0], True)), Answer)
        heard += told[0]
        place, rounds = told[1], rounds + 1
    assert heard == said
    assert rounds > 1


def test_a_board_keeps_so_many_subjects_for_so_long() -> None:
    ours = board(*((str(number), b"x") for number in range(KEPT + 10)))
    assert len(ours._own.notes) == KEPT
    assert ours.since(Place(), KEPT_SECONDS) == ([], Place(b"board  1", 0))
    assert not ours._own.notes


def test_a_keepers_board_has_what_others_said_in_the_order_in_which_it_came() -> None:
    ours = Board(b"board  1")
    for number, by in enumerate((b"", b"alice", b"", b"bob", b"alice")):
        ours.note(f"{number % 2}", str(number).encode(), 0.0, by)
    assert ours.since(Place(), 1.0)[0] == [b"1", b"2", b"3", b"4"]
    assert ours.since(Place(), KEPT_SECONDS)[0] == []
    assert not ours._of


def test_of_a_member_that_has_left_a_keepers_board_has_its_goodbye_and_what_others_may_owe_it() -> None:
    ours = Board(b"board  1")
    for by in (b"alice", b"bob"):
        for subject in ("presence", "head", "reply 1", "bye")[: 4 if by == b"alice" else 3]:
            ours.note(subject, by + subject.encode(), 0.0, by)
    assert ours.since(Place(), 1.0)[0] == [b"alicereply 1", b"alicebye", b"bobpresence", b"bobhead", b"bobreply 1"]


def test_a_member_that_floods_a_keepers_board_crowds_out_its_own_words_alone() -> None:
    ours = Board(b"board  1")
    ours.note("presence", b"ours", 0.0)
    ours.note("reply", b"bob's", 0.0, b"bob")
    for number in range(10_000):
        ours.note(str(number), bytes(100 << 10), 0.0, b"mallory")
    told = [note.data for note in (*ours._own.notes.values(), *ours._others.notes.values())]
    assert told[:2] == [b"ours", b"bob's"]
    assert len(told) <= 2 + KEPT_OF_ONE
    assert sum(map(len, told[2:])) <= BYTES_OF_ONE


def test_all_others_together_have_so_much_of_a_keepers_board() -> None:
    ours = Board(b"board  1")
    for number in range(64):
        ours.note("reply", bytes(1 << 20), 0.0, str(number).encode())
    assert sum(len(note.data) for note in ours._others.notes.values()) <= BYTES_OF_OTHERS
    assert len(ours._of) == len(ours._others.notes)


def test_what_is_said_goes_over_a_channel_unchanged() -> None:
    assert CHANNEL.read(CHANNEL.write(QUESTION), Question) == QUESTION
    assert CHANNEL.read(CHANNEL.write(ANSWER), Answer) == ANSWER


@pytest.mark.parametrize(
    "other",
    [
        Channel(raw_block(b"another").cid, CHANNEL.member, CHANNEL.swarm_key),
        Channel(CHANNEL.federation, b"n" * 32, CHANNEL.swarm_key),
        Channel(CHANNEL.federation, CHANNEL.member, SymmetricKey(b"t" * 32)),
    ],
    ids=["federation", "member", "key"],
)
def test_what_is_of_another_channel_is_refused(other: Channel) -> None:
    with pytest.raises(BadMessage):
        CHANNEL.read(other.write(QUESTION), Question)


def test_a_question_is_no_answer() -> None:
    with pytest.raises(BadMessage):
        CHANNEL.read(CHANNEL.write(QUESTION), Answer)


def test_no_bytes_at_all_make_anything_but_a_bad_message() -> None:
    source = random.Random(9)
    good = CHANNEL.write(QUESTION)
    for _ in range(300):
        spoilt = bytearray(good)
        spoilt[source.randrange(len(good))] ^= 1 << source.randrange(8)
        for data in (bytes(spoilt), good[: source.randrange(len(good))], source.randbytes(source.randrange(100))):
            with pytest.raises(BadMessage):
                CHANNEL.read(data, Question)
    with pytest.raises(BadMessage, match="more than"):
        CHANNEL.read(bytes(MAX_MESSAGE + 1), Question)


@pytest.mark.parametrize(
    "value",
    [
        Question((bytes(7), 0), [], True),
        Question((bytes(8), -1), [], True),
        Question((bytes(8), 1 << 63), [], True),
        Question((bytes(8), 0), [b""] * (MAX_ANNOUNCEMENTS + 1), True),
        Question((bytes(8), 0), [], 1),  # type: ignore[arg-type]  # on purpose
    ],
    ids=["short", "negative", "huge", "many", "number"],
)
def test_what_a_member_says_out_of_bounds_is_refused(value: Question) -> None:
    with pytest.raises(BadMessage):
        CHANNEL.read(CHANNEL.write(value), Question)


def test_what_one_member_keeps_saying_has_one_subject_and_replies_have_one_each() -> None:
    cid = raw_block(b"x").cid
    manifest = ManifestRef(cid, 1)
    same = [Hello(manifest, PeerState.IDLE, None, ""), Beat(manifest, PeerState.WORKING, None, "")]
    assert len({subject_of(body) for body in same}) == 1
    others = [Head(Position(cid, cid, 1, 1)), Bye(), *(ReplyReady(cid, bytes([n]) * 32, cid) for n in range(3))]
    assert len({subject_of(body) for body in (*same, *others)}) == 6
