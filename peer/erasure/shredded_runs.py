"""What people are told of a run whose keys were destroyed."""

from __future__ import annotations

from datetime import UTC, datetime

from crypto.keys import VerifyKey
from peer.home.federations import StoredFederation
from protocol.blocks.cid import CID
from protocol.federation.shreddings import Shredding, shredding_of
from protocol.visible import named


def by_whom(stored: StoredFederation, shredding: Shredding) -> str:
    """When, by which admins, and why."""
    admins = " and ".join(_admin(stored, key) for key in shredding.by)
    day = datetime.fromtimestamp(shredding.at, UTC).strftime("%Y-%m-%d")
    part = "" if shredding.epoch == 1 else f" from epoch {shredding.epoch} on"
    reason = f" ({named(shredding.reason)})" if shredding.reason else ""
    return f"on {day} by {admins}{part}{reason}"


def _admin(stored: StoredFederation, key: bytes) -> str:
    """Whose key it was: an admin's that may have newer keys since."""
    manifest = stored.manifest
    owner = next((each for each in manifest.members if key in stored.signing_keys(each)), None)
    return VerifyKey(key).did if owner is None else manifest.called(owner)


def why_shredded(stored: StoredFederation | None, run: CID) -> str:
    """Why the contents of ``run`` cannot be read, in words; empty if its federation has not shredded it, or is not
    known."""
    shredding = None if stored is None else shredding_of(stored.manifest.shredded, run)
    if stored is None or shredding is None:
        return ""
    return f"the run was shredded {by_whom(stored, shredding)}: its contents cannot be read"
