"""The predicate of an audit: what somebody's audit of a run came to. docs/attestations.md describes each field.

Nothing in it is of the private parts of an encrypted run: the file is for people outside.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

import msgspec

from protocol.blocks.cid import CID

AUDIT_TYPE: Final = "https://pollen-fl/audit/v1"
"""The type of the predicate. Like the one of model signatures, it is a name and no page."""

SERVER: Final = "server"
"""Whose the global models are."""

AttestedVerdict = Literal["verified", "failed", "incomplete", "inconclusive"]


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """What made the statement."""

    name: str
    version: str


class RootOfTrust(msgspec.Struct, frozen=True, kw_only=True):
    """Whose keys were believed, and on whose word."""

    basis: Literal["given", "joined", "run", "none"]
    """The auditor named the federation, or is in it; or the run says so, and nobody else; or not even the run's first
    record could be verified."""
    federation: CID | None


class Leader(msgspec.Struct, frozen=True, kw_only=True):
    """Who led a run in one term."""

    term: int
    leader: str
    """The member id, as a did:key."""
    since: int
    """The height of the first record."""
    cause: Literal["silence", "handover", "dispute"] | None
    """Why the term began; None for the first."""
    votes: int
    voters: int


class AuditedRun(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The run, as far as it was verified."""

    head: CID
    """The newest record: it fixes all others."""
    run: CID | None
    """The run record; None if the head does not tell it."""
    height: int | None
    """Of the last record that was verified."""
    closed: bool
    outcome: str | None
    """How the app ended, if the run is closed."""
    encrypted: bool
    """If it is, app, environment and the words of findings are left out."""
    final_model: CID | None
    leaders: tuple[Leader, ...] = ()
    """Term by term, the first 1,000; none if there was no takeover, or nothing is verified."""
    leaders_left_out: int = 0


class AuditedApp(msgspec.Struct, frozen=True, kw_only=True):
    """The app that the run record names."""

    id: CID
    name: str
    version: str


class ReplayedRun(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What running the app again on the recorded replies was compared with."""

    outcome: Literal["equal", "undecided", "beyond"]
    """``undecided``: the auditor's machine cannot tell whose doing the differences are. ``beyond``: one differs more
    than another machine can cause."""
    exchanges: int
    """Compared, and equal."""
    messages: int
    """In them."""
    undecided: int
    """Exchanges that differ, and of which the auditor's machine cannot tell why."""
    settling: str | None
    """With what the differences could be settled; None if there are none, or the run is encrypted."""
    not_kept: int = 0
    """Exchanges that could not be compared, because replies before them are not kept by policy."""


class Compared(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the verdict rests on."""

    records: int
    """Of the chain, from its first: as many as keep every rule."""
    exchanges: int
    """In them."""
    contents: bool
    """Whether everything that the records link was read and hashed, and is as it should be."""
    replay: ReplayedRun | None
    not_kept: int = 0
    """Contents that are not there by policy: the run's own plan lets them go, or the auditor's home dropped them by its
    own. If there are any, ``contents`` is false."""


class Environments(msgspec.Struct, frozen=True, kw_only=True):
    """What may change the bits of a result, by name, as the app process measured it."""

    recorded: dict[str, str] | None
    """When the run began; None if it is encrypted or cannot be read."""
    here: dict[str, str] | None
    """At the auditor's replay; None if there was none."""
    differing: tuple[str, ...]
    """The names of those fields that are not the same; none if the run is encrypted."""


class AttestedFinding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is not as it should be."""

    rule: str
    height: int | None
    cid: CID | None
    message: str | None
    """None if the run is encrypted: it may name what is."""


class CheckedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model file among the subjects, and which model of the run it was found to be."""

    sha256: str
    round: int | None
    """None for the final model."""
    of: str
    """``server`` for the global model, or the name of the client whose update it is: ``client`` if the run is
    encrypted."""
    content: CID
    exact: bool
    """Whether it is byte for byte what `peer model` writes; if not, its arrays are the same."""


class AuditPredicate(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What an audit came to."""

    verdict: AttestedVerdict
    audited_at: str
    """RFC 3339, in UTC, by the auditor's clock."""
    tool: Tool
    root_of_trust: RootOfTrust
    run: AuditedRun
    app: AuditedApp | None
    compared: Compared
    not_compared: tuple[str, ...]
    """What the verdict says nothing of, in words."""
    environment: Environments
    findings: tuple[AttestedFinding, ...]
    findings_left_out: int
    models: tuple[CheckedModel, ...] = ()
    """Model files that are subjects, because they hold a model of this run."""

    def spoken_of(self) -> Iterator[tuple[str, str]]:
        """What has to be among the subjects, and its digest."""
        yield f"head {self.run.head}", self.run.head.digest.hex()
        if self.run.final_model is not None:
            yield f"final model {self.run.final_model}", self.run.final_model.digest.hex()
        for model in self.models:
            yield "model file", model.sha256
