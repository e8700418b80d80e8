"""Which runs the admins have ordered to be shredded, what a member does about it, and what it says of that."""

from __future__ import annotations

from dataclasses import replace

import pytest
from chains import ADMIN, ALICE, CONTENT, TIME, Blocks, Scribe, decryption_key, id_of, reader_of

from crypto.identity import Identity
from crypto.keys import DecryptionKey
from protocol.blocks.cid import raw_block
from protocol.federation.erasures import (
    ErasureWord,
    NotAWord,
    OwnPart,
    Step,
    closed_word,
    next_step,
    open_claim,
    read_line_of_word,
    read_word,
)
from protocol.federation.manifest import Manifest, ManifestError, ManifestRule, next_manifest
from protocol.federation.shreddings import Shredding, shredding_of, with_shredded
from protocol.federation.unsigned_versions import next_version
from protocol.records.bodies import Erasure, FirstShredded, ShreddedEpochs
from protocol.records.signed_records import parse_record, sign_record

RUN, OTHER = sorted((CONTENT, raw_block(b"another run").cid), key=bytes)
SWARM_KEY = bytes(range(32))
FIRST = Scribe(encrypted=True).first
PLAIN = Scribe().first


def listed(run: object, epoch: int = 1, reason: str = "") -> FirstShredded:
    return FirstShredded(run=run, epoch=epoch, reason=reason)  # type: ignore[arg-type]


def after(manifest: Manifest, shredded: ShreddedEpochs | None) -> Manifest:
    """The version after ``manifest``, with these; None leaves what is there."""
    unsigned = next_version(manifest, by=id_of(ADMIN), time=TIME + manifest.version, shredded=shredded)
    source = Blocks()
    source.add(*unsigned.blocks)
    return next_manifest(manifest, parse_record(sign_record(unsigned.body, [ADMIN])), source, reader_of(ALICE))


# -- the manifest ----------------------------------------------------------------------------------------------------


def test_a_manifest_says_which_version_shredded_a_run_when_and_by_whom() -> None:
    shredded = after(FIRST, with_shredded((), [RUN], epoch=2, reason="a patient asked"))
    assert shredded.shredded == (Shredding(RUN, 2, "a patient asked", 2, TIME + 1, (id_of(ADMIN),)),)
    assert after(shredded, None).shredded == shredded.shredded, "the next version keeps it as it was"


def test_a_shredding_concerns_its_epoch_and_all_after_it() -> None:
    shredding = after(FIRST, (listed(RUN, 2),)).shredded[0]
    assert [shredding.concerns(epoch) for epoch in (1, 2, 3)] == [False, True, True]
    assert shredding_of((shredding,), OTHER) is None


def test_an_earlier_epoch_may_be_shredded_later_and_a_later_one_changes_nothing() -> None:
    second = after(FIRST, (listed(RUN, 3),))
    assert with_shredded(second.shredded, [RUN], epoch=4, reason="") == (listed(RUN, 3),)
    third = after(second, with_shredded(second.shredded, [RUN], epoch=1, reason="all of it"))
    assert [(each.epoch, each.version) for each in third.shredded] == [(1, 3)]


@pytest.mark.parametrize(
    "then",
    [(), (listed(OTHER),), (listed(RUN, 3),), (listed(OTHER), listed(RUN, 2)), (listed(RUN, 2, "a\x07bell"),)],
    ids=["gone", "another", "later", "out of order", "not to be shown"],
)
def test_what_is_shredded_stays_shredded_and_is_written_in_one_way(then: ShreddedEpochs) -> None:
    with pytest.raises(ManifestError) as caught:
        after(after(FIRST, (listed(RUN, 2),)), then)
    assert caught.value.rule is ManifestRule.SHREDDED


def test_a_federation_that_does_not_encrypt_has_nothing_to_shred() -> None:
    with pytest.raises(ManifestError) as caught:
        after(PLAIN, (listed(RUN),))
    assert caught.value.rule is ManifestRule.SHREDDED


def test_a_manifest_that_shreds_nothing_is_the_same_bytes_as_before_there_was_that() -> None:
    assert b"shredded" not in next_version(PLAIN, by=id_of(ADMIN), time=TIME).body.private


# -- words -----------------------------------------------------------------------------------------------------------

BEFORE = Identity("alice", ALICE, decryption_key(ALICE))
NEW = BEFORE.rotated()
SHREDDED = after(FIRST, (listed(RUN),))


def word(identity: Identity = NEW, *, destroyed: bool = True, version: int = 2, **changes: object) -> ErasureWord:
    return read_word(sign_record(said(identity, destroyed=destroyed, version=version, **changes), [NEW.signing]).data)


