"""In a run that needs witnesses, a client trains on nothing that its leader alone vouches for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from attacked import Attacked, following, position
from chains import ADMIN, ALICE, APP, BOB, DAVE, ENVIRONMENT, MEMBERS, SECOND, SERVER, TIME, Scribe, id_of
from disputed_runs import THREE_SERVERS

from crypto.keys import SigningKey
from protocol.app.calls import AppReady
from protocol.blocks.cid import Block, cbor_block
from protocol.blocks.listing import Listing
from protocol.federation.unsigned_versions import next_version, without_member
from protocol.records.bodies import Comparison, Member, Recomputed, RecomputedAck
from protocol.records.signed_records import assemble, parse_record, sign_record
from protocol.roles.client.client import Client
from protocol.roles.client.client_plan import ClientPlan
from protocol.roles.client.kept_run import KeptRun
from protocol.roles.effects import KeepAcks, What
from protocol.roles.events import ManifestChanged
from protocol.roles.newest_manifest import Author, TrustedManifest
from protocol.roles.waiting import Awaited
from protocol.status.role_status import Lack
from protocol.wire.announcements import AckReady, Head

EQUAL = Recomputed(since=1, comparison=Comparison.EQUAL, message=None, content=None)
DIVERGED = Recomputed(since=1, comparison=Comparison.DIVERGED, message=None, content=None)


def witnessed(kind: str = "train", members: Mapping[str, Member] = MEMBERS) -> Scribe:
    """A run that needs one witness, with its first dispatch."""
    scribe = Scribe(members)
    scribe.add(scribe.run(witnesses=1))
    scribe.add(scribe.dispatch(scribe.group(ALICE, BOB, type=kind), kinds=((kind, "1"),)))
    return scribe


def word(scribe: Scribe, told: Recomputed = EQUAL, signer: SigningKey = SECOND, **changes: Any) -> Block:
    """What another server signs of the head."""
    chain = scribe.chain
    given = {"by": id_of(signer), "time": TIME, "run": chain.run, "term": 1, "height": chain.height, "head": chain.head}
    body = RecomputedAck(**{**given, "replies": Listing(()), "recomputed": told} | changes)
    return sign_record(body, [signer])


def tell(client: Attacked, ack: Block, by: SigningKey = SECOND) -> None:
    client.say(by, AckReady(client.scribe.chain.run, ack.cid), blocks=[ack])


def takes_it_up(client: Attacked) -> bool:
    return bool(client.reported(What.TASK_STARTED))


def test_a_training_message_is_taken_up_once_another_server_has_recomputed_it() -> None:
    client = following(witnessed())
    assert not takes_it_up(client)
    assert [(wait.lack, wait.whom) for wait in client.machine.machine.status(TIME).waits] == [
        (Lack.WITNESSES, ("second server",))
    ]
    client.wait(6)
    assert client.reported(What.WAITING)[0]["lacking"] == Awaited.WITNESSES.value
    tell(client, word(client.scribe))
    assert takes_it_up(client)
    assert client.machine.machine.status(TIME).waits[0].lack is Lack.CONTENT


def test_other_messages_wait_for_nobody() -> None:
    assert takes_it_up(following(witnessed("evaluate")))


def test_a_run_that_needs_none_waits_for_nobody() -> None:
    scribe = Scribe(MEMBERS)
    scribe.add(scribe.run())
    scribe.add(scribe.dispatch())
    assert takes_it_up(following(scribe))


def test_a_federation_that_asks_for_a_witness_while_a_run_is_on_has_its_next_message_wait() -> None:
    scribe = Scribe(MEMBERS)
    scribe.add(scribe.run())
    settings = replace(scribe.manifest.settings, witnesses=1)
    newer = scribe.next_manifest(next_version(scribe.manifest, by=id_of(ADMIN), time=TIME, settings=settings))
    client = following(scribe)
    client.feed(ManifestChanged(newer.cid, scribe.source))
    scribe.add(scribe.roster(newer.cid))
    scribe.add(scribe.dispatch())
    client.say(SERVER, Head(position(scribe)))
    client.give_all()
    assert not takes_it_up(client)
    tell(client, word(scribe))
    assert takes_it_up(client)


def test_a_word_that_comes_before_its_record_counts_once_that_is_here() -> None:
    client = following(witnessed())
    client.scribe.add(client.scribe.collect(client.scribe.taken(BOB)))
    client.scribe.add(client.scribe.dispatch(client.scribe.group(BOB)))
    tell(client, word(client.scribe))
    assert not takes_it_up(client)
    client.say(SERVER, Head(position(client.scribe)))
    client.give_all()
    assert takes_it_up(client)


@pytest.mark.parametrize(
    "ack",
    [
        pytest.param(lambda scribe: word(scribe, signer=SERVER), id="by the leader"),
        pytest.param(lambda scribe: word(scribe, signer=BOB), id="by a client"),
        pytest.param(lambda scribe: word(scribe, by=id_of(SERVER)), id="in another's name"),
        pytest.param(lambda scribe: word(scribe, head=cbor_block("another").cid), id="of another record"),
        pytest.param(lambda scribe: word(scribe, height=0, head=scribe.chain.run, told=_since_0()), id="of one before"),
        pytest.param(
            lambda scribe: word(
                scribe, Recomputed(since=2, comparison=Comparison.EQUAL, message=None, content=None), height=2
            ),
            id="of one after",
        ),
    ],
)
def test_no_other_word_counts(ack: Any) -> None:
    client = following(witnessed())
    made = ack(client.scribe)
    for speaker in (SECOND, SERVER, BOB):
        tell(client, made, by=speaker)
    assert not takes_it_up(client)


def test_a_leader_that_was_elected_vouches_for_what_the_one_before_has_sent() -> None:
    client, scribe = taken_over()
    assert not takes_it_up(client)
    tell(client, word(scribe, term=2))
    assert takes_it_up(client)


def test_a_leader_that_was_elected_does_not_vouch_for_what_it_sends_itself() -> None:
    client, scribe = taken_over()
    scribe.add(scribe.collect(scribe.taken(ALICE), scribe.taken(BOB)))
    scribe.add(scribe.dispatch())
    client.say(SECOND, Head(position(scribe, term=2)))
    client.give_all()
    tell(client, word(scribe, term=2))
    assert not takes_it_up(client)


def test_a_leader_stops_nobody_by_a_word_against_the_run_that_it_leads() -> None:
    client, scribe = taken_over()
    tell(client, word(scribe, DIVERGED, term=2))
    assert not client.all(KeepAcks)
    assert not client.machine.machine.status(TIME).refuses


def taken_over() -> tuple[Attacked, Scribe]:
    """A client that waits for a witness of a message whose server was taken over from."""
    scribe = witnessed()
    client = following(scribe)
    scribe.lead(leader=SECOND)
    client.say(SECOND, Head(position(scribe, term=2)))
    client.give_all()
    return client, scribe


def _since_0() -> Recomputed:
    return Recomputed(since=0, comparison=Comparison.EQUAL, message=None, content=None)


def test_a_contradicted_dispatch_is_refused_with_all_that_comes_after_and_the_word_is_kept() -> None:
    client = following(witnessed())
    against = word(client.scribe, DIVERGED)
    tell(client, against)
    assert [keep.blocks for keep in client.all(KeepAcks)] == [(against,)]
    assert "has computed something else" in client.machine.machine.status(TIME).refuses
    client.scribe.add(client.scribe.collect(client.scribe.taken(ALICE), client.scribe.taken(BOB)))
    client.scribe.add(client.scribe.dispatch(client.scribe.group(ALICE, type="evaluate"), kinds=(("evaluate", "1"),)))
    client.say(SERVER, Head(position(client.scribe)))
    client.give_all()
    assert not takes_it_up(client)


def test_a_server_whose_words_come_to_nothing_has_to_wait() -> None:
    client = following(witnessed())
    for seconds in range(20):
        tell(client, word(client.scribe, signer=BOB, by=id_of(SECOND), time=TIME + seconds))
    assert len(client.reported(What.ACK_REFUSED)) == 1


def test_a_server_that_brings_forged_words_of_another_keeps_nobody_from_believing_that_one() -> None:
    client = following(witnessed(members=THREE_SERVERS))
    scribe = client.scribe
    scribe.add(scribe.collect(scribe.taken(BOB)))
    scribe.add(scribe.dispatch(scribe.group(BOB)))
    told = word(scribe)
    forged = assemble(parse_record(word(scribe, DIVERGED)).body, {id_of(SECOND): bytes(64)})
    tell(client, told)  # what it is about is not here yet
    client.say(DAVE, AckReady(scribe.chain.run, told.cid), blocks=[forged])
    client.say(SERVER, Head(position(scribe)))
    client.give_all()
    assert takes_it_up(client)
    assert [each["name"] for each in client.reported(What.ACK_REFUSED)] == ["third server"]


def test_a_contradicted_run_goes_on_without_the_server_that_spoke_against_it() -> None:
    """Its admins have found out that it lied. Another one vouches for the run."""
    client = following(witnessed())
    tell(client, word(client.scribe, DIVERGED))
    unsigned = without_member(client.scribe.manifest, id_of(SECOND), by=id_of(ADMIN), time=TIME)
    client.feed(ManifestChanged(client.scribe.next_manifest(unsigned).cid, client.scribe.source))
    assert not client.machine.machine.status(TIME).refuses


def test_a_client_that_is_started_again_remembers_the_word_against_its_run() -> None:
    scribe = witnessed("evaluate")
    kept = {scribe.chain.run: KeptRun(disputes=[word(scribe, DIVERGED)])}
    trusted = TrustedManifest(scribe.first, scribe.source)
    machine = Client(Author(id_of(ALICE), (ALICE,), 1), trusted, ClientPlan(APP, bytes(32)), kept)
    client = Attacked(machine, scribe)
    client.feed(AppReady(ENVIRONMENT))
    client.say(SERVER, Head(position(scribe)))
    client.give_all()
    assert not takes_it_up(client)
    assert "has computed something else" in machine.machine.status(TIME).refuses
