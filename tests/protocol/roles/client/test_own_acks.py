"""When a client acks: once at one height, on disk before it is sent, and nothing that another home may have acked."""

from __future__ import annotations

from typing import Any

from a_client import AClient, plan
from chains import ALICE, APP, TIME, begun, id_of

from protocol.blocks.cid import cbor_block
from protocol.blocks.listing import Listing
from protocol.records.bodies import Ack
from protocol.records.signed_records import parse_record
from protocol.roles.client.kept_run import KeptRun
from protocol.roles.copied_homes import LISTENING
from protocol.roles.effects import KeepAcks, Publish, Stop, WriteHead
from protocol.roles.events import Done, ManifestChanged
from protocol.wire.announcements import AckReady, Beat, Bye, Position, parse_announcement

SESSION = b"a" * 16


def at_the_close(session: bytes = b"", **changes: Any) -> AClient:
    """A client that has followed a run, and hears of its close."""
    scribe = begun()
    client = AClient(plan(**changes), scribe, session=session)
    client.hear()
    scribe.add(scribe.close())
    client.hear()
    return client


def acked(client: AClient) -> list[Ack]:
    bodies = [parse_record(block).body for keep in client.all(KeepAcks) for block in keep.blocks]
    return [body for body in bodies if isinstance(body, Ack)]


def announced(client: AClient) -> list[AckReady]:
    said = [parse_announcement(each.data).announcement.body for each in client.all(Publish)]
    return [body for body in said if isinstance(body, AckReady)]


def test_a_close_is_acked_and_announced_once_the_ack_is_on_disk() -> None:
    client = at_the_close()
    chain = client.scribe.chain
    assert [(ack.by, ack.height, ack.head) for ack in acked(client)] == [(id_of(ALICE), chain.height, chain.head)]
    assert not announced(client)
    (keep,) = client.all(KeepAcks)
    client.feed(Done(keep.id))
    assert [ready.record for ready in announced(client)] == [keep.blocks[0].cid]


def test_a_process_that_has_just_started_acks_a_close_once_it_has_listened_for_copies_of_its_home() -> None:
    client = at_the_close(session=SESSION)
    assert not acked(client)
    client.wait(LISTENING)
    assert [ack.height for ack in acked(client)] == [client.scribe.chain.height]


def test_a_process_that_may_have_forgotten_what_it_signed_does_not_ack_a_close() -> None:
    client = at_the_close(session=SESSION, remembers=lambda _run: False)
    client.wait(LISTENING)
    assert not acked(client)


def test_a_client_that_leaves_after_the_close_says_goodbye_once_it_has_said_that_it_has_the_close() -> None:
    client = at_the_close(session=SESSION, app=APP, approved=None, once=True)
    client.wait(LISTENING)
    for kept in (*client.all(KeepAcks), *client.all(WriteHead)):
        assert not client.all(Stop)
        client.feed(Done(kept.id))
    chain = client.scribe.chain
    beat, bye = (parse_announcement(each.data).announcement.body for each in client.all(Publish)[-2:])
    assert isinstance(beat, Beat)
    assert beat.position == Position(chain.run, chain.head, chain.height, chain.term)
    assert isinstance(bye, Bye)
    assert client.all(Stop)


def test_a_run_that_knows_an_older_manifest_than_we_do_is_not_acked() -> None:
    scribe = begun()
    client = AClient(plan(), scribe)
    client.hear()
    client.feed(ManifestChanged(scribe.with_dave().cid, scribe.source))
    scribe.add(scribe.close())
    client.hear()
    assert not acked(client)


def test_what_was_acked_and_listed_before_a_restart_is_not_again() -> None:
    first, second = cbor_block("first").cid, cbor_block("second").cid
    kept = KeptRun({b"1": first, b"2": second})
    assert kept.unlisted() == [first, second]
    head = cbor_block("head").cid
    kept.keep_ack(Ack(by=id_of(ALICE), time=TIME, run=head, term=1, height=7, head=head, replies=Listing((first,))))
    assert (kept.acked, kept.unlisted()) == ((1, 7), [second])


def test_an_ack_in_a_higher_term_is_the_newer_one_though_it_is_lower() -> None:
    kept, head = KeptRun(), cbor_block("head").cid
    for term, height in ((1, 7), (2, 3)):
        kept.keep_ack(
            Ack(by=id_of(ALICE), time=TIME, run=head, term=term, height=height, head=head, replies=Listing(()))
        )
    assert kept.acked == (2, 3)
