"""How one manifest version is reached from another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from chains import ADMIN, ALICE, TIME, Blocks, id_of, unsigned_federation

from crypto.keys import SigningKey
from protocol.blocks.cid import Block, MissingBlock
from protocol.federation.manifest import (
    Manifest,
    ManifestError,
    ManifestRule,
    first_manifest,
    manifest_at,
    next_manifest,
)
from protocol.federation.unsigned_versions import UnsignedVersion, next_version
from protocol.records.signed_records import Record, parse_record, sign_record


def broken(check: Callable[[], object]) -> ManifestRule:
    """The rule that ``check`` finds broken."""
    with pytest.raises(ManifestError) as caught:
        check()
    return caught.value.rule


class Versions:
    """A federation with some versions in a block source."""

    def __init__(self, count: int, name: str = "trial") -> None:
        self.source = Blocks()
        self.manifests = [first_manifest(self.keep(unsigned_federation(name=name)), self.source)]
        while len(self.manifests) < count:
            self.extend(self.manifests[-1])
        self.federation = self.manifests[0].cid

    def extend(self, manifest: Manifest, time: float = TIME) -> None:
        record = self.keep(next_version(manifest, by=id_of(ADMIN), time=time))
        self.manifests.append(next_manifest(manifest, record, self.source))

    def keep(self, unsigned: UnsignedVersion) -> Record:
        block = sign_record(unsigned.body, [ADMIN])
        self.source.add(block, *unsigned.blocks)
        return parse_record(block)


def test_a_later_version_is_reached_from_the_first_or_from_one_that_is_known():
    versions = Versions(4)
    last = versions.manifests[-1]
    assert manifest_at(last.cid, versions.federation, versions.source) == last
    assert manifest_at(last.cid, versions.federation, versions.source, known=versions.manifests[1]) == last
    assert manifest_at(last.cid, versions.federation, versions.source, known=last) == last


def test_a_version_known_spares_those_before_it():
    versions = Versions(3)
    del versions.source[versions.manifests[0].cid]
    last = versions.manifests[-1]
    assert manifest_at(last.cid, versions.federation, versions.source, known=versions.manifests[1]) == last
    with pytest.raises(MissingBlock):
        manifest_at(last.cid, versions.federation, versions.source)


def test_another_federations_manifest_is_refused():
    versions, other = Versions(2), Versions(2, name="other")
    assert broken(lambda: manifest_at(other.manifests[-1].cid, versions.federation, other.source)) == (
        ManifestRule.FEDERATION
    )


def test_a_fork_that_leaves_out_the_known_version_is_refused():
    versions = Versions(2)
    versions.extend(versions.manifests[0], time=TIME + 1)
    known, fork = versions.manifests[1:]
    assert known.version == fork.version == 2
    assert broken(lambda: manifest_at(fork.cid, versions.federation, versions.source, known=known)) == (
        ManifestRule.FEDERATION
    )
    versions.extend(fork)
    later = versions.manifests[-1]
    assert broken(lambda: manifest_at(later.cid, versions.federation, versions.source, known=known)) == (
        ManifestRule.FEDERATION
    )


def test_a_fork_is_not_followed_below_the_known_version():
    versions = Versions(2)
    versions.extend(versions.manifests[0], time=TIME + 1)
    known, fork = versions.manifests[1:]
    del versions.source[versions.manifests[0].cid]
    assert broken(lambda: manifest_at(fork.cid, versions.federation, versions.source, known=known)) == (
        ManifestRule.FEDERATION
    )


def test_a_known_version_of_another_federation_is_refused():
    versions, other = Versions(2), Versions(2, name="other")
    known = versions.manifests[0]
    assert broken(lambda: manifest_at(known.cid, other.federation, versions.source, known=known)) == (
        ManifestRule.FEDERATION
    )


def test_more_versions_than_the_limit_are_refused(monkeypatch: pytest.MonkeyPatch):
    versions = Versions(3)
    monkeypatch.setattr("protocol.federation.manifest.MAX_VERSIONS", 2)
    assert broken(lambda: manifest_at(versions.manifests[-1].cid, versions.federation, versions.source)) == (
        ManifestRule.FEDERATION
    )


def test_an_older_version_than_the_known_one_is_refused():
    versions = Versions(2)
    old, known = versions.manifests
    assert broken(lambda: manifest_at(old.cid, versions.federation, versions.source, known=known)) == (
        ManifestRule.FEDERATION
    )


# -- one version in several blocks ---------------------------------------------------------------------------------


def with_two_admins() -> Versions:
    """Version 2 adds an admin, and so only the first can have signed it for version 1."""
    versions = Versions(1)
    admins = sorted([id_of(ADMIN), id_of(ALICE)])
    record = versions.keep(next_version(versions.manifests[0], by=id_of(ADMIN), time=TIME, admins=admins))
    versions.manifests.append(next_manifest(versions.manifests[0], record, versions.source))
    return versions


def after_another_block(
    versions: Versions, known: Manifest, *signers: SigningKey
) -> Callable[[Manifest | None], Manifest]:
    """Reads the version after ``known`` that links another block of it, signed by ``signers``."""
    body = parse_record(Block(known.cid, versions.source[known.cid])).body
    block = sign_record(body, signers)
    versions.source.add(block)
    assert block.cid != known.cid
    later = versions.keep(next_version(replace(known, cid=block.cid), by=id_of(ADMIN), time=TIME)).cid
    return lambda known: manifest_at(later, versions.federation, versions.source, known=known)


def test_a_version_is_followed_in_a_block_with_more_signatures():
    versions = with_two_admins()
    read = after_another_block(versions, versions.manifests[1], ADMIN, ALICE)
    assert read(versions.manifests[1]) == read(None)


def test_readers_that_know_a_version_and_others_judge_its_signatures_alike():
    versions = with_two_admins()
    read = after_another_block(versions, versions.manifests[1], ALICE)
    for known in (versions.manifests[1], None):
        assert broken(lambda known=known: read(known)) == ManifestRule.OLD_SIGNERS


def test_version_1_is_its_own_block_alone():
    versions = with_two_admins()
    read = after_another_block(versions, versions.manifests[0], ADMIN, ALICE)
    for known in (versions.manifests[0], None):
        assert broken(lambda known=known: read(known)) == ManifestRule.FEDERATION
