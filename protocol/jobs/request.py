"""A job that is asked for on another machine: signed by whoever asks, for one server, over the channel of
`protocol.wire.asking`. And how the job stands, which only whoever asked for it may ask.

On the wire it is msgpack ``[payload, key, signature]``, as an announcement is. There is one way to write it. It has the
app's files, so nothing needs to be fetched, and a random key: a request that comes again, from whomever, is the same
job. What it asks for is judged by the rules of the queue.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from crypto.dsse import BadSignature, verify
from crypto.dsse import sign as dsse_sign
from crypto.keys import SigningKey, VerifyKey
from protocol.blocks.packing import NotPacked, packed, unpacked
from protocol.federation.manifest import Manifest
from protocol.jobs.queue import may_ask
from protocol.keeping.best import LONGEST_TEXT, BestBy, BestError, parse_best
from protocol.keeping.plan import LONGEST as LONGEST_PLAN
from protocol.keeping.plan import KeepPlan, PlanError, parse_plan
from protocol.records.bodies import MAX_WITNESSES, Key, Member, Natural
from protocol.replies.closing_rule import LONGEST_RULE, ClosingError, ClosingRule, parse_closing
from protocol.run_names import LONGEST
from protocol.wire.announcements import Envelope

JOB_TYPE: Final = "application/vnd.pollen.job+msgpack"
"""The DSSE payload type of a request."""

QUESTION_TYPE: Final = "application/vnd.pollen.job-question+msgpack"
"""The DSSE payload type of a question how a job stands."""

MAX_VALID: Final = 7 * 86400
"""Seconds for which a request may count. Later it brings about nothing, whoever has kept it."""

MAX_REQUEST: Final = 960 << 10
"""Bytes of a request; a question may have 1 MiB."""

MAX_QUESTION: Final = 1 << 10
"""Bytes of a question how a job stands."""

MAX_FILES: Final = 2000
MAX_SETTINGS: Final = 1000
KEY_SIZE: Final = 16

Setting = str | int | float | bool
JobKey = Annotated[bytes, Meta(min_length=KEY_SIZE, max_length=KEY_SIZE)]
Path = Annotated[str, Meta(max_length=512)]
SettingName = Annotated[str, Meta(max_length=256)]


class WhyNot(StrEnum):
    """Why a request is not even looked at."""

    TOO_LARGE = "too-large"
    MALFORMED = "malformed"
    STRANGER = "stranger"
    """Its key is not one of a member's, or not its author's."""
    MAY_NOT_ASK = "may-not-ask"
    """Its author is neither a server nor an admin, or the server's owner takes no jobs of it."""
    NOT_FOR_US = "not-for-us"
    """It is for another server, or of another federation."""
    BAD_SIGNATURE = "bad-signature"
    EXPIRED = "expired"
    """Its time is over, or further off than any may be."""


class NotTaken(Exception):
    """A request that is not taken, for ``why``."""

    def __init__(self, why: WhyNot, message: str) -> None:
        super().__init__(message)
        self.why = why


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What is signed, its fields in this order."""

    federation: Annotated[bytes, Meta(min_length=36, max_length=36)]
    to: Key
    """The server's member id."""
    by: Key
    """The member id of whoever asks."""
    key: JobKey
    """Random."""
    expires: Natural
    """Until when it counts: seconds since 1970, by the server's clock."""
    name: Annotated[str, Meta(max_length=LONGEST)]
    """How to call the run there; empty: after its app."""
    files: Annotated[tuple[tuple[Path, bytes], ...], Meta(min_length=1, max_length=MAX_FILES)]
    """The app's, by path."""
    config: Annotated[tuple[tuple[SettingName, Setting], ...], Meta(max_length=MAX_SETTINGS)]
    """Settings that differ from the app's own."""
    min_clients: Annotated[int, Meta(ge=1, le=1 << 31)]
    seed: Natural | None
    memory: Natural
    gpus: Natural

    @property
    def plan(self) -> KeepPlan | None:
        """Which contents of the run stay; None if it is for the server to say."""
        return None

    @property
    def best_by(self) -> BestBy | None:
        """By which metric its best model is marked; None if it is for the server to say."""
        return None

    @property
    def closing_rule(self) -> ClosingRule | None:
        """When an exchange of the run closes early; None if it is for the server to say."""
        return None

    @property
    def asked_witnesses(self) -> int | None:
        """How many servers have to have recomputed what clients train on; None if it is for the server to say."""
        return None

    def job_key(self) -> bytes:
        """The job's key at the server. Nobody can take that of another member's job."""
        return job_key(self.by, self.key)


