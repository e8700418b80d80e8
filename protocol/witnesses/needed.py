"""How many servers besides the leader have to vouch for what is trained on, and which of them can."""

from __future__ import annotations

from protocol.federation.manifest import Manifest
from protocol.records.bodies import Role


def witnesses_needed(asked: int, manifest: Manifest) -> int:
    """How many witnesses a training message needs. ``asked`` is what its run asks for, and ``manifest`` is in force: a
    run may ask for more than its federation does, and never for less."""
    return max(asked, manifest.settings.witnesses)


def possible_witnesses(manifest: Manifest, leader: bytes) -> frozenset[bytes]:
    """The members that can vouch for what ``leader`` sends: the other servers."""
    return manifest.ids_of(Role.SERVER) - {leader}
