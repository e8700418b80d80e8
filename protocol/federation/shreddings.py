"""Shreddings: which epochs of which runs the admins have ordered every member to destroy the keys of.

A shredding names a run and an epoch. It concerns that epoch and all after it, because the keys of an epoch open those
of every epoch before (`protocol.federation.run_keys`): whoever keeps a later one has kept this one too. The epochs
before it stay.

A manifest lists shreddings for ever, so that a member that was away for a month learns of them. What a member says of
its own part is an `Erasure` record (`protocol.federation.erasures`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from protocol.blocks.cid import CID
from protocol.federation.manifest_rules import ManifestError, ManifestRule
from protocol.records.bodies import FirstShredded, ShreddedEpochs


@dataclass(frozen=True, slots=True)
class Shredding:
    """An order to destroy the keys of a run, from one epoch on."""

    run: CID
    epoch: int
    """The first epoch concerned; 1 is the whole run."""
    reason: str
    """For people; empty if the admins gave none."""
    version: int
    """The first version of the manifest in which this reader can read of it. An earlier one may have brought it."""
    at: float
    """When that version was made, by its author's clock: seconds since 1970."""
    by: tuple[bytes, ...]
    """The keys of the admins who signed that version."""

    def concerns(self, epoch: int) -> bool:
        """Whether nobody is to read ``epoch`` any more."""
        return epoch >= self.epoch


def shredding_of(shreddings: Iterable[Shredding], run: CID) -> Shredding | None:
    """The shredding of a run; None if it is to be read."""
    return next((each for each in shreddings if each.run == run), None)


def read_shreddings(
    listed: ShreddedEpochs, before: Sequence[Shredding], *, version: int, at: float, by: Collection[bytes]
) -> tuple[Shredding, ...]:
    """The shreddings of a version that ``listed`` these. ``before`` are those of the version before it.

    Raises:
        ManifestError: if they are not in rising order, each run once; or if one is missing, or begins later than it
            did: what is destroyed does not come back.
    """
    runs = [bytes(each.run) for each in listed]
    if runs != sorted(set(runs)):
        raise ManifestError(ManifestRule.SHREDDED, "the shredded runs are not in rising order, each once")
    if any(not each.reason.isprintable() for each in listed):
        raise ManifestError(ManifestRule.SHREDDED, "a reason has characters that cannot be shown")
    known = {each.run: each for each in before}
    first = {each.run: each.epoch for each in listed}
    for each in before:
        if first.get(each.run, each.epoch + 1) > each.epoch:
            raise ManifestError(ManifestRule.SHREDDED, f"epoch {each.epoch} of the run {each.run} was shredded before")
    return tuple(
        known[each.run]
        if each.run in known and known[each.run].epoch == each.epoch and known[each.run].reason == each.reason
        else Shredding(each.run, each.epoch, each.reason, version, at, tuple(sorted(by)))
        for each in listed
    )


def with_shredded(
    shreddings: Iterable[Shredding], runs: Iterable[CID], *, epoch: int, reason: str
) -> tuple[FirstShredded, ...]:
    """What a manifest lists once these ``runs`` are shredded too, from ``epoch`` on."""
    listed = {each.run: FirstShredded(run=each.run, epoch=each.epoch, reason=each.reason) for each in shreddings}
    for run in runs:
        if run not in listed or listed[run].epoch > epoch:
            listed[run] = FirstShredded(run=run, epoch=epoch, reason=reason)
    return tuple(sorted(listed.values(), key=lambda each: bytes(each.run)))
