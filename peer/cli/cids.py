"""CIDs that people type."""

from __future__ import annotations

from peer.errors import ExitCode, PeerError
from protocol.blocks import CID, MalformedCid


def cid_of(text: str) -> CID:
    """The CID that somebody typed.

    Raises:
        PeerError: where it is none.
    """
    try:
        return CID.parse(text)
    except MalformedCid as error:
        raise PeerError(
            f"{text!r} is no CID",
            mend="peer log shows the heads of this home's runs; a CAR file's name ends in .car",
            code=ExitCode.WRONG_USE,
        ) from error


def app_cid(text: str) -> CID:
    """The id of an app that somebody typed.

    Raises:
        PeerError: where it can be none's.
    """
    cid = cid_of(text)
    if cid.is_raw:
        raise PeerError(
            f"{text} is the CID of plain bytes, not of an app",
            mend="peer app list shows the apps that runs wait for",
            code=ExitCode.WRONG_USE,
        )
    return cid
