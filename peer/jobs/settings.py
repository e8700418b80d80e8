"""What a job runs with, as the journal keeps it."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from crypto.described_types import described
from peer.base.errors import ExitCode, PeerError
from peer.home.journal import Journal, RunHead
from peer.home.kept_jobs import KeptJob
from protocol.jobs.queue import Needs, Queued
from protocol.jobs.request import Setting
from protocol.records.bodies import RunConfig
from protocol.visible import named
from strategy.apps.config import AppConfig, AppError, recordable


class JobSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The settings of one job, checked when it was accepted."""

    run_config: list[tuple[str, Setting]]
    node_config: list[tuple[str, Setting]]
    min_clients: int
    seed: int | None
    memory: int
    gpus: int
    keep: str = ""
    """The text of the plan by which its contents stay or go; empty if that is for the server to say, as it was of every
    job before there was one."""
    best: str = ""
    """By which metric its best model is marked, as text; empty likewise."""
    closing: str = ""
    """The rule by which its exchanges close early, as text; empty likewise."""
    witnesses: int = 0
    """How many servers have to have recomputed what clients train on; 0 if that is for the server to say, likewise."""

    def to_bytes(self) -> bytes:
        """For the journal."""
        return msgspec.json.encode(self)

    @classmethod
    def of(cls, job: KeptJob) -> JobSettings:
        """Those of a job that was kept.

        Raises:
            PeerError: if they are damaged.
        """
        try:
            return msgspec.json.decode(job.settings, type=described(cls))
        except msgspec.MsgspecError as error:
            raise PeerError(
                f"the settings of the job {job.name} are damaged: {error}",
                fix="give it again: peer run",
                code=ExitCode.UNFINISHED,
            ) from error


def with_settings(app: AppConfig, changed: Sequence[tuple[str, Setting]]) -> RunConfig:
    """The run config of an app with what somebody else changed of it.

    Raises:
        PeerError: if a setting is none of the app's, of another type, or none that a run record can hold.
    """
    config = dict(app.run_config)
    for key, value in changed:
        if key not in config:
            raise PeerError(f"the app has no setting {named(key)}")
        if type(value) is not type(config[key]):
            raise PeerError(f"the setting {named(key)} is a {type(config[key]).__name__}, not a {type(value).__name__}")
        config[key] = value
    try:
        return recordable(config)
    except AppError as error:
        raise PeerError(str(error)) from error


def queued(job: KeptJob, *, is_running: bool) -> Queued:
    """A job as the rules of the queue see it. One whose settings are damaged needs nothing: it ends as it begins, and
    the others go on."""
    try:
        settings = JobSettings.of(job)
    except PeerError:
        return Queued(job.number, job.asker, Needs(), is_running)
    return Queued(job.number, job.asker, Needs(settings.memory, settings.gpus), is_running)


def adopted(journal: Journal, head: RunHead, owner: bytes) -> KeptJob:
    """A new job for a run that began without one, as with `peer start`. Its app and settings are in its record."""
    known = journal.known_runs().get(head.run)
    settings = JobSettings([], [], min_clients=1, seed=None, memory=0, gpus=0)
    app = known.app if known else "run"
    return journal.jobs.adopt(head.run, head.federation, owner, app, settings.to_bytes(), time.time())
