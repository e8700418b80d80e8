"""How much of a run an auditor has confirmed, which the plan ``updates=until-audited`` waits for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from protocol.federation.manifest import Manifest
from protocol.records.bodies import Role

_OTHERWISE = {Role.SERVER, Role.CLIENT}
"""Who has one of these roles acks what it has followed, whether or not it is an auditor too."""


def audited_height(heights: Mapping[bytes, int], manifest: Manifest) -> int | None:
    """The height up to which an auditor has confirmed a run; None if none did.

    ``heights`` are those of acks that are on the chain, by member id. Only an auditor that is neither server nor client
    counts: its ack says that it has audited the run, with all contents. ``manifest`` is the one in force.
    """
    return max(_by_auditors(heights, manifest), default=None)


def _by_auditors(heights: Mapping[bytes, int], manifest: Manifest) -> Iterable[int]:
    for id, height in heights.items():
        member = manifest.members.get(id)
        if member is not None and Role.AUDITOR in member.roles and not _OTHERWISE.intersection(member.roles):
            yield height