@dataclass(frozen=True, slots=True)
class PlannedJobRequest(JobRequest):
    """`JobRequest` of a run of which not everything is to stay, or whose best model is marked. Any other is written
    without the two fields, so that servers which do not know them take it."""

    keep: Annotated[str, Meta(max_length=LONGEST_PLAN)]
    """The text of a plan (`protocol.keeping.plan`); empty if it is for the server to say."""
    best: Annotated[str, Meta(max_length=LONGEST_TEXT)]
    """The text of a `protocol.keeping.best.BestBy`; empty if it is for the server to say."""

    @property
    def plan(self) -> KeepPlan | None:
        """Which contents of the run stay; None if it is for the server to say."""
        return parse_plan(self.keep) if self.keep else None

    @property
    def best_by(self) -> BestBy | None:
        """By which metric its best model is marked; None if it is for the server to say."""
        return parse_best(self.best) if self.best else None


@dataclass(frozen=True, slots=True)
class ClosingJobRequest(PlannedJobRequest):
    """`PlannedJobRequest` of a run whose exchanges close early. Any other is written without the field; here the two
    before it may both be empty."""

    closing: Annotated[str, Meta(max_length=LONGEST_RULE)]
    """The text of a `protocol.replies.closing_rule.ClosingRule`; empty if it is for the server to say, and witnesses
    are asked for."""

    @property
    def closing_rule(self) -> ClosingRule | None:
        """When an exchange of the run closes early; None if it is for the server to say."""
        return parse_closing(self.closing) if self.closing else None


@dataclass(frozen=True, slots=True)
class WitnessedJobRequest(ClosingJobRequest):
    """`ClosingJobRequest` of a run that asks for witnesses. Any other is written without the field; here the three
    before it may all be empty."""

    witnesses: Annotated[int, Meta(ge=1, le=MAX_WITNESSES)]
    """How many servers have to have recomputed what clients train on."""

    @property
    def asked_witnesses(self) -> int | None:
        """As it says."""
        return self.witnesses


def with_choices(request: JobRequest, keep: str, best: str, closing: str, witnesses: int = 0) -> JobRequest:
    """The request with as many of these as say something: an empty text and 0 do not."""
    if not (keep or best or closing or witnesses):
        return request
    plain: dict[str, Any] = {each.name: getattr(request, each.name) for each in fields(request)}
    planned = plain | {"keep": keep, "best": best}
    if witnesses:
        return WitnessedJobRequest(**planned, closing=closing, witnesses=witnesses)
    return ClosingJobRequest(**planned, closing=closing) if closing else PlannedJobRequest(**planned)


@dataclass(frozen=True, slots=True)
class JobQuestion:
    """How does a job stand? What is signed, its fields in this order."""

    federation: Annotated[bytes, Meta(min_length=36, max_length=36)]
    to: Key
    by: Key
    key: JobKey
    """Of the request for the job."""
    expires: Natural
    log_at: Natural | None
    """From which byte on what the app printed is asked for; None: it is not."""

    def job_key(self) -> bytes:
        """As `JobRequest.job_key`: so nobody asks for another member's job."""
        return job_key(self.by, self.key)


def job_key(by: bytes, key: bytes) -> bytes:
    """The key by which a server knows a job that the member ``by`` asked for with ``key``."""
    return hashlib.sha256(b"pollen job 1" + by + key).digest()[:KEY_SIZE]


def sign_request(request: JobRequest, key: SigningKey) -> bytes:
    """The request on the wire."""
    return _signed(packed(request), JOB_TYPE, key)


def sign_question(question: JobQuestion, key: SigningKey) -> bytes:
    """The question on the wire."""
    return _signed(packed(question), QUESTION_TYPE, key)


def _signed(payload: bytes, type: str, key: SigningKey) -> bytes:
    return packed(Envelope(payload, key.verify_key.raw, dsse_sign(key, type, payload)))


def author_of(data: bytes, manifest: Manifest) -> Member | None:
    """The member whose key is in ``data``, whoever wrote it; None if there is none. The answer is sealed to it."""
    if len(data) > MAX_REQUEST:
        return None
    try:
        return manifest.member_by_key(unpacked(data, Envelope).key)
    except NotPacked:
        return None


