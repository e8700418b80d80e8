"""From what the app asks for to the bodies of records: pure functions of the leader's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from protocol.app.calls import Outgoing
from protocol.blocks.cid import CID, Block
from protocol.blocks.listing import Listing, pack
from protocol.blocks.root_hints import MAX_ROOTS, root_hint
from protocol.blocks.typed import to_plain
from protocol.chain.chain import Chain
from protocol.records.bodies import CollectPrivate, DispatchPrivate, GridError, Group, Look, TakenReply
from protocol.records.message_ids import message_id

MAX_GROUP: Final = 4_096
"""Messages in one group of a dispatch: a group is one item of a listing and has to fit a leaf."""

MAX_REASONS: Final = 128 << 10
"""Characters in all the reasons of a collect: they are in the record's own block, at 4 bytes each at most."""

REASON_LEFT_OUT: Final = "there are more reasons in this collect than fit the record"


class Seen:
    """What the app saw since the last record: answers of ``get_node_ids`` in order, and empty pulls."""

    def __init__(self) -> None:
        self._looks: list[Look] = []
        self._empties = 0

    def looked(self, nodes: tuple[int, ...]) -> None:
        """The app was told ``nodes``."""
        if self._looks and self._looks[-1].nodes == nodes:
            self._looks[-1] = Look(nodes=nodes, count=self._looks[-1].count + 1)
        else:
            self._looks.append(Look(nodes=nodes, count=1))

    @property
    def last_look(self) -> tuple[int, ...] | None:
        """What the app was told last; None if it has not looked since the last record."""
        return self._looks[-1].nodes if self._looks else None

    def pulled_nothing(self) -> None:
        """A pull gave the app nothing."""
        self._empties += 1

    def take(self) -> tuple[Listing, int, list[Block]]:
        """The looks and the empty pulls for the next record, and the blocks the looks need; then begin anew."""
        listing, blocks = pack(to_plain(self._looks))
        empties, self._looks, self._empties = self._empties, [], 0
        return listing, empties, blocks


@dataclass(frozen=True, slots=True)
class Recorded:
    """A part of a body: its listing, its private part, and the blocks to store with it."""

    listing: Listing
    private: DispatchPrivate | CollectPrivate
    blocks: list[Block]


def record_messages(chain: Chain, messages: Sequence[Outgoing]) -> tuple[Recorded, tuple[bytes, ...]]:
    """The groups of a dispatch and the id of each message, in order."""
    kinds: dict[tuple[str, str], int] = {}
    groups: list[Group] = []
    addressed = zip(messages, _message_ids(chain, messages), strict=True)
    for _, run in groupby(
        addressed, key=lambda each: (each[0].content, repr(each[0].ttl), each[0].type, each[0].group)
    ):
        alike = list(run)
        first = alike[0][0]
        kind = kinds.setdefault((first.type, first.group), len(kinds))
        to = tuple((id, message.node) for message, id in alike)
        groups += [
            Group(content=first.content, ttl=first.ttl, kind=kind, to=to[at : at + MAX_GROUP])
            for at in range(0, len(to), MAX_GROUP)
        ]
    listing, blocks = pack(to_plain(groups))
    ids = tuple(id for group in groups for id, _ in group.to)
    return Recorded(listing, DispatchPrivate(kinds=tuple(kinds)), blocks), ids


def roots_of(messages: Iterable[Outgoing]) -> tuple[Block, ...]:
    """The root blocks of their contents that came with them, each once, as many as are sent along with the dispatch."""
    found: dict[CID, Block] = {}
    room = MAX_ROOTS
    for message in messages:
        if message.content not in found and (root := root_hint(message.content, message.root, room)) is not None:
            found[root.cid] = root
            room -= len(root.data)
    return tuple(found.values())


def _message_ids(chain: Chain, messages: Sequence[Outgoing]) -> Iterator[bytes]:
    """Each message's id, which counts its addressee's messages, those earlier in the same push included."""
    sent: Counter[int] = Counter()
    for message in messages:
        ordinal = chain.ordinal(message.node) + sent[message.node]
        sent[message.node] += 1
        yield message_id(chain.run, message.node, ordinal, message.content, message.type)


class Answers:
    """The answers of a collect, in the order they are added."""

    def __init__(self) -> None:
        self._items: list[TakenReply | GridError] = []
        self._reasons: dict[str, int] = {}
        self._characters = 0

    def took(self, reply: CID) -> None:
        """A client's reply, by its record."""
        self._items.append(TakenReply(reply=reply))

    def failed(self, message: bytes, code: int, reason: str, created: float, refused: CID | None = None) -> str:
        """An error that the Grid makes, and the reply that it refused if there is one; the reason as recorded.

        A longer list of reasons than fits a record ends with one for all that are left.
        """
        if reason not in self._reasons and self._characters + len(reason) > MAX_REASONS:
            reason = REASON_LEFT_OUT
        if reason not in self._reasons:
            self._characters += len(reason)
        why = self._reasons.setdefault(reason, len(self._reasons))
        self._items.append(GridError(message=message, code=code, why=why, created=created, refused=refused))
        return reason

    def record(self) -> Recorded:
        """The answers as a collect has them."""
        listing, blocks = pack(to_plain(self._items))
        return Recorded(listing, CollectPrivate(reasons=tuple(self._reasons)), blocks)
