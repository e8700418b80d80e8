"""When most servers contradict a record of a leader's together: each came to the same content, and it is another one.

One word against a record stops a run (`protocol.witnesses.vouching`), because nobody can tell who lies. This is more:
whoever would have the leader's record stand has to believe that more than half of the servers lie alike.
"""

from __future__ import annotations

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
    """A dispatch, and the words of more than half of the servers that contradict it."""

    against: Block
    """The dispatch."""
    words: tuple[Block, ...]
    """In rising order of server, each once."""

    @property
    def dispatch(self) -> Dispatch:
        """What is in ``against``."""
        body = parse_record(self.against).body
        assert isinstance(body, Dispatch)
        return body

    @property
    def before(self) -> CID:
        """The record before the dispatch: a takeover against it goes on from there."""
        before = self.dispatch.prev
        assert before is not None  # a dispatch follows a run record
        return before

    @property
    def by(self) -> frozenset[bytes]:
        """The servers. One of them may lead on."""
        return frozenset(parse_record(word).body.by for word in self.words)

    def why_not(self, manifest: Manifest, newest: Manifest) -> str:
        """Why it does not hold; empty if it does. ``manifest`` is in force at the dispatch. Who is no server in the
        ``newest`` manifest, or has signed with a key that is revoked there, does not count any more."""
        words: list[RecomputedAck] = []
        for block in self.words:
            word = parse_record(block)
            assert isinstance(word.body, RecomputedAck)
            if word.body.by in newest.ids_of(Role.SERVER) and not set(word.signers) & set(newest.revoked):
                words.append(word.body)
        return why_no_agreement(words, manifest, self.dispatch.by)


def agreement(against: Block, words: Iterable[Block]) -> Agreement | None:
    """``words`` against a record, in order; None if that is no dispatch: a contradicted close is left to people. Which
    of the words count is judged by `Agreement.why_not`."""
    if not isinstance(parse_record(against).body, Dispatch):
        return None
    by_author = {parse_record(word).body.by: word for word in words}
    return Agreement(against, tuple(by_author[by] for by in sorted(by_author)))


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
