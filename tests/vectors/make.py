"""Writes the vector files beside it, the same bytes each time: ``python tests/vectors/make.py``.

A format has one module here, whose function gives what its file holds; to add one, add it to `FILES`. ``crypto.json``
is not made: it fixes what its own test derives. ``sealed.json`` is written last; the others are made from it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), *(str(HERE.parent / folder) for folder in ("protocol", "protocol/spoiled"))]

from announcements import announcement_vectors  # noqa: E402  # the path is set just above
from asking import asking_vectors  # noqa: E402
from blocks import block_vectors  # noqa: E402
from chain_rules import chain_rule_vectors  # noqa: E402
from contents import content_vectors  # noqa: E402
from encrypted import encrypted_before_vectors, encrypted_vectors  # noqa: E402
from joining import joining_vectors  # noqa: E402
from records import record_vectors  # noqa: E402
from sealed import FILE as SEALED  # noqa: E402
from sealed import seals_used  # noqa: E402

FILES: dict[str, Callable[[], dict[str, object]]] = {
    "announcements.json": announcement_vectors,
    "asking.json": asking_vectors,
    "blocks.json": block_vectors,
    "chain_rules.json": chain_rule_vectors,
    "contents.json": content_vectors,
    "encrypted.json": encrypted_vectors,
    "encrypted_before.json": encrypted_before_vectors,
    "joining.json": joining_vectors,
    "records.json": record_vectors,
}


def text_of(vectors: dict[str, object]) -> str:
    """What a vector file holds."""
    return json.dumps(vectors, indent=2) + "\n"


if __name__ == "__main__":
    for name, vectors in FILES.items():
        (HERE / name).write_text(text_of(vectors()), encoding="utf-8")
    SEALED.write_text(text_of(seals_used()), encoding="utf-8")
