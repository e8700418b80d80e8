"""Confinement by user namespaces alone, where bubblewrap is not installed: `peer.confinement.enter` makes them."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Final

from peer.confinement.rules import Confinement

_ENTER: Final = Path(__file__).with_name("enter.py")


class Namespaces:
    """What the kernel has, if its administrator lets users have it."""

    name = "user namespaces"

    def why_absent(self) -> str:
        """Empty: only trying shows it."""
        return ""

    def prefix(self, confinement: Confinement, temporary: Path, works_in: Path) -> list[str]:
        """As `peer.confinement.means.Means` says."""
        plan = {
            "parent": os.getpid(),
            "temporary": str(temporary),
            "works_in": str(works_in),
            "places": [[str(place.resolve()), str(place), may_write] for place, may_write in confinement.places()],
            "devices": [[str(device.resolve()), str(device)] for device in confinement.devices],
            "network": confinement.network,
            "shared_memory": confinement.shared_memory,
        }
        return [sys.executable, "-I", "-S", str(_ENTER), json.dumps(plan)]
