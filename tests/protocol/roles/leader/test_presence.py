"""Which clients count as here: silence is measured by how often a member of so large a federation speaks."""

from __future__ import annotations

import pytest

from protocol.roles.leader.presence import AWAY_AFTER, Presence, Sighting
from protocol.roles.offline_times import OfflineTimes
from protocol.wire.announcements import PeerState, beat_interval

CLIENT = bytes(32)


def fades_after(members: int) -> float:
    presence = Presence(AWAY_AFTER, OfflineTimes())
    presence.heard(CLIENT, Sighting(0.0, PeerState.IDLE, None, ""))
    fading = presence.next_fading(members)
    assert fading is not None
    assert presence.fade(members, fading - 0.1) == ()
    assert len(presence.fade(members, fading)) == 1
    return fading


@pytest.mark.parametrize("members", [2, 50])
def test_a_client_of_a_small_federation_is_away_after_15_seconds(members: int) -> None:
    assert fades_after(members) == AWAY_AFTER


@pytest.mark.parametrize("members", [200, 400, 5000])
def test_a_client_of_a_large_federation_may_leave_out_two_beats(members: int) -> None:
    assert fades_after(members) > 2 * beat_interval(members)
