"""A model that a run begins with, instead of one that its app makes.

The run record links a content with the arrays. The app process gives them to the ServerApp as the array record `RECORD`
in ``context.state``, which is empty otherwise. That is Flower's own interface, and the content is found by its CID
wherever the run is: live, on resume, and in a replay from a CAR file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from flwr.app import Array, ArrayRecord, RecordDict

from protocol.blocks.content import ContentError, ContentKey, KeyedContent
from strategy.contents.codec import DEFAULT_LIMITS, ContentStore, ContentWriter, Limits, decode

if TYPE_CHECKING:
    from strategy.models.model_files import Tensor, Tensors

RECORD: Final = "initial-model"
"""The one record of its content. The built-in app knows this name too (`pollen_app.initial`)."""


@dataclass(frozen=True, slots=True)
class InitialModel:
    """Arrays by name, in memory."""

    tensors: Mapping[str, Tensor]

    @classmethod
    def read(cls, tensors: Tensors) -> InitialModel:
        """Read all ``tensors``. Raises what reading them raises."""
        return cls({name: read() for name, read in tensors.items()})

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each array."""
        return {name: tensor.shape for name, tensor in self.tensors.items()}

    def store(self, store: ContentStore, key: ContentKey | None) -> KeyedContent:
        """Store it as a content, encrypted with ``key``. It is durable at return."""
        record = ArrayRecord({name: Array(tensor) for name, tensor in self.tensors.items()})
        return KeyedContent(ContentWriter(store).write(RecordDict({RECORD: record}), key), key)


def initial_state(given: KeyedContent | None, store: ContentStore, limits: Limits = DEFAULT_LIMITS) -> RecordDict:
    """The ``context.state`` that a ServerApp begins with. ``given`` is the content that its run record names.

    Raises:
        protocol.blocks.content.ContentError: if that is not exactly one array record with the name `RECORD`.
        protocol.blocks.cid.MissingBlock: if the store lacks a block of it.
    """
    if given is None:
        return RecordDict()
    state = decode(given.content, store.open(given.content), given.key, limits)
    if list(state) != [RECORD] or RECORD not in state.array_records:
        raise ContentError(f"the content {given.content} is no initial model: it has the records {', '.join(state)}")
    return state
