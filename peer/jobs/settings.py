"""What a job runs with, as the journal keeps it."""

from __future__ import annotations

import msgspec

from peer.base.errors import ExitCode, PeerError
from peer.home.journal import KeptJob
from protocol.jobs.queue import Needs, Queued

Setting = str | int | float | bool


class JobSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The settings of one job, checked when it was accepted."""

    run_config: list[tuple[str, Setting]]
    node_config: list[tuple[str, Setting]]
    min_clients: int
    seed: int | None
    memory: int
    gpus: int

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
            return msgspec.json.decode(job.settings, type=cls)
        except msgspec.MsgspecError as error:
            raise PeerError(
                f"the settings of the job {job.name} are damaged: {error}",
                fix="give it again: peer run",
                code=ExitCode.UNFINISHED,
            ) from error


def queued(job: KeptJob, *, is_running: bool) -> Queued:
    """A job as the rules of the queue see it."""
    settings = JobSettings.of(job)
    return Queued(job.number, job.asker, Needs(settings.memory, settings.gpus), is_running)
