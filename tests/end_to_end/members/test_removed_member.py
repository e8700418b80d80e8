"""What a member that is removed in mid-run can read: all that it was given before, and nothing that came after."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from federation import GATED, Federation, Gate

from peer.audit.audit import Audit
from peer.base.errors import ExitCode
from peer.history.run_sources import EngineSource
from peer.history.scratch import Scratch
from peer.home.federations import FederationStore
from peer.home.keystore import KeyStore
from peer.home.passphrase import Passphrases
from peer.home.reader_choice import reader_of
from protocol.blocks.cid import CID, Block, BlockError, BlockSource, MemoryBlocks
from protocol.blocks.content import ContentKey
from protocol.federation.readers import Reader
from protocol.federation.run_keys import RunKeys
from protocol.records.bodies import Chained, Collect, Dispatch, Group, Roster
from protocol.records.signed_records import parse_record, typed_items
from protocol.wire.announcement_seals import AnnouncementSeals
from protocol.wire.announcements import AnnouncementError
from strategy.contents.codec import decode

pytestmark = pytest.mark.xdist_group("removed member")  # one run for all of them


def announcements(federation: Federation) -> list[bytes]:
    """All that anybody has announced, the oldest first."""
    with sqlite3.connect(federation.root / "engine" / "announcements.sqlite") as database:
        return [data for (data,) in database.execute("SELECT data FROM announcement ORDER BY id")]


@dataclass
class Left:
    """A run of two rounds, of which member ``two`` was there for the first; and what it has to read it with."""

    federation: Federation
    source: BlockSource
    reader: Reader
    keys: RunKeys
    removed_at: int
    """How many announcements there were when every member knew that it is removed."""

    @property
    def chain(self) -> list[Chained]:
        """The records, the oldest first."""
        found: list[Chained] = []
        link: CID | None = self.federation.head("server").head
        while link is not None:
            body = parse_record(Block(link, self.source.get(link))).body
            assert isinstance(body, Chained)
            found.insert(0, body)
            link = body.prev
        return found

    @property
    def models(self) -> list[tuple[int | None, CID]]:
        """What each dispatch sent: epoch and content."""
        dispatches = [body for body in self.chain if isinstance(body, Dispatch)]
        return [(body.epoch, next(typed_items(body.groups, Group, self.source)).content) for body in dispatches]

    @property
    def seals(self) -> AnnouncementSeals:
        known = FederationStore(self.federation.home("two")).current()
        return AnnouncementSeals(known.manifest, MemoryBlocks(known.blocks), self.reader)

    def read(self, content: CID, key: ContentKey | None) -> np.ndarray:
        return next(iter(decode(content, self.source, key).array_records.values()))["w"].numpy()


@pytest.fixture(scope="module")
def left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Left]:
    """``two`` is removed between the rounds, ends, and still has its keys."""
    root = tmp_path_factory.mktemp("left")
    federation, gate = Federation(root, f"local:{root / 'engine'}"), Gate(root / "gate")
    federation.add("one", "two")
    try:
        gate.open("round-1", "train-1", "train-2")
        server = federation.server(GATED, "--run-config", f'rounds=2 clients=1 gate="{gate.folder}"')
        one, two = (federation.client(name, GATED, f'gate="{gate.folder}"') for name in ("one", "two"))
        server.wait_for("collected", replies=2)
        home = str(federation.home("server").path)
        assert federation.run("admin", "federation", "remove", "two", "--home", home).code() == 0
        version = federation.stored.manifest.version
        for peer in (server, one):
            peer.wait_for("manifest-in-force", version=version)
        assert two.code() == ExitCode.UNFINISHED
        assert f"two was removed from the federation trial by manifest version {version}" in two.said
        removed_at = len(announcements(federation))
        gate.open("round-2")
        assert [peer.code() for peer in (server, one)] == [0, 0], server.said

        reader = reader_of(KeyStore(federation.home("two").path).load("two", Passphrases()))
        known = FederationStore(federation.home("two")).current()
        with federation.blocks() as engine, Scratch() as scratch:
            source = EngineSource(engine, 1.0)
            audit = Audit(federation.head("server").head, source, scratch, known=[known], reader=reader)
            assert audit.run().findings == []
            yield Left(federation, source, reader, audit.keys, removed_at)
    finally:
        federation.end()


def test_a_new_epoch_begins_before_the_next_dispatch(left: Left) -> None:
    kinds = [type(body) for body in left.chain if isinstance(body, Roster | Dispatch | Collect)]
    assert kinds == [Dispatch, Collect, Roster, Dispatch, Collect]
    assert [epoch for epoch, _ in left.models] == [1, 2]


def test_a_removed_member_has_no_key_of_the_epochs_after_it(left: Left) -> None:
    assert [(epoch.model is None, epoch.update is None) for epoch in left.keys.epochs] == [(False, True), (True, True)]


def test_a_removed_member_reads_the_models_that_it_was_given_and_none_after(left: Left) -> None:
    (_, before), (_, after) = left.models
    had = left.keys.content(1)
    assert had is not None
    assert left.read(before, had).shape == (4, 4)
    for key in (had, ContentKey(2, had.key, had.chunk_nonce)):
        with pytest.raises(BlockError):
            left.read(after, key)


def test_a_removed_member_opens_no_announcement_after_it(left: Left) -> None:
    def opened(data: bytes) -> bool:
        try:
            left.seals.open(data, 0.0)
        except AnnouncementError:
            return False
        return True

    said = announcements(left.federation)
    assert any(map(opened, said[: left.removed_at]))
    assert len(said[left.removed_at :]) > 3
    assert not any(map(opened, said[left.removed_at :]))


def test_a_removed_member_writes_the_models_of_its_time_and_is_told_of_which_epoch_others_are(left: Left) -> None:
    federation = left.federation
    head, home = str(federation.head("server").head), str(federation.home("two").path)
    options = ["-o", str(federation.root / "m.npz"), "--home", home, "--ipfs", federation.engine]
    before, after = (federation.run("two", "model", head, "--round", each, *options) for each in ("0", "1"))
    assert (before.code(), after.code()) == (0, 3), before.said
    assert "is encrypted under the key of epoch 2, and this home has no key for it" in after.said
