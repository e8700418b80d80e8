"""When most servers contradict a record of a leader's together: each came to the same content, and it is another one.

One word against a record stops a run (`protocol.witnesses.vouching`), because nobody can tell who lies. This is more:
whoever would have the leader's record stand has to believe that more than half of the servers lie alike.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from protocol.blocks.cid import CID, Block
from protocol.federation.manifest import Manifest
from protocol.federation.voters import majority_of
from protocol.records.bodies import Comparison, Dispatch, RecomputedAck, Role
from protocol.records.signed_records import parse_record
from protocol.witnesses.needed import possible_witnesses


@dataclass(frozen=True, slots=True)
class Agreement:
    """A dispatch, and the words of more than half of the servers that contradict it, all alike."""

    against: Block
    """The dispatch."""
    dispatch: Dispatch
    """What is in ``against``."""
    words: tuple[Block, ...]
    """In rising order of server, each once."""
    by: frozenset[bytes]
    """Their authors. One of them may lead on."""

    @property
    def before(self) -> CID:
        """The record before the dispatch: a takeover against it goes on from there."""
        before = self.dispatch.prev
        assert before is not None  # a dispatch follows a run record
        return before


def agreement(against: Block, words: Iterable[Block], manifest: Manifest, newest: Manifest) -> Agreement | None:
    """What most servers agree on against a record; None if that is no dispatch (a contradicted close is left to
    people), or they do not agree. Who signed ``words`` is judged elsewhere.

    ``manifest`` is in force at the record. Who is no server in the ``newest``, or has signed with a key that is revoked
    there, does not count any more. A word to something else is left out: one server that lies keeps nobody from
    agreeing.
    """
    dispatch = parse_record(against).body
    if not isinstance(dispatch, Dispatch):
        return None
    alike: dict[object, dict[bytes, tuple[RecomputedAck, Block]]] = defaultdict(dict)
    for block in words:
        word = parse_record(block)
        said = word.body
        assert isinstance(said, RecomputedAck)
        counts = said.by in newest.ids_of(Role.SERVER) and set(word.signers).isdisjoint(newest.revoked)
        if counts and is_about(said, dispatch, against.cid):
            alike[said.recomputed.message, said.recomputed.content][said.by] = said, block
    for by_author in alike.values():
        in_order = [by_author[by] for by in sorted(by_author)]
        if not why_no_agreement((said for said, _ in in_order), manifest, dispatch.by):
            return Agreement(against, dispatch, tuple(block for _, block in in_order), frozenset(by_author))
    return None


def is_about(word: RecomputedAck, dispatch: Dispatch, cid: CID) -> bool:
    """Whether a server's word is about a dispatch, and its place."""
    return (word.run, word.term, word.height, word.head) == (dispatch.run, dispatch.term, dispatch.height, cid)


def why_no_agreement(words: Iterable[RecomputedAck], manifest: Manifest, leader: bytes) -> str:
    """Why ``words`` are not those of more than half of the servers in ``manifest`` against one record of ``leader``;
    empty if they are. Who signed them, and about which record they are, is judged elsewhere.

    The leader is one of the servers and never speaks against itself. So of two servers, no majority is possible, and
    of three both others have to agree.
    """
    others, by, said = possible_witnesses(manifest, leader), set[bytes](), set[object]()
    for word in words:
        told = word.recomputed
        if word.by not in others:
            return f"{manifest.called(word.by)} is none of the other servers in manifest {manifest.cid}"
        if told.comparison is not Comparison.DIVERGED or told.content is None:
            return f"{manifest.called(word.by)} does not say to what else it came"
        by.add(word.by)
        said.add((told.message, told.content))
    servers = others | {leader}
    if len(by) < majority_of(servers):
        return f"{len(by)} of {len(servers)} servers contradict it, and it takes {majority_of(servers)}"
    return "" if len(said) == 1 else "the servers contradict each other, too"
