"""A member that was away hears of the newest manifest, and follows version by version while admins change."""

from __future__ import annotations

import pytest
from a_client import AClient, plan
from chains import ADMIN, BOB, SERVER, TIME, Scribe, begun, id_of

from crypto.keys import SigningKey
from protocol.blocks.cid import CID, BlockSource
from protocol.federation import manifest as manifest_module
from protocol.federation.manifest import MAX_AHEAD, Manifest, proposed_manifest
from protocol.federation.unsigned_versions import UnsignedVersion, next_version
from protocol.records.signed_records import Record, parse_record
from protocol.roles import newest_manifest as machine_module
from protocol.roles.effects import KeepManifest, What
from protocol.roles.events import Received
from protocol.wire.announcements import Announcement, Beat, ManifestRef, PeerState, sign_announcement

Admins = tuple[SigningKey, ...]

VERSIONS: tuple[tuple[Admins, int, Admins], ...] = (
    ((ADMIN, SERVER), 2, (ADMIN, SERVER)),
    ((SERVER, BOB), 2, (ADMIN, SERVER, BOB)),
    ((BOB,), 1, (SERVER, BOB)),
)
"""The admins of versions 2, 3 and 4, how many of them have to sign, and who signed."""


def beat(client: AClient, newest: Manifest, called: int | None = None) -> None:
    """The server says which manifest it has, and perhaps ``called`` another version than it is."""
    body = Beat(ManifestRef(newest.cid, called or newest.version), PeerState.IDLE)
    said = Announcement(client.scribe.first.cid, id_of(SERVER), 1, body)
    client.feed(Received(sign_announcement(said, SERVER)))


def unsigned(manifest: Manifest, admins: Admins, threshold: int) -> UnsignedVersion:
    keys = tuple(map(id_of, admins))
    return next_version(manifest, by=keys[-1], time=TIME, admins=keys, threshold=threshold)


def extend(scribe: Scribe, versions: tuple[tuple[Admins, int, Admins], ...]) -> Manifest:
    """The newest of some versions, be they signed by enough or not."""
    newest = scribe.manifest
    for admins, threshold, signers in versions:
        record = parse_record(scribe.next_manifest(unsigned(newest, admins, threshold), *signers))
        newest = proposed_manifest(newest, record, scribe.source)
    return newest


def test_it_takes_the_newest_after_checking_those_between() -> None:
    client = AClient(plan(), begun())
    newest = extend(client.scribe, VERSIONS)
    beat(client, newest)
    assert client.machine.machine.newest.manifest == newest
    assert (newest.version, newest.admins, newest.threshold) == (4, (id_of(BOB),), 1)
    assert [kept.cid for kept in client.all(KeepManifest)] == [newest.cid]


@pytest.mark.parametrize(("version", "signers"), [(2, (ADMIN,)), (3, (SERVER, BOB)), (4, (BOB,))])
def test_one_version_that_lacks_a_signature_stops_it(version: int, signers: Admins) -> None:
    lacking = list(VERSIONS)
    admins, threshold, _ = lacking[version - 2]
    lacking[version - 2] = (admins, threshold, signers)
    client = AClient(plan(), begun())
    beat(client, extend(client.scribe, tuple(lacking)))
    assert client.machine.machine.newest.manifest.version == 1
    assert client.reported(What.FETCH_FAILED)


# -- what a claim costs ------------------------------------------------------------------------------------------------


def test_a_manifest_that_is_called_too_far_ahead_is_not_fetched() -> None:
    client = AClient(plan(), begun())
    newest = extend(client.scribe, VERSIONS)
    beat(client, newest, 1 + MAX_AHEAD + 1)
    assert client.machine.machine.newest.manifest.version == 1
    assert client.reported(What.FETCH_FAILED)
    assert client.all(KeepManifest) == []


def test_no_more_versions_are_read_than_a_claim_may_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever version its author calls it, and whatever the blocks say of themselves."""
    read: list[CID] = []
    real = manifest_module.checked_record

    def counted(cid: CID, source: BlockSource) -> Record:
        read.append(cid)
        return real(cid, source)

    monkeypatch.setattr(machine_module, "MAX_AHEAD", 3)
    client = AClient(plan(), begun())
    newest = extend(client.scribe, tuple(((ADMIN,), 1, (ADMIN,)) for _ in range(20)))
    monkeypatch.setattr(manifest_module, "checked_record", counted)
    beat(client, newest, 2)
    assert client.machine.machine.newest.manifest.version == 1
    assert 0 < len(read) <= 3 + 1


def test_what_is_as_far_ahead_as_a_claim_may_be_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine_module, "MAX_AHEAD", 3)
    client = AClient(plan(), begun())
    beat(client, newest := extend(client.scribe, VERSIONS))
    assert client.machine.machine.newest.manifest == newest
