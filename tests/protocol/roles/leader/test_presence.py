"""Which clients count as here: silence is measured by how often a member of so large a federation speaks."""

from __future__ import annotations

import pytest
from attacked import leading
from chains import ALICE, node_of

from protocol.roles.effects import What
from protocol.roles.leader.presence import AWAY_AFTER, Presence, Sighting
from protocol.roles.offline_times import OfflineTimes
from protocol.wire.announcements import Beat, Bye, PeerState, beat_interval

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


@pytest.mark.parametrize("first", [PeerState.IDLE, PeerState.REFUSED])
def test_what_a_client_said_before_is_overtaken_though_it_comes_later(first: PeerState) -> None:
    leader = leading()
    others = {PeerState.IDLE: PeerState.REFUSED, PeerState.REFUSED: PeerState.IDLE}
    before, after = (leader.said(ALICE, Beat(leader.manifest, state, None)) for state in (first, others[first]))
    leader.feed(after)
    leader.feed(before)
    listed = node_of(ALICE) in leader.machine._clients.presence.listed(leader.scribe.manifest)
    assert listed is (first is PeerState.REFUSED)


def test_a_client_that_has_left_is_not_back_because_an_older_beat_comes() -> None:
    leader = leading()
    beat, bye = leader.said(ALICE, Beat(leader.manifest, PeerState.IDLE, None)), leader.said(ALICE, Bye())
    leader.feed(bye)
    leader.feed(beat)
    assert not leader.reported(What.PEER_HERE)
