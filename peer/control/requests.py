"""What may be asked at the control socket: one JSON object on a line, answered by one JSON object on a line.

A question names what it asks for in ``ask``. An answer has either ``done`` or an ``error`` with its ``fix`` and exit
code. Only the owner of the home can ask, but the bytes are parsed as if anybody could.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from crypto.described_types import described
from peer.base.errors import ExitCode, PeerError
from peer.status.peer_status import PeerStatus
from protocol.blocks.cid import CID
from protocol.records.roles import MAX_WITNESSES

MAX_LINE: Final = 1 << 20
"""Bytes of a question."""

MAX_ANSWER: Final = 64 << 20
"""Bytes of an answer. A status has the words of up to 200 members for each run, and a hostile one needs six bytes for a
character."""


class Status(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="ask", tag="status"):
    """What the peer does: a `PeerStatus` is told."""


class StopRun(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="ask", tag="stop"):
    """Close a run that this peer leads, in its chain: a `ClosingRun` is told."""

    run: str
    """Its CID."""


class LeadRun(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="ask", tag="lead"):
    """Have another server lead a run: hand it over if this peer leads it, or have the server elected as an admin. A
    `HandingOver` is told."""

    run: str
    """Its CID."""
    to: str
    """The server's name or member id; empty: one that stands by."""


class RunJob(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="ask", tag="run"):
    """Take a job: a run of the app in a folder of this machine. A `JobDone` is told, as after
    whatever is asked about jobs."""

    key: str
    """32 hexadecimal digits, random: asked twice with one key, it is one job."""
    folder: str
    run_config: list[str]
    node_config: list[str]
    name: str = ""
    federation: str | None = None
    """Its name or id; None if the peer serves one alone."""
    min_clients: Annotated[int, Meta(ge=1)] = 2
    seed: int | None = None
    memory: Annotated[int, Meta(ge=0)] = 0
    """Bytes that it may need: a hint."""
    gpus: Annotated[int, Meta(ge=0)] = 0
    keep: str = ""
    """The text of the plan by which its contents stay or go; empty: as the server's owner has said."""
    best: str = ""
    """By which metric its best model is marked; empty: as the server's owner has said."""
    closing: str = ""
    """The text of the rule by which its exchanges close early; empty: as the server's owner has said."""
    witnesses: Annotated[int, Meta(ge=0, le=MAX_WITNESSES)] = 0
    """How many servers have to have recomputed what clients train on; 0: as the server's owner has said."""


class CancelJob(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="ask", tag="cancel"):
    """Give up a job. If it has begun meanwhile, its run is closed."""

    number: int


class TakeUpJob(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="ask", tag="take-up"):
    """Put a job that was given up before it had a run into the queue again."""

    number: int


class ResumeRun(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="ask", tag="resume"):
    """Go on with a run that was left open."""

    run: str
    """Its CID."""


AboutJob = RunJob | CancelJob | TakeUpJob | ResumeRun
Request = Status | StopRun | LeadRun | AboutJob


@dataclass(frozen=True, slots=True)
class ClosingRun:
    """A run that is being closed."""

    run: CID


@dataclass(frozen=True, slots=True)
class HandingOver:
    """A run that is being handed over."""

    run: CID
    to: str
    """The name of the server that is to lead it."""
    term: int | None = None
    """In which it leads, as it says; None if this peer leads still, and hands over."""


@dataclass(frozen=True, slots=True)
class JobDone:
    """The job that something was asked about, after it was done."""

    number: int
    name: str
    """How the run is called here."""
    app: CID
    run: CID | None
    """None if it has not begun."""


Told = PeerStatus | ClosingRun | HandingOver | JobDone


class Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An answer: what was done, or an error for people."""

    done: Any = None
    """A `Told` as the values of JSON."""
    error: str = ""
    fix: str = ""
    code: int = ExitCode.DONE

    @classmethod
    def of_error(cls, error: PeerError) -> Answer:
        """An error as an answer."""
        return cls(error=str(error), fix=error.fix, code=error.exit_code)

    def result(self) -> Any:  # a value of JSON, which `peer.control.asking` reads
        """What was done.

        Raises:
            PeerError: if it was not.
        """
        if self.done is None:
            raise PeerError(self.error or "the running peer gave no answer", fix=self.fix, code=ExitCode(self.code))
        return self.done


class BadRequest(Exception):
    """Bytes that are no request, or no answer."""


def parse_request(line: bytes) -> Request:
    """The request in a line.

    Raises:
        BadRequest: if there is none.
    """
    try:
        request: Request = msgspec.json.decode(line, type=described(Request))
    except msgspec.MsgspecError as error:
        raise BadRequest(str(error)) from error
    return request


def parse_answer(line: bytes) -> Answer:
    """The answer in a line. Raises as `parse_request`."""
    try:
        return msgspec.json.decode(line, type=described(Answer))
    except msgspec.MsgspecError as error:
        raise BadRequest(str(error)) from error


def line_of(message: Request | Answer) -> bytes:
    """The message as it goes over the socket."""
    return msgspec.json.encode(message) + b"\n"
