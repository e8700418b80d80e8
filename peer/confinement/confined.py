"""From what an owner grants to a process that is confined: what this machine and this Python add to it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from peer.base.errors import ExitCode, PeerError
from peer.confinement.machine import existing, gpus, machine_memory, python_places
from peer.confinement.means import Means, required
from peer.confinement.rules import (
    FOR_NETWORK,
    SYSTEM,
    Confinement,
    Grants,
    default_disk,
    default_memory,
    holds,
)
from peer.home.home import Home


@dataclass(frozen=True, slots=True)
class Confiner:
    """Confines app processes: the means, what the owner grants, and what is kept from an app by itself."""

    means: Means
    grants: Grants
    kept: tuple[Path, ...]
    """Places that no granted folder may hold: the user's home folder, with its keys, and the peer's."""
    meant: tuple[tuple[Path, Path], ...] = ()
    """Each grant, and where it led when it was given. An app that may write beside it could put a link there."""

    def confinement(self, read: Iterable[Path], write: Sequence[Path], temporary: Path) -> Confinement:
        """What a process may use that needs to ``read`` these places, and has these folders of its own: some to
        ``write``, and the ``temporary`` one as its ``/tmp``.

        Raises:
            PeerError: if a link now leads elsewhere from where a grant was.
        """
        for place, led_to in self.meant:
            if place.resolve() != led_to:
                raise PeerError(
                    f"{place} is not any more what was granted to the app: a link leads elsewhere now",
                    fix="look who put the link there, and start again",
                    code=ExitCode.WRONG_USE,
                )
        grants, own = self.grants, (*write, temporary)
        network = existing(FOR_NETWORK) if grants.network else ()
        return Confinement(
            read=tuple(dict.fromkeys([*existing(SYSTEM), *network, *python_places(self.kept), *grants.read, *read])),
            write=tuple(dict.fromkeys([*grants.write, *write])),
            memory=grants.memory or default_memory(machine_memory()),
            disk=grants.disk or default_disk(min(shutil.disk_usage(place).free for place in own)),
            own=own,
            network=grants.network,
            devices=gpus() if grants.gpu else (),
        )


def confiner(grants: Grants, home: Home, model: str | None = None) -> Confiner:
    """A confiner for the apps of the peer in ``home``, by the means that this machine has.

    A ``model`` (``module:Class``) that the owner named in the folder that we were started in is granted with it.

    Raises:
        PeerError: if it has none, or a granted folder holds what is to be kept from an app.
    """
    kept = tuple(place.resolve() for place in (home.path, Path.home()) if place != Path("/"))
    for folder in (*grants.read, *grants.write):
        if not folder.exists():
            raise PeerError(f"{folder} is not there", fix="name a folder that is", code=ExitCode.WRONG_USE)
        if (inside := holds(folder.resolve(), kept)) is not None:
            raise PeerError(
                f"{folder} is not granted to an app: {inside} is in it, with keys",
                fix="name the folder that the app needs alone",
                code=ExitCode.WRONG_USE,
            )
    grants = replace(grants, read=(*grants.read, *_of_model(model, kept)))
    meant = tuple((place, place.resolve()) for place in (*grants.read, *grants.write))
    return Confiner(required(), grants, kept, meant)


def _of_model(model: str | None, kept: Sequence[Path]) -> tuple[Path, ...]:
    """The folder that a model's module is in, as other modules may be beside it; the module alone, if that folder is
    one that may not be granted."""
    if model is None:
        return ()
    here = Path.cwd()
    name = model.partition(":")[0].partition(".")[0]
    found = existing((here / f"{name}.py", here / name))
    return found if holds(here.resolve(), kept) is not None or not found else (here,)
