"""What ``peer doctor`` finds out about pubsub: whether the node sends what it should, and who hears it.

Kubo does not tell what it drops. So the doctor tries the first, and asks members the second (`protocol.wire.asking`).
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Final

from crypto.symmetric import SymmetricKey
from peer.engine.interface import AskingOff, Engine, EngineError, PublishRefused, Streams
from peer.home.federations import StoredFederation
from protocol.records.bodies import Role
from protocol.wire.asking import Answer, BadMessage, Channel, Place, Question, is_asked

_TOPIC: Final = "/pollen/1/doctor"
"""A topic to which nobody listens."""

_MOST: Final = 64
"""The most places at which members are looked for."""


def why_refused(engine: Engine) -> PublishRefused | None:
    """Why the engine refuses to publish; None if it publishes.

    Raises:
        EngineError: if it cannot be used.
    """
    try:
        engine.publish(_TOPIC, os.urandom(16))
    except PublishRefused as error:
        return error
    return None


def why_not_asked(streams: Streams) -> AskingOff | None:
    """Why members cannot be asked through the engine; None if they can.

    Raises:
        EngineError: if it cannot be used.
    """
    try:
        streams.listen(f"pollen/1/doctor/{os.urandom(8).hex()}", lambda _node, _question: None).close()
    except AskingOff as error:
        return error
    return None


def hearers(streams: Streams, federation: StoredFederation, own: frozenset[bytes]) -> list[bool]:
    """For each member that answers now, whether it hears our engine by pubsub. The members ``own`` are ours, and not
    asked. If we are a client, only servers and keepers are asked, because only they hear clients.

    Raises:
        EngineError: if the engine cannot be used.
    """
    members = federation.manifest.members
    we_lead = any(Role.SERVER in members[each].roles for each in own if each in members)
    asked = [each.id for each in members.values() if each.id not in own and (we_lead or is_asked(each))]
    key = SymmetricKey(federation.swarm_key)
    channels = [Channel(federation.id, member, key) for member in asked]
    nodes = streams.nodes()
    places = islice(((node, channel) for channel in channels for node in nodes), _MOST)
    with ThreadPoolExecutor(8) as pool:
        return [said for said in pool.map(lambda place: _hears(streams, *place), places) if said is not None]


def _hears(streams: Streams, node: str, channel: Channel) -> bool | None:
    nothing = Place()
    question = Question((nothing.board, nothing.number), [], None)
    try:
        return channel.read(streams.ask(node, channel.name, channel.write(question)), Answer).hears
    except (EngineError, BadMessage):
        return None