def read_question(data: bytes, manifest: Manifest, own: bytes, now: float) -> JobQuestion:
    """The question in ``data``, if it is for the member ``own``, and by a member. Raises as `read_request`."""
    try:
        envelope = unpacked(data, Envelope)
        member = manifest.member_by_key(envelope.key)
        if member is None:
            raise NotTaken(WhyNot.STRANGER, "its key is not one of a member's")
        verify(VerifyKey.parse(envelope.key), QUESTION_TYPE, envelope.payload, envelope.signature)
        question = unpacked(envelope.payload, JobQuestion)
    except BadSignature as error:
        raise NotTaken(WhyNot.BAD_SIGNATURE, str(error)) from error
    except NotPacked as error:
        raise NotTaken(WhyNot.MALFORMED, f"not a question: {error}") from error
    _check_place(question, member, manifest, own, now)
    return question


def read_request(data: bytes, manifest: Manifest, own: bytes, accepted: frozenset[bytes], now: float) -> JobRequest:
    """The request in ``data``, if it is for the member ``own``, and by one that may ask. Cheap checks come first.

    ``manifest`` is the newest; ``accepted`` are the members of which the server's owner takes jobs. ``now`` is in
    seconds since 1970.

    Raises:
        NotTaken: if it is not. Nothing else is raised, whatever the bytes.
    """
    if len(data) > MAX_REQUEST:
        raise NotTaken(WhyNot.TOO_LARGE, f"{len(data)} bytes are more than {MAX_REQUEST}")
    try:
        envelope = unpacked(data, Envelope)
    except NotPacked as error:
        raise NotTaken(WhyNot.MALFORMED, f"not a request: {error}") from error
    member = manifest.member_by_key(envelope.key)
    if member is None:
        raise NotTaken(WhyNot.STRANGER, "its key is not one of a member's")
    if not may_ask(manifest, member.id):
        raise NotTaken(WhyNot.MAY_NOT_ASK, "only servers and admins may ask for a run")
    if member.id not in accepted:
        raise NotTaken(WhyNot.MAY_NOT_ASK, "the server's owner takes no jobs of this member: --accept-runs-of NAME")
    try:
        verify(VerifyKey.parse(envelope.key), JOB_TYPE, envelope.payload, envelope.signature)
        request = _request(envelope.payload)
    except BadSignature as error:
        raise NotTaken(WhyNot.BAD_SIGNATURE, str(error)) from error
    except (NotPacked, PlanError, BestError, ClosingError) as error:
        raise NotTaken(WhyNot.MALFORMED, f"not a request: {error}") from error
    _check_place(request, member, manifest, own, now)
    return request


def _check_place(asked: JobRequest | JobQuestion, member: Member, manifest: Manifest, own: bytes, now: float) -> None:
    """Raise `NotTaken` if what ``member`` asks is not by it, not for us, or not for now."""
    if asked.by != member.id:
        raise NotTaken(WhyNot.STRANGER, "its key is not its author's")
    if asked.to != own or asked.federation != bytes(manifest.federation):
        raise NotTaken(WhyNot.NOT_FOR_US, "it is for another server, or of another federation")
    if now >= asked.expires:
        raise NotTaken(WhyNot.EXPIRED, "its time is over: ask again, and look whether both clocks are right")
    if asked.expires > now + MAX_VALID:
        raise NotTaken(WhyNot.EXPIRED, f"it would count for more than {MAX_VALID // 86400} days")


def _request(payload: bytes) -> JobRequest:
    for kind in (JobRequest, PlannedJobRequest, ClosingJobRequest):
        with suppress(NotPacked):
            return _checked(unpacked(payload, kind))
    return _checked(unpacked(payload, WitnessedJobRequest))


def _checked(request: JobRequest) -> JobRequest:
    """A request whose texts are written in their one way, and which has none that it could leave out."""
    if not isinstance(request, PlannedJobRequest):
        return request
    said = (str(request.plan or ""), str(request.best_by or ""))
    closes = request.closing_rule is not None
    match request:
        case WitnessedJobRequest():
            is_needed = True
        case ClosingJobRequest():
            is_needed = closes
        case _:
            is_needed = any(said)
    if said != (request.keep, request.best) or not is_needed:
        raise NotPacked("its plan is not written in its one way")
    return request


class AskedJob(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A question: take this job, please. ``signed`` is as `sign_request` writes it."""

    signed: Annotated[bytes, Meta(max_length=MAX_REQUEST)]


class AskedAboutJob(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A question: how does this job stand? ``signed`` is as `sign_question` writes it."""

    about: Literal["job"]
    signed: Annotated[bytes, Meta(max_length=MAX_QUESTION)]


class ToldJob(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The answer to both: a `protocol.jobs.answer.JobAnswer`, signed, and sealed to whoever asked."""

    sealed: bytes
