"""Where an app process finds contents, as one word in its environment (`peer.engine.contents.open_contents` takes it):
an
engine's address may hold a password, and all users of a machine see command lines.

It is an engine's address, ``recorded:`` and that, or ``car:`` and a file. The last two are for a replay, which writes
nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from peer.engine.interface import Engine

CONTENTS_VARIABLE: Final = "POLLEN_CONTENTS"

RECORDED: Final = "recorded:"
CAR: Final = "car:"


def recorded_contents(engine: Engine) -> str:
    """Contents that are read from ``engine`` and written nowhere."""
    return RECORDED + engine.address


def car_contents(path: Path) -> str:
    """Contents that are read from a CAR file and written nowhere."""
    return f"{CAR}{path.absolute()}"
