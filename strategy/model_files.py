"""Writing a model from a content to a file that other tools read."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord, RecordDict
from safetensors.numpy import save

from protocol.blocks import CID, BlockSource
from strategy.content import decode


class NoModel(Exception):
    """The content holds no arrays, or arrays that the file format does not take."""


def save_safetensors(root: CID, source: BlockSource, path: Path, metadata: Mapping[str, str]) -> int:
    """Write the arrays of a content to ``path``, whole or not at all, with ``metadata`` in its header; how many bytes.

    Tensors are named by their keys, or by ``record/key`` where the content has several array records.

    Raises:
        NoModel: where there is nothing to write.
        protocol.content.ContentError: where the content is malformed.
        OSError: where the file cannot be written.
    """
    records = decode(root, source)
    data = save(_tensors(records), metadata={"content": str(root), **metadata})
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
    return len(data)


def _tensors(records: RecordDict) -> dict[str, np.ndarray]:
    found: dict[str, ArrayRecord] = dict(records.array_records)
    tensors = {
        key if len(found) == 1 else f"{name}/{key}": np.ascontiguousarray(array.numpy())
        for name, record in found.items()
        for key, array in record.items()
    }
    if not tensors:
        raise NoModel("the content holds no arrays")
    return tensors
