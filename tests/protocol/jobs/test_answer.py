"""`protocol.jobs.answer`: who may ask how a job stands, and whose answer is believed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from chains import ALICE, BOB, MEMBERS, SERVER, STRANGER, Scribe, id_of, reader_of

from crypto.keys import SigningKey
from protocol.jobs.answer import JobAnswer, NoAnswer, digest_of, open_answer, seal_answer
from protocol.jobs.request import JobQuestion, NotTaken, WhyNot, job_key, read_question, sign_question

MANIFEST = Scribe(founders=(ALICE,), encrypted=True).manifest
QUESTION = JobQuestion(bytes(MANIFEST.federation), id_of(SERVER), id_of(ALICE), b"k" * 16, 1000, 0)
SIGNED = sign_question(QUESTION, ALICE)
ANSWER = JobAnswer(
    federation=bytes(MANIFEST.federation),
    by=id_of(SERVER),
    asked=digest_of(SIGNED),
    number=7,
    name="low-rate",
    why="",
    state="running",
    ended=False,
    run=None,
    log=b"round 1",
    log_next=7,
)


def sealed(answer: JobAnswer = ANSWER, signer: SigningKey = SERVER, to: str = "alice") -> bytes:
    return seal_answer(answer, signer, MEMBERS[to], MANIFEST)


def opened(data: bytes, asked: bytes = SIGNED, by: SigningKey = ALICE) -> JobAnswer:
    return open_answer(data, asked, id_of(SERVER), MANIFEST, reader_of(by))


def why_not(data: bytes, now: float = 900.0) -> WhyNot:
    with pytest.raises(NotTaken) as caught:
        read_question(data, MANIFEST, id_of(SERVER), now)
    return caught.value.why


def test_a_question_is_read_as_it_was_written() -> None:
    assert read_question(SIGNED, MANIFEST, id_of(SERVER), 900.0) == QUESTION


def test_a_question_names_a_job_of_its_author_and_of_nobody_else() -> None:
    theirs = read_question(sign_question(replace(QUESTION, by=id_of(BOB)), BOB), MANIFEST, id_of(SERVER), 900.0)
    assert theirs.job_key() != QUESTION.job_key() == job_key(id_of(ALICE), b"k" * 16)


@pytest.mark.parametrize(
    ("changes", "signer", "why"),
    [
        ({}, BOB, WhyNot.STRANGER),
        ({}, STRANGER, WhyNot.STRANGER),
        ({"to": id_of(BOB)}, ALICE, WhyNot.NOT_FOR_US),
        ({"federation": bytes(Scribe().manifest.federation)}, ALICE, WhyNot.NOT_FOR_US),
        ({"expires": 900}, ALICE, WhyNot.EXPIRED),
    ],
)
def test_a_question_of_another_for_another_or_too_late_is_not_answered(
    changes: dict[str, object], signer: SigningKey, why: WhyNot
) -> None:
    assert why_not(sign_question(replace(QUESTION, **changes), signer)) is why


def test_garbage_is_no_question() -> None:
    assert why_not(b"") is WhyNot.MALFORMED
    assert why_not(SIGNED.replace(b"k" * 16, b"j" * 16)) is WhyNot.BAD_SIGNATURE


def test_an_answer_opens_for_whoever_asked_and_for_nobody_else() -> None:
    assert opened(sealed()) == ANSWER
    with pytest.raises(NoAnswer):
        opened(sealed(), by=BOB)


@pytest.mark.parametrize("signer", [BOB, STRANGER])
def test_nobody_answers_in_the_servers_place(signer: SigningKey) -> None:
    with pytest.raises(NoAnswer, match="not signed"):
        opened(sealed(signer=signer))


def test_an_answer_to_an_earlier_question_is_none_to_this() -> None:
    with pytest.raises(NoAnswer, match="something else"):
        opened(sealed(), asked=sign_question(replace(QUESTION, log_at=7), ALICE))


@pytest.mark.parametrize("data", [b"", b"x" * 100, bytes(5000)])
def test_garbage_is_no_answer(data: bytes) -> None:
    with pytest.raises(NoAnswer):
        opened(data)
