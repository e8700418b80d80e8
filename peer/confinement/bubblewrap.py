"""Confinement by ``bwrap``, bubblewrap's program: https://github.com/containers/bubblewrap. It needs no root."""

from __future__ import annotations

import shutil
from pathlib import Path

from peer.confinement.rules import TEMPORARY, Confinement


class Bubblewrap:
    """The program that is installed."""

    name = "bubblewrap"

    def why_absent(self) -> str:
        """Empty if the program is there."""
        return "" if shutil.which("bwrap") else "bwrap is not installed"

    def prefix(self, confinement: Confinement, temporary: Path, works_in: Path) -> list[str]:
        """As `peer.confinement.means.Means` says."""
        words = ["bwrap", "--unshare-user", "--unshare-all", "--disable-userns", "--cap-drop", "ALL"]
        words += ["--die-with-parent", "--proc", "/proc", "--dev", "/dev"]
        if confinement.network:
            words.append("--share-net")
        # What is written there is memory: nothing but what has a bound may be.
        words += ["--size", str(confinement.shared_memory), "--tmpfs", "/dev/shm"]
        for device in confinement.devices:
            words += ["--dev-bind", str(device), str(device)]
        # root needs no capability to write in /proc/sys, and so to have the kernel run a program outside
        words += ["--remount-ro", "/proc", "--remount-ro", "/dev", "--bind", str(temporary), str(TEMPORARY)]
        for place, may_write in confinement.places():
            words += ["--bind" if may_write else "--ro-bind", str(place), str(place)]
        return [*words, "--remount-ro", "/", "--chdir", str(works_in), "--"]
