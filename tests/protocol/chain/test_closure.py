"""Which blocks a record needs, found step by step as they arrive."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from chains import (
    ADMIN,
    ALICE,
    ANSWER,
    BOB,
    CONTENT,
    TIME,
    Blocks,
    Scribe,
    begun,
    id_of,
    node_of,
)

from protocol.blocks.cid import CID, Block, BlockError, cbor_block
from protocol.blocks.listing import LEAF_LIMIT, Listing
from protocol.chain.chain import Chain
from protocol.chain.closure import ClosureTooLarge, contents, missing
from protocol.federation.manifest import next_manifest
from protocol.federation.unsigned_versions import next_version
from protocol.records.bodies import Body, Group, Look, TakenReply
from protocol.records.signed_records import parse_record


def record_of(scribe: Scribe, cid: CID) -> Block:
    return Block(cid, scribe.source[cid])


def fetched(block: Block | CID, elsewhere: Blocks, trusted: CID | None = None) -> tuple[Blocks, int]:
    """What a peer with nothing ends up with, and in how many steps it asked for it."""
    here, steps = Blocks(), 0
    while lacking := missing(block, here, trusted):
        assert len(set(lacking)) == len(lacking)
        here.update({cid: elsewhere[cid] for cid in lacking})
        steps += 1
    return here, steps


def with_versions(count: int) -> Scribe:
    """A scribe whose manifest is that many versions old."""
    scribe = Scribe()
    while scribe.manifest.version < count:
        unsigned = next_version(scribe.manifest, by=id_of(ADMIN), time=TIME)
        block = scribe.next_manifest(unsigned)
        scribe.manifest = next_manifest(scribe.manifest, parse_record(block), scribe.source)
    return scribe


def long_looks(scribe: Scribe) -> Listing:
    """A listing of looks that fills two leaves."""
    look = scribe.look(ALICE, BOB)
    return scribe.pack([Look(nodes=look.nodes, count=n + 1) for n in range(LEAF_LIMIT // 30)])


def test_a_cid_that_is_not_here_is_what_is_missing():
    assert missing(CONTENT, Blocks()) == [CONTENT]


def test_a_record_with_everything_in_place_needs_nothing():
    scribe = begun()
    assert missing(scribe.sign(scribe.close()), Blocks()) == []


def test_a_run_record_needs_its_manifest_back_to_version_1():
    scribe = with_versions(3)
    block = scribe.sign(scribe.run())
    here, steps = fetched(block, scribe.source)
    assert (len(here), steps) == (3, 3)
    Chain(scribe.first.cid).append_block(block, here)


def test_a_manifest_that_is_trusted_is_not_needed():
    scribe = with_versions(3)
    block = scribe.sign(scribe.run())
    assert missing(block, Blocks(), trusted=scribe.manifest.cid) == []


def test_a_roster_needs_the_manifests_since_the_trusted_one():
    scribe = begun()
    newer = scribe.with_dave()
    block = scribe.sign(scribe.roster(newer.cid))
    here, _ = fetched(block, scribe.source, trusted=scribe.manifest.cid)
    assert set(here) == {newer.cid}


def test_the_leaves_of_a_listing_are_needed():
    scribe = begun()
    looks = long_looks(scribe)
    block = scribe.sign(scribe.close(looks=looks))
    here, steps = fetched(block, scribe.source)
    assert set(here) == set(looks.blocks(scribe.source))
    assert (len(here), steps) == (3, 2)
    scribe.chain.append_block(block, here)


def test_a_collect_needs_its_replies_and_the_refused_ones():
    scribe = begun()
    taken, refused = scribe.taken(ALICE).reply, scribe.taken(BOB).reply
    block = scribe.sign(scribe.collect(scribe.error(BOB, refused=refused), *[scribe.taken(ALICE)]))
    here, _ = fetched(block, scribe.source)
    assert set(here) == {taken, refused}
    scribe.chain.append_block(block, here)


def test_a_collect_whose_answers_are_a_tree_needs_the_tree_and_then_the_replies():
    scribe = begun()
    body = scribe.collect(scribe.error(BOB), scribe.taken(ALICE))
    leaf = cbor_block(list(body.answers.value))
    root = cbor_block({"count": 2, "leaves": [leaf.cid]})
    scribe.source.add(leaf, root)
    block = scribe.sign(scribe.collect(answers=Listing(root.cid)))
    here, steps = fetched(block, scribe.source)
    assert set(here) == {root.cid, leaf.cid, scribe.taken(ALICE).reply}
    assert steps == 3


def test_the_block_itself_may_be_fetched_too():
    scribe = begun()
    here, _ = fetched(scribe.sign(scribe.close()).cid, scribe.source)
    assert len(here) == 1


def test_a_record_that_needs_too_much_is_refused(monkeypatch: pytest.MonkeyPatch):
    scribe = with_versions(5)
    monkeypatch.setattr("protocol.chain.closure.MAX_BLOCKS", 4)
    with pytest.raises(ClosureTooLarge):
        missing(scribe.sign(scribe.run()), scribe.source)


def test_records_nested_by_links_of_another_kind_are_not_followed():
    scribe = begun()
    inner = scribe.sign(scribe.close()).cid
    for _ in range(1_500):  # deeper than Python's stack
        inner = scribe.sign(scribe.collect(TakenReply(reply=inner))).cid
    assert missing(inner, scribe.source) == []
    assert contents_of(scribe, parse_record(record_of(scribe, inner)).body) == []


def test_a_block_that_is_no_record_is_refused():
    with pytest.raises(BlockError):
        missing(cbor_block({"not": "a record"}), Blocks())


# -- contents ------------------------------------------------------------------------------------------------------


def contents_of(scribe: Scribe, body: Body) -> Iterable[CID]:
    return list(contents(parse_record(scribe.sign(body)), scribe.source))


def test_a_run_names_its_app_and_seed():
    body = Scribe().run()
    assert contents_of(Scribe(), body) == [body.bundle, body.seed]


def test_a_run_names_the_model_that_it_begins_with():
    body = Scribe().run(initial_model=CONTENT)
    assert contents_of(Scribe(), body) == [body.bundle, body.seed, CONTENT]


def test_a_dispatch_names_the_content_of_each_group():
    scribe = begun()
    groups = [scribe.group(ALICE), Group(content=ANSWER, ttl=1, kind=0, to=((bytes(32), node_of(BOB)),))]
    assert contents_of(scribe, scribe.dispatch(*groups)) == [CONTENT, ANSWER]


def test_a_collect_names_what_the_replies_it_takes_hold():
    scribe = begun()
    refused = scribe.taken(BOB, content=CONTENT).reply
    assert contents_of(scribe, scribe.collect(scribe.taken(ALICE), scribe.error(BOB, refused=refused))) == [ANSWER]
    assert contents_of(scribe, scribe.collect(scribe.taken(ALICE, content=None, code=1))) == []


def test_a_close_names_its_model_if_there_is_one():
    scribe = begun()
    assert contents_of(scribe, scribe.close()) == [ANSWER]
    assert contents_of(scribe, scribe.close(model=None)) == []


def test_other_records_name_none():
    scribe = begun()
    assert contents_of(scribe, scribe.roster(scribe.with_dave().cid)) == contents_of(scribe, scribe.index()) == []
