"""When most servers contradict a record of a leader's together: each came to the same content, and it is another one.

One word against a record stops a run (`protocol.witnesses.vouching`), because nobody can tell who lies. This is more:
whoever would have the leader's record stand has to believe that more than half of the servers lie alike.
"""

from __future__ import annotations

from collections.abc import Iterable

from protocol.federation.manifest import Manifest
from protocol.federation.voters import majority_of
from protocol.records.bodies import Comparison, RecomputedAck
from protocol.witnesses.needed import possible_witnesses


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