def said(identity: Identity = NEW, **changes: object) -> Erasure:
    key = identity.public_for(bytes(FIRST.federation)).key_text()
    body = Erasure(by=id_of(ALICE), time=TIME, manifest=SHREDDED.cid, version=2, destroyed=True, key=key)
    return replace(body, **changes)  # type: ignore[arg-type]


def test_a_word_comes_back_from_a_line_and_from_the_topic() -> None:
    for again in (
        read_line_of_word(word().line()),
        read_word(open_claim(closed_word(word(), FIRST.federation, SWARM_KEY), FIRST.federation, SWARM_KEY).block.data),
    ):
        assert again == word()
    with pytest.raises(NotAWord):
        open_claim(closed_word(word(), FIRST.federation, SWARM_KEY), CONTENT, SWARM_KEY)


@pytest.mark.parametrize(
    ("body", "signer"),
    [(said(), ALICE), (said(by=id_of(ADMIN)), NEW.signing), (said(key="pollen-key-1.no"), NEW.signing)],
    ids=["signed with the old key", "in another's name", "without a KEY"],
)
def test_a_word_that_is_not_its_authors_is_none(body: Erasure, signer: object) -> None:
    with pytest.raises(NotAWord):
        read_word(sign_record(body, [signer]).data)  # type: ignore[list-item]


def test_a_word_counts_if_the_manifest_lists_its_author_and_brings_keys_until_they_are_listed() -> None:
    assert word().is_by_member(SHREDDED)
    assert word().brings_keys(SHREDDED)
    assert not word().is_by_member(replace(SHREDDED, members={}))
    assert not word().is_by_member(replace(SHREDDED, federation=CONTENT)), "a KEY is for one federation"


def test_a_word_confirms_if_it_says_so_with_keys_that_are_newer_than_the_shredding() -> None:
    (shredding,), then = SHREDDED.shredded, frozenset([decryption_key(ALICE).public.raw])
    assert word().confirms(shredding, then)
    assert not word(destroyed=False).confirms(shredding, then)
    assert not word(version=1).confirms(shredding, then)
    assert not word().confirms(shredding, then | {NEW.decryption.public.raw}), "those keys open what was shredded"


def test_of_two_words_the_later_one_counts() -> None:
    assert word().is_newer_than(word(destroyed=False))
    assert word(destroyed=False, version=3).is_newer_than(word())
    assert not word().is_newer_than(word())


# -- what is next ----------------------------------------------------------------------------------------------------


def part(manifest: Manifest = SHREDDED, said: ErasureWord | None = None) -> OwnPart:
    return OwnPart(manifest, {2: frozenset([decryption_key(ALICE).public.raw])}, said)


def lists(manifest: Manifest, key: DecryptionKey) -> Manifest:
    """The same manifest, with another encryption key of Alice's."""
    alice = manifest.members[id_of(ALICE)]
    newer = replace(alice, encryption=replace(alice.encryption, key=key.public.raw))
    return replace(manifest, members={**manifest.members, alice.id: newer})


OLD_KEY, NEW_KEY = decryption_key(ALICE).public.raw, NEW.decryption.public.raw
LISTED = lists(SHREDDED, NEW.decryption)


@pytest.mark.parametrize(
    ("newest", "parts", "step"),
    [
        (OLD_KEY, [part(FIRST)], Step.NOTHING),
        (OLD_KEY, [part()], Step.NEW_KEYS),
        (NEW_KEY, [part()], Step.WAIT),
        (NEW_KEY, [part(LISTED)], Step.DESTROY),
        (NEW_KEY, [part(LISTED), part(FIRST)], Step.WAIT),
        (NEW_KEY, [part(LISTED, word(destroyed=False))], Step.DESTROY),
        (NEW_KEY, [part(LISTED, word())], Step.NOTHING),
        (OLD_KEY, [part(replace(SHREDDED, members={}))], Step.NOTHING),
        (NEW_KEY, [OwnPart(SHREDDED, {2: frozenset()}, None)], Step.NOTHING),
    ],
    ids=[
        "nothing is shredded",
        "its keys open what is",
        "an admin has to list its new ones",
        "they are listed",
        "another federation does not list them yet",
        "it has said only that it waits",
        "it has done it",
        "it has left",
        "it came later",
    ],
)
def test_what_a_member_does_next(newest: bytes, parts: list[OwnPart], step: Step) -> None:
    assert next_step(id_of(ALICE), newest, parts) is step
