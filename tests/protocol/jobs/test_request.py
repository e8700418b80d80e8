"""`protocol.jobs.request`: who may ask a server on another machine for a run, and what is no such request."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from chains import ALICE, BOB, SERVER, STRANGER, Scribe, id_of

from crypto.dsse import sign as dsse_sign
from crypto.keys import SigningKey
from crypto.symmetric import SymmetricKey
from protocol.blocks.packing import packed
from protocol.jobs.request import (
    JOB_TYPE,
    MAX_REQUEST,
    MAX_VALID,
    AskedJob,
    ClosingJobRequest,
    JobRequest,
    NotTaken,
    PlannedJobRequest,
    ToldJob,
    WhyNot,
    WitnessedJobRequest,
    with_choices,
)
from protocol.jobs.request import read_request as read
from protocol.jobs.request import sign_request as sign
from protocol.wire.announcements import ANNOUNCEMENT_TYPE, Envelope
from protocol.wire.asking import BadMessage, CallBack, Channel, Question

MANIFEST = Scribe(founders=(ALICE,)).manifest
"""Alice is an admin, Bob a client alone."""
EVERYBODY = frozenset(MANIFEST.members)
REQUEST = JobRequest(
    federation=bytes(MANIFEST.federation),
    to=id_of(SERVER),
    by=id_of(ALICE),
    key=b"k" * 16,
    expires=1000,
    name="",
    files=(("pyproject.toml", b""),),
    config=(("lr", 0.1), ("rounds", 3)),
    min_clients=2,
    seed=None,
    memory=0,
    gpus=0,
)


NOW = 900.0


def why_not(data: bytes, accepted: frozenset[bytes] = EVERYBODY, now: float = NOW) -> WhyNot:
    with pytest.raises(NotTaken) as error:
        read(data, MANIFEST, id_of(SERVER), accepted, now)
    return error.value.why


def test_an_admins_request_is_read_as_it_was_written() -> None:
    assert read(sign(REQUEST, ALICE), MANIFEST, id_of(SERVER), EVERYBODY, NOW) == REQUEST


def planned(keep: str, best: str) -> PlannedJobRequest:
    asked = {each.name: getattr(REQUEST, each.name) for each in fields(REQUEST)}
    return PlannedJobRequest(**asked, keep=keep, best=best)


@pytest.mark.parametrize(("keep", "best"), [("models=all updates=last:2", ""), ("", "loss:min")])
def test_a_request_may_say_what_stays_of_its_run(keep: str, best: str) -> None:
    assert read(sign(planned(keep, best), ALICE), MANIFEST, id_of(SERVER), EVERYBODY, NOW) == planned(keep, best)


@pytest.mark.parametrize(
    ("keep", "best"),
    [("", ""), ("everything", ""), ("updates=last:2", ""), ("", "loss"), ("", ":min"), ("x" * 200, "")],
)
def test_what_stays_is_said_in_one_way(keep: str, best: str) -> None:
    assert why_not(sign(planned(keep, best), ALICE)) is WhyNot.MALFORMED


def closing(rule: str, keep: str = "", best: str = "") -> ClosingJobRequest:
    asked = {each.name: getattr(REQUEST, each.name) for each in fields(REQUEST)}
    return ClosingJobRequest(**asked, keep=keep, best=best, closing=rule)


@pytest.mark.parametrize("texts", [("", ""), ("models=all updates=last:2", "loss:min")])
def test_a_request_may_say_when_an_exchange_of_its_run_closes_early(texts: tuple[str, str]) -> None:
    request = closing("replies=80% deadline=30", *texts)
    assert read(sign(request, ALICE), MANIFEST, id_of(SERVER), EVERYBODY, NOW) == request
    assert with_choices(REQUEST, *texts, request.closing) == request


@pytest.mark.parametrize(
    ("rule", "keep"), [("", ""), ("80%", ""), ("replies=0 deadline=0", ""), ("replies=3 deadline=0", "all")]
)
def test_when_an_exchange_closes_is_said_in_one_way(rule: str, keep: str) -> None:
    assert why_not(sign(closing(rule, keep), ALICE)) is WhyNot.MALFORMED


def witnessed(witnesses: int, closing: str = "") -> WitnessedJobRequest:
    asked = {each.name: getattr(REQUEST, each.name) for each in fields(REQUEST)}
    return WitnessedJobRequest(**asked, keep="", best="", closing=closing, witnesses=witnesses)


@pytest.mark.parametrize("rule", ["", "replies=80% deadline=30"])
def test_a_request_may_ask_for_witnesses(rule: str) -> None:
    request = witnessed(2, rule)
    assert read(sign(request, ALICE), MANIFEST, id_of(SERVER), EVERYBODY, NOW) == request
    assert with_choices(REQUEST, "", "", rule, 2) == request


@pytest.mark.parametrize(("witnesses", "rule"), [(0, ""), (65, ""), (-1, ""), (2, "80%")])
def test_witnesses_are_asked_for_in_one_way(witnesses: int, rule: str) -> None:
    assert why_not(sign(witnessed(witnesses, rule), ALICE)) is WhyNot.MALFORMED


@pytest.mark.parametrize(
    ("signer", "by", "why"),
    [
        (BOB, BOB, WhyNot.MAY_NOT_ASK),
        (STRANGER, STRANGER, WhyNot.STRANGER),
        (STRANGER, ALICE, WhyNot.STRANGER),
        (ALICE, SERVER, WhyNot.STRANGER),
    ],
)
def test_nobody_asks_but_servers_and_admins_in_their_own_name(signer: SigningKey, by: SigningKey, why: WhyNot) -> None:
    assert why_not(sign(replace(REQUEST, by=id_of(by)), signer)) is why


def test_nobody_is_taken_a_job_of_unless_the_owner_said_so() -> None:
    assert why_not(sign(REQUEST, ALICE), accepted=frozenset()) is WhyNot.MAY_NOT_ASK


@pytest.mark.parametrize("changes", [{"to": id_of(BOB)}, {"federation": bytes(Scribe().manifest.federation)}])
def test_a_request_for_another_server_or_federation_is_not_taken_here(changes: dict[str, bytes]) -> None:
    assert why_not(sign(replace(REQUEST, **changes), ALICE)) is WhyNot.NOT_FOR_US


def test_a_request_counts_until_its_end_and_no_longer() -> None:
    assert read(sign(REQUEST, ALICE), MANIFEST, id_of(SERVER), EVERYBODY, 999.9) == REQUEST
    assert why_not(sign(REQUEST, ALICE), now=1000.0) is WhyNot.EXPIRED


def test_no_request_counts_for_ever() -> None:
    for_long = replace(REQUEST, expires=int(NOW) + MAX_VALID + 1)
    assert why_not(sign(for_long, ALICE)) is WhyNot.EXPIRED


def test_a_changed_request_is_not_taken() -> None:
    signed = sign(REQUEST, ALICE)
    assert why_not(signed.replace(b"k" * 16, b"j" * 16)) is WhyNot.BAD_SIGNATURE


def test_what_was_signed_as_something_else_is_not_taken() -> None:
    payload = packed(REQUEST)
    other = packed(Envelope(payload, ALICE.verify_key.raw, dsse_sign(ALICE, ANNOUNCEMENT_TYPE, payload)))
    assert why_not(other) is WhyNot.BAD_SIGNATURE


@pytest.mark.parametrize("data", [b"", b"\x93", b"\xc0" * 99, packed([b"", b"", b""])])
def test_garbage_is_not_taken(data: bytes) -> None:
    assert why_not(data) is WhyNot.MALFORMED


@pytest.mark.parametrize(
    "changes", [{"min_clients": 0}, {"key": b"short"}, {"name": "x" * 41}, {"files": ()}, {"memory": -1}, {"seed": "1"}]
)
def test_a_value_out_of_bounds_is_not_taken(changes: dict[str, object]) -> None:
    payload = packed(replace(REQUEST, **changes))
    signed = packed(Envelope(payload, ALICE.verify_key.raw, dsse_sign(ALICE, JOB_TYPE, payload)))
    assert why_not(signed) is WhyNot.MALFORMED


def test_a_request_that_is_too_large_is_not_even_parsed() -> None:
    assert why_not(sign(replace(REQUEST, files=(("model.bin", bytes(MAX_REQUEST)),)), ALICE)) is WhyNot.TOO_LARGE


def test_a_request_that_comes_again_is_the_same_job_and_nobody_takes_the_key_of_anothers() -> None:
    again = read(sign(REQUEST, ALICE), MANIFEST, id_of(SERVER), EVERYBODY, NOW)
    assert again.job_key() == REQUEST.job_key()
    assert replace(REQUEST, by=id_of(SERVER)).job_key() != REQUEST.job_key()


def test_the_channel_tells_it_from_other_questions() -> None:
    channel = Channel(MANIFEST.federation, id_of(SERVER), SymmetricKey(b"s" * 32))
    asked = channel.write(AskedJob(sign(REQUEST, ALICE)))
    assert channel.read(asked, AskedJob).signed == sign(REQUEST, ALICE)
    for other in (Question, CallBack, ToldJob):
        with pytest.raises(BadMessage):
            channel.read(asked, other)
