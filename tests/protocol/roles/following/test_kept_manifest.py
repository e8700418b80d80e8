"""Who follows a run keeps the versions of the manifest that its records link, though its home has them, too: whoever
reads the run later, at this node alone, needs them, and the leader's node may be gone by then."""

from __future__ import annotations

from attacked import Attacked, listening, position
from chains import MEMBERS, SERVER, Scribe

from protocol.blocks.cid import CID, Block
from protocol.records.bodies import Chained
from protocol.roles.effects import Store
from protocol.wire.announcements import Head


def hears_of_next(client: Attacked, body: Chained) -> CID:
    """A record that is announced with its block, so that it is not fetched, nor what it links."""
    record = client.scribe.add(body).record.cid
    client.say(SERVER, Head(position(client.scribe)), blocks=[Block(record, client.scribe.source[record])])
    assert not client.fetching
    return record


def kept(peer: Attacked) -> set[CID]:
    """The blocks that it has put on disk."""
    return {block.cid for store in peer.all(Store) for block in store.blocks}


def test_a_client_keeps_the_manifest_with_the_run_record_that_links_it() -> None:
    client = listening(Scribe(MEMBERS))
    run = hears_of_next(client, client.scribe.run())
    assert kept(client) == {run, client.scribe.first.cid}


def test_a_client_keeps_a_newer_version_with_the_record_that_brings_it_into_force() -> None:
    scribe = Scribe(MEMBERS)
    newer = scribe.with_dave().cid
    client = listening(scribe)
    hears_of_next(client, scribe.run())
    roster = hears_of_next(client, scribe.roster(newer))
    assert {roster, newer} <= kept(client)
