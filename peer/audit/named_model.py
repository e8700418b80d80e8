"""Finding the model that somebody names: a file, a content, or a round of a run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peer.audit.run_lookup import RunLookup
from peer.audit.run_models import SERVER, RunModels
from peer.base.errors import PeerError
from peer.history.named_runs import head_named, is_car, named_cid
from peer.history.scratch import Scratch
from protocol.blocks.cid import CID, Block, BlockError
from protocol.records.signed_records import parse_record
from strategy.models.model_files import Tensors, content_tensors, opened_model


@dataclass(frozen=True, slots=True)
class NamedModel:
    """A model, and what it is."""

    tensors: Tensors
    about: dict[str, Any]


@contextlib.contextmanager
def named_model(text: str, lookup: RunLookup) -> Iterator[NamedModel]:
    """The model that ``text`` names: a file, a content's CID, or ``RUN[:ROUND[:NAME]]``.

    Raises:
        PeerError: if it names no model.
        NoModel: if what it names holds no arrays.
    """
    path = Path(text).expanduser()
    if path.suffix in {".safetensors", ".npz", ".pt"}:
        if not path.is_file():
            raise PeerError(f"there is no file {path}", fix="peer model HEAD -o FILE writes one")
        with opened_model(path) as tensors:
            yield NamedModel(tensors, {"file": str(path)})
        return
    run, round_number, of = _parsed(text)
    if run == text and (content := _content(run, lookup)) is not None:
        with lookup.blocks() as source:
            yield NamedModel(content_tensors(content, source, None), {"content": str(content)})
        return
    with Scratch() as scratch, lookup.reading(run, scratch) as audit:
        found = RunModels(audit, scratch).find(of, round_number)
        about = {"content": str(found.content), "head": str(found.head), **found.metadata(), "round": found.round}
        yield NamedModel(content_tensors(found.content, audit.source, found.key), about)


def _parsed(text: str) -> tuple[str, int | None, str]:
    """``RUN[:ROUND[:NAME]]`` in its parts. A name may have colons, as a did has."""
    run, _, rest = text.partition(":")
    round_text, _, name = rest.partition(":")
    if not round_text:
        return run, None, name or SERVER
    if not (round_text.isascii() and round_text.isdigit()):
        raise PeerError(
            f"{round_text!r} in {text!r} is not a round",
            fix="write HEAD:3, HEAD:3:NAME, or HEAD::NAME for the last round",
        )
    return run, int(round_text), name or SERVER


def _content(text: str, lookup: RunLookup) -> CID | None:
    """The CID ``text``, if it is neither a run nor a record."""
    if is_car(text):
        return None
    cid = named_cid(lookup.home, text)
    if head_named(lookup.home, text)[1] is not None:
        return None
    with lookup.blocks() as source:
        data = source.get(cid)
    try:
        parse_record(Block(cid, data))
    except BlockError:
        return cid
    return None
