"""Which model of which run a file holds.

A model file names its run, its round and its content, but anybody can write that. So the file is written again from
what the run records, and has to come out byte for byte. If it does not, somebody may have converted it: then the arrays
are compared. One model is in memory at a time, however many rounds there are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from peer.attest.attestation_file import sha256_of
from peer.audit.audit import Audit
from peer.audit.report import Report
from peer.audit.run_lookup import RunLookup
from peer.audit.run_models import FoundModel, NoSuchModel, NotReadable, RunModels
from peer.base.errors import ExitCode, PeerError
from peer.engine.interface import EngineError
from peer.history.scratch import Scratch
from protocol.blocks.cid import CID, BlockError
from strategy.models.model_difference import same_tensors
from strategy.models.model_files import (
    ModelFormat,
    NoModel,
    Tensors,
    claimed_metadata,
    content_tensors,
    model_sha256,
    opened_model,
)

_HASH: Final = re.compile("(?:sha256:)?([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model file, or its hash alone."""

    sha256: str
    path: Path | None
    claims: Mapping[str, str] = field(default_factory=dict)
    """What it says of where it comes from: nothing that anybody need believe."""

    @property
    def name(self) -> str:
        """What it is called, without its folder."""
        return "model" if self.path is None else self.path.name


@dataclass(frozen=True, slots=True)
class Found:
    """The model of a run that a file holds."""

    model: FoundModel
    exact: bool
    """Whether the file is byte for byte what is written for it; if not, its arrays are the same, name by name."""


@dataclass(frozen=True, slots=True)
class Traced:
    """A model file, and the verified run that it is from."""

    found: Found
    report: Report


@dataclass(frozen=True, slots=True)
class NotTraced:
    """A model file that is of no run that was looked into."""

    denied: CID | None
    """The run that the file claims to be from, if that run was read to its end, and does not have it."""
    looked_into: int
    notes: tuple[str, ...]
    """Runs that could not be looked into, and why."""


def model_file_named(text: str) -> ModelFile:
    """The model file, or the hash of one, that somebody named.

    Raises:
        PeerError: if it is neither.
    """
    path = Path(text).expanduser()
    if not path.exists() and (hashed := _HASH.fullmatch(text)):
        return ModelFile(hashed[1], None)
    sha256 = sha256_of(path)
    try:
        return ModelFile(sha256, path, claimed_metadata(path))
    except NoModel as error:
        raise PeerError(str(error), fix="peer trace takes .safetensors, .npz and .pt files, or a SHA-256") from error


def trace(
    file: ModelFile, runs: Iterable[str], lookup: RunLookup, *, federation: str | None = None
) -> Traced | NotTraced:
    """Look for ``file`` in each of the ``runs``: CAR files, heads, or runs of the home. ``federation`` is the one that
    they have to be in, if somebody named one."""
    denied, notes, count = None, [], 0
    for named in runs:
        with Scratch() as scratch:
            try:
                with lookup.reading(named, scratch, root=federation) as audit:
                    found = find_model(file, RunModels(audit, scratch), audit)
            except (PeerError, EngineError, BlockError) as error:
                notes.append(f"{named} was not looked through to its end: {error}")
                continue
        count += 1
        if found is not None:
            return Traced(found, audit.report)
        if file.claims.get("run") == str(audit.report.run) and audit.report.closed:  # an open one may have it later
            denied = audit.report.run
    return NotTraced(denied, count, tuple(notes))


def find_model(file: ModelFile, models: RunModels, audit: Audit) -> Found | None:
    """The model of a verified run that ``file`` holds.

    Raises:
        PeerError: if a tensor in it cannot be read, or it was changed since it was hashed.
        NotReadable: if it is none that can be read here, and there are others.
        BlockError: if a content cannot be read.
    """
    if file.path is None:
        return _by_hash(file.sha256, models, audit)
    claimed = _claimed(file.claims, models, audit.report.run)
    if claimed is not None and file.sha256 == _written(claimed, audit, ModelFormat.of(file.path)):
        return Found(claimed, exact=True)
    try:
        with opened_model(file.path) as tensors:
            found = _by_arrays(tensors, models, audit)
    except NoModel as error:
        raise PeerError(str(error)) from error
    if found is not None and sha256_of(file.path) != file.sha256:  # its arrays are those of other bytes
        raise PeerError(f"{file.path} was changed while it was looked at", fix="try again with a copy of it")
    return found


def _claimed(claims: Mapping[str, str], models: RunModels, run: CID | None) -> FoundModel | None:
    """The model of the run that a file claims to be, if there is one."""
    if claims.get("run") != str(run):
        return None
    number, of = claims.get("round"), claims.get("of")
    if number is None or of is None:
        final = models.final()
        return None if isinstance(final, NotReadable) else final
    if not re.fullmatch("[0-9]{1,9}", number):
        return None
    try:
        return models.find(of, int(number))
    except (NoSuchModel, NotReadable):
        return None


def _recorded(models: RunModels) -> Iterator[FoundModel | NotReadable]:
    if (final := models.final()) is not None:
        yield final
    yield from models.every()


def _first(models: Iterable[FoundModel | NotReadable], fits: Callable[[FoundModel], bool]) -> FoundModel | None:
    """The first model that fits; raises NotReadable if none does and some cannot be read here."""
    unreadable = None
    for model in models:
        if isinstance(model, NotReadable):
            unreadable = model
        elif fits(model):
            return model
    if unreadable is not None:
        raise unreadable
    return None


def _by_hash(sha256: str, models: RunModels, audit: Audit) -> Found | None:
    def fits(model: FoundModel) -> bool:
        return any(sha256 == _written(model, audit, kind) for kind in ModelFormat)

    found = _first(_recorded(models), fits)
    return None if found is None else Found(found, exact=True)


def _written(model: FoundModel, audit: Audit, kind: ModelFormat) -> str | None:
    """The hash of the file of a model; None if the format does not take it."""
    try:
        return model_sha256(model.content, audit.source, model.key, kind, model.metadata())
    except NoModel:
        return None


def _by_arrays(tensors: Tensors, models: RunModels, audit: Audit) -> Found | None:
    compared: set[CID] = set()

    def fits(model: FoundModel) -> bool:
        if model.content in compared:
            return False
        compared.add(model.content)
        try:
            return same_tensors(content_tensors(model.content, audit.source, model.key), tensors)
        except NoModel:
            return False

    found = _first(_recorded(models), fits)
    return None if found is None else Found(found, exact=False)


def not_found(file: ModelFile, result: NotTraced) -> PeerError:
    """What a command says of a file that is of no run that was looked into."""
    what = str(file.path) if file.path is not None else f"the file with the SHA-256 {file.sha256}"
    if result.denied is not None:
        return PeerError(
            f"{what} says that it is a model of the run {result.denied}, and that run has no such model: "
            "it was changed since, or somebody wrote that into it",
            fix=f"peer model {result.denied} -o FILE writes one that is",
            code=ExitCode.VERIFICATION_FAILED,
        )
    runs = f"{result.looked_into} runs that were" if result.looked_into else "runs here, since none could be"
    return PeerError(
        f"{what} is of none of the {runs} looked through",
        fix="name the run: --in FILE.car, or --in HEAD with --ipfs ENGINE; in a home, peer ls lists the runs",
        code=ExitCode.UNFINISHED,
    )
