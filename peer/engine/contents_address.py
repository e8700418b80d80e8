"""Where an app process finds contents: one word in its environment, which `peer.engine.contents.open_contents` takes.
It is not on the command line, which all users of a machine see, because an engine's address may hold a password.

The word is an engine's address, ``recorded:`` and such an address, or ``car:`` and a file. The last two are for a
replay, which writes nothing.
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
