"""How people name runs, heads and apps: by a CID, or by a CAR file."""

from __future__ import annotations

from pathlib import Path

from peer.base.errors import PeerError
from peer.home.home import Home
from peer.home.journal import Journal
from protocol.blocks.cid import CID, MalformedCid

_HEADS = "peer log shows the heads of this home's runs; a CAR file's name ends in .car"
_APPS = "peer app list shows the apps that runs wait for"


class NoSuchRun(PeerError):
    """What was named is not a run: no CID, no file with a run, or the CID of something else."""


def cid_of(text: str, fix: str = _HEADS) -> CID:
    """The CID that somebody typed; ``fix`` tells how to find one.

    Raises:
        NoSuchRun: if it is not a CID.
    """
    try:
        return CID.parse(text)
    except MalformedCid as error:
        raise NoSuchRun(f"{text!r} is no CID", fix=fix) from error


def app_cid(text: str) -> CID:
    """The app id that somebody typed.

    Raises:
        PeerError: if it cannot be an app's.
    """
    cid = cid_of(text, _APPS)
    if cid.is_raw:
        raise PeerError(f"{text} is the CID of plain bytes, not of an app", fix=_APPS)
    return cid


def is_car(text: str) -> bool:
    """Whether ``text`` names a CAR file rather than a CID."""
    return Path(text).suffix == ".car" or Path(text).is_file()


def head_named(home: Home, text: str) -> tuple[CID, int | None]:
    """The head that ``text`` names, and its height if the journal knows it."""
    cid = cid_of(text)
    if home.journal.exists():
        with Journal(home.journal) as journal:
            known = journal.head_of(cid) or journal.run_of(cid)
        if known is not None:
            return known.head, known.height
    return cid, None
