"""What the owner of a server that stands by sees of the others."""

from __future__ import annotations

from attacked import Attacked, standing_by
from chains import SERVER, begun

from protocol.roles.effects import What
from protocol.roles.leader.presence import AWAY_AFTER
from protocol.status.role_status import Doing
from protocol.wire.announcements import Beat, Bye, PeerState


def doing(standby: Attacked) -> dict[str, Doing]:
    return {each.name: each.doing for each in standby.machine.machine.status(standby.now).members}


def test_it_sees_that_another_standby_is_here_and_says_nothing_of_that() -> None:
    standby = standing_by(begun())
    for _ in range(3):
        standby.wait(AWAY_AFTER - 1)
        standby.say(SERVER, Beat(standby.manifest, PeerState.IDLE, None))
        assert doing(standby) == {"server": Doing.HERE}
    standby.say(SERVER, Bye())
    assert doing(standby) == {"server": Doing.UNHEARD}
    assert not standby.reported(What.PEER_HERE)
