"""A client's own key is for one epoch, and not for another of the same number."""

from __future__ import annotations

from dataclasses import replace

from chains import ALICE, Scribe, id_of, reader_of

from crypto.symmetric import ChunkNonce
from protocol.blocks.cid import Block
from protocol.chain.chain import Chain
from protocol.roles.client.own_key import own_key


def test_another_epoch_of_the_same_number_has_another_own_key():
    scribe = Scribe(encrypted=True, reader=reader_of(ALICE))
    run = scribe.add(scribe.run()).record.cid
    first_epoch, manifest = scribe.epoch, scribe.with_dave().cid
    scribe.add(scribe.roster(manifest))
    lost = own_key(scribe.chain, id_of(ALICE), None)

    scribe.chain, scribe.epoch = Chain(scribe.first.cid, reader_of(ALICE)), first_epoch
    scribe.chain.append_block(Block(run, scribe.source[run]), scribe.source)
    scribe.lead()
    scribe.add(scribe.roster(manifest))
    found = own_key(scribe.chain, id_of(ALICE), lost)

    assert lost is not None
    assert found is not None
    assert (found.epoch, found.sealed != lost.sealed) == (lost.epoch, True)
    assert own_key(scribe.chain, id_of(ALICE), found) is found


def test_an_epoch_that_makes_nonces_in_another_way_has_another_own_key_though_its_update_key_is_the_same():
    scribe = Scribe(encrypted=True, reader=reader_of(ALICE))
    scribe.add(scribe.run())
    now = own_key(scribe.chain, id_of(ALICE), None)
    assert now is not None
    found = own_key(scribe.chain, id_of(ALICE), replace(now, chunk_nonce=ChunkNonce.HMAC))
    assert found is not None
    assert (found.chunk_nonce, found.key is now.key) == (ChunkNonce.GMAC, False)
