"""Reading whole contents that a Kubo node has."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from peer.engine.interface import Unreachable
from peer.engine.kubo.api import KuboApi, KuboRefused
from peer.engine.kubo.contents.node_blocks import NodeBlocks
from peer.engine.linked_blocks import complete, walk
from protocol.blocks.car import CarCutShort, read_car
from protocol.blocks.cid import CID, Block, MissingBlock


class ContentReader:
    """Reads the contents of one node."""

    def __init__(self, api: KuboApi, blocks: NodeBlocks) -> None:
        self._api = api
        self._blocks = blocks

    def read(self, root: CID) -> Iterable[Block]:
        """As `peer.engine.interface.Engine` says. A node that has to be asked is asked once, for all of it."""
        if self._blocks.in_files(root) is None:
            return self._exported(root)
        return self._walked(root)

    def _walked(self, root: CID) -> Iterator[Block]:
        try:
            yield from walk(root, lambda cid: Block(cid, self._blocks.get_here(cid)))
        except MissingBlock as error:
            raise self._not_whole(root, error) from error

    def _exported(self, root: CID) -> Iterator[Block]:
        try:
            response = self._api.open("dag/export", str(root), progress=False, offline=True)
            with contextlib.closing(response), self._api.translated():
                yield from complete(root, read_car(_Body(response.iter_raw()))[1])
        except (KuboRefused, CarCutShort) as error:
            raise Unreachable(root, f"{root} is not whole on the Kubo node at {self._api.shown}") from error
        except MissingBlock as error:
            raise self._not_whole(root, error) from error

    def _not_whole(self, root: CID, error: MissingBlock) -> Unreachable:
        return Unreachable(error.cid, f"{root} is not whole: {error.cid} is not on the Kubo node at {self._api.shown}")


class _Body:
    """The body of an answer, as a stream to `read`."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self._rest = memoryview(b"")

    def read(self, size: int, /) -> bytes:
        """``size`` bytes; fewer only at the end."""
        found: list[memoryview] = []
        while size:
            if not self._rest:
                part = next(self._parts, None)
                if part is None:
                    break
                self._rest = memoryview(part)
            found.append(self._rest[:size])
            self._rest = self._rest[size:]
            size -= len(found[-1])
        return b"".join(found)
