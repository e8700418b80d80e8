"""A client that is removed between the look of an app at the nodes and its push: its message gets an error.

Flower's strategies look, then push; the manifest may change in between, and the app cannot know. The run goes on.
"""

from __future__ import annotations

import pytest
from attacked import Attacked, leading
from chains import ADMIN, ALICE, BOB, CONTENT, Scribe, begun, id_of, node_of

from protocol.app.calls import ErrorCode, GetNodes, Nodes, Outgoing, Push, Pushed, PushRefused, Replies, Wait
from protocol.blocks.cid import CID
from protocol.chain import rules
from protocol.federation.unsigned_versions import without_member
from protocol.roles.effects import Hand
from protocol.roles.events import AppCalled, ManifestChanged
from protocol.roles.leader.leader import Leader
from protocol.roles.newest_manifest import NewestManifest
from protocol.wire.announcements import Beat, PeerState

BOTH = tuple(sorted((node_of(ALICE), node_of(BOB))))


def without_bob(scribe: Scribe, of: Scribe | NewestManifest) -> CID:
    manifest = of.manifest
    unsigned = without_member(manifest, id_of(BOB), by=id_of(ADMIN), time=1.0)
    return scribe.next_manifest(unsigned).cid


def answer(leader: Attacked, call: object) -> object:
    """What the app is handed for a call."""
    leader.feed(AppCalled(call))  # type: ignore[arg-type]  # any of the calls
    return leader.all(Hand)[-1].value


def removed_after_a_look() -> Attacked:
    """A leader whose app looked, and saw Alice and Bob; Bob was removed since."""
    leader = leading()
    for client in (ALICE, BOB):
        leader.say(client, Beat(leader.manifest, PeerState.IDLE))
    assert answer(leader, GetNodes(2)) == Nodes(2, BOTH)
    assert isinstance(leader.machine, Leader)
    leader.feed(ManifestChanged(without_bob(leader.scribe, leader.machine.machine.newest), leader.scribe.source))
    assert leader.machine.chain.manifest.version == 2
    return leader


def push(call: int) -> Push:
    return Push(call, tuple(Outgoing(CONTENT, "train", "2", 3600.0, node) for node in BOTH))


def test_its_message_is_answered_with_an_error() -> None:
    leader = removed_after_a_look()
    pushed = answer(leader, push(3))
    assert isinstance(pushed, Pushed)
    to_bob = pushed.messages[BOTH.index(node_of(BOB))]
    replies = answer(leader, Wait(4, (to_bob,), None))
    assert isinstance(replies, Replies)
    assert [(reply.message, reply.code) for reply in replies.replies] == [(to_bob, ErrorCode.NODE_UNAVAILABLE)]


def test_once_the_app_has_looked_again_it_is_no_node() -> None:
    leader = removed_after_a_look()
    assert answer(leader, GetNodes(3)) == Nodes(3, (node_of(ALICE),))
    assert isinstance(answer(leader, push(4)), PushRefused)


def test_the_chain_lets_it_be_asked_until_the_next_look() -> None:
    scribe = begun()
    looks = scribe.pack([scribe.look(ALICE, BOB)])
    scribe.add(scribe.roster(without_bob(scribe, scribe), looks=looks))
    late = scribe.dispatch(scribe.group(BOB), looks=scribe.pack([scribe.look(ALICE)]))
    with pytest.raises(rules.Addressee):
        scribe.add(late)
    scribe.add(scribe.dispatch(scribe.group(BOB)))
