"""What contents an app process is given, as one word in its environment: an engine's address may hold a password, and
all users of a machine see command lines.

The word is an engine's address, whose blocks it reads and writes itself; or ``asked:`` and the number of a socket that
it inherits, over which it asks its peer for blocks; or ``recorded:`` and that, for a replay, which writes nothing.
"""

from __future__ import annotations

import socket
from typing import Final

from peer.apps.asked_blocks import AskedBlocks, AskedContents
from peer.engine import open_engine
from peer.engine.contents import EngineContents, RecordedContents
from peer.engine.engine_retries import EngineRetries

CONTENTS_VARIABLE: Final = "POLLEN_CONTENTS"

ASKED: Final = "asked:"
RECORDED: Final = "recorded:"


def open_contents(where: str) -> EngineContents | AskedContents | RecordedContents:
    """The contents that the word says.

    Raises:
        EngineError: if the engine cannot be used.
    """
    if where.startswith(ASKED):
        return _asked(where.removeprefix(ASKED))
    if where.startswith(RECORDED):
        return RecordedContents(_asked(where.removeprefix(RECORDED)))
    return EngineContents(EngineRetries()(lambda: open_engine(where)))  # it may be away while this process starts


def _asked(descriptor: str) -> AskedContents:
    return AskedContents(AskedBlocks(socket.socket(fileno=int(descriptor))))
