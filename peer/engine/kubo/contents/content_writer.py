"""Storing blocks and whole contents in a Kubo node."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Final

from peer.engine.interface import EngineError, Unreachable
from peer.engine.kubo.api import KuboApi, KuboRefused
from peer.engine.kubo.contents.node_blocks import NodeBlocks
from peer.engine.kubo.contents.node_files import NodeFiles
from peer.engine.kubo.contents.node_pins import NodePins
from peer.engine.kubo.contents.waiting_pins import WaitingPins
from peer.engine.linked_blocks import links_of, reached
from protocol.blocks.car import write_car
from protocol.blocks.cid import CID, Block

_FEW_BLOCKS: Final = 8
"""So many blocks of a content are stored by one call, which is quicker for them. If there are more, chunks are
written to the node's files."""


class ContentWriter:
    """Stores what it is given in one node, all on disk at return. ``files`` are the node's own, if blocks may be
    written there, and ``waiting`` is where pins may be noted that the node sets later: then it is not called at all."""

    def __init__(
        self, api: KuboApi, blocks: NodeBlocks, pins: NodePins, files: NodeFiles | None, waiting: WaitingPins | None
    ) -> None:
        self._api = api
        self._blocks = blocks
        self._pins = pins
        self._files = files
        self._waiting = waiting

    def put(self, blocks: Iterable[Block], pin: Sequence[CID]) -> None:
        """Store ``blocks``, and pin those of ``pin`` alone."""
        if self._files is not None and (waiting := self._waiting) is not None:
            with waiting.beside_others():
                self._files.write(blocks, lambda: waiting.mark(pin, recursive=False))
            return
        self._import([], blocks)
        if pin:
            self._pins.add(pin)

    def put_content(self, root: CID, blocks: Iterable[Block]) -> None:
        """As `peer.engine.interface.Engine` says. Blocks are written to the node's own files, if it takes them and pins
        may wait; else chunks are, if they are many: through the API they would be copied and hashed once more."""
        given = _Given()
        rest = given.noted(blocks)
        if self._files is not None and (waiting := self._waiting) is not None:

            def pinned() -> Sequence[Path]:
                self._check_whole(root, given)
                return waiting.mark([root], recursive=True)

            with waiting.beside_others():
                self._files.write(rest, pinned)
            return
        few = list(islice(rest, _FEW_BLOCKS + 1))
        if len(few) > _FEW_BLOCKS and self._files is not None:
            failure = self._store_beside(self._files, root, chain(few, rest), given)
        else:
            failure = self._import([root], self._then_whole(root, chain(few, rest), given))
        if failure:
            why = self._api.meaning(failure)
            raise Unreachable(root, f"{root} could not be pinned: {failure}") if isinstance(why, KuboRefused) else why

    def _then_whole(self, root: CID, blocks: Iterable[Block], given: _Given) -> Iterator[Block]:
        """``blocks``, after which all of ``root`` is here. A node that pins what is not whole asks others for the rest,
        and does not answer meanwhile.

        Raises:
            Unreachable: at the end, if a block is not here and was not given.
        """
        yield from blocks
        self._check_whole(root, given)

    def _check_whole(self, root: CID, given: _Given) -> None:
        for cid in self._blocks.missing(given.left_out(root, self._blocks.links)):
            raise Unreachable(cid, f"{root} is not whole: {cid} was left out, and is not here any more")

    def _store_beside(self, files: NodeFiles, root: CID, blocks: Iterable[Block], given: _Given) -> str:
        """Write the chunks to the node's ``files``, and have it import what links to them, which makes it look at each.
        Returns what `_import` does."""
        linking: list[Block] = []

        def chunks() -> Iterator[Block]:
            for block in blocks:
                if block.cid.is_raw:
                    yield block
                else:
                    linking.append(block)

        files.write(chunks())
        return self._import([root], self._then_whole(root, linking, given))

    def _import(self, roots: Sequence[CID], blocks: Iterable[Block]) -> str:
        """Store blocks in one call, and pin ``roots`` recursively. Returns why they could not be pinned; empty if they
        were.

        Raises:
            EngineError: also if the node took fewer blocks than it was given.
        """
        given = 0

        def counted() -> Iterator[Block]:
            nonlocal given
            for block in blocks:
                given += 1
                yield block

        answer = self._api.call(
            "dag/import",
            upload=write_car(roots, counted()),
            pin_roots=bool(roots),
            stats=True,
            fast_provide_root=False,
        )
        lines = [self._api.said(line) for line in answer.splitlines()]
        try:
            (taken,) = (line["Stats"]["BlockCount"] for line in lines if line.get("Stats"))
            failures = "".join(line["Root"]["PinErrorMsg"] for line in lines if line.get("Root"))
        except (KeyError, TypeError, ValueError) as error:
            raise self._api.no_kubo() from error
        if taken != given:
            raise EngineError(f"the Kubo node at {self._api.shown} took {taken} of {given} blocks")
        return failures


class _Given:
    """What was given of a content."""

    def __init__(self) -> None:
        self._links: dict[CID, list[CID]] = {}

    def noted(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """``blocks``, each noted as it passes."""
        for block in blocks:
            self._links[block.cid] = links_of(block)
            yield block

    def left_out(self, root: CID, links: Callable[[CID], Sequence[CID]]) -> list[CID]:
        """What was not given of ``root`` and all that it links to. ``links`` says what those that are here link to."""

        def known(cid: CID) -> Sequence[CID]:
            return self._links[cid] if cid in self._links else links(cid)

        return [cid for cid in reached(root, known) if cid not in self._links]
