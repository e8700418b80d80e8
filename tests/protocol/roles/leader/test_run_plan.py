"""The app of a run and the model that it begins with, as its record says them to those who read it."""

from __future__ import annotations

from chains import APP, CONTENT, SERVER, Scribe, begun, id_of, reader_of

from protocol.blocks.bundle import NamedBundle
from protocol.blocks.cid import CID, cbor_block
from protocol.blocks.content import KeyedContent
from protocol.federation.run_keys import read_private
from protocol.records.bodies import Run, RunPrivate
from protocol.replies.closing_rule import ClosingRule, Count
from protocol.roles.leader.run_plan import first_content_key, initial_content, named_bundle, recorded_plan

BUNDLE = cbor_block("an encrypted bundle").cid


def encrypted_run(**links: CID) -> tuple[Scribe, Run]:
    scribe = Scribe(encrypted=True, reader=reader_of(SERVER))
    body = scribe.run(**links)
    scribe.add(body)
    return scribe, body


def test_a_plain_run_has_no_key_of_either() -> None:
    scribe, body = begun(), Scribe().run(initial_model=CONTENT)
    private = read_private(body, RunPrivate)
    assert private is not None
    assert named_bundle(body, private, scribe.chain.keys) == NamedBundle(APP, APP, None)
    assert initial_content(body, scribe.chain.keys) == KeyedContent(CONTENT, None)


def test_in_an_encrypted_run_the_model_key_of_its_first_epoch_opens_both() -> None:
    scribe, body = encrypted_run(bundle=BUNDLE, initial_model=CONTENT)
    private = read_private(body, RunPrivate, scribe.chain.keys)
    assert private is not None
    assert scribe.epoch is not None
    assert scribe.epoch.model is not None
    key = first_content_key(scribe.epoch.model, scribe.first.cid, id_of(SERVER))
    assert named_bundle(body, private, scribe.chain.keys) == NamedBundle(APP, BUNDLE, key)
    assert initial_content(body, scribe.chain.keys) == KeyedContent(CONTENT, key)


def test_a_run_that_links_no_model_has_none() -> None:
    assert initial_content(Scribe().run(), begun().chain.keys) is None


def test_a_run_that_goes_on_closes_its_exchanges_as_its_record_says() -> None:
    body = Scribe().run(closing="replies=3 deadline=20")
    private = read_private(body, RunPrivate)
    assert private is not None
    plan = recorded_plan(body, private, begun().chain.keys, b"seed", (), elsewhere=False)
    assert plan.closing == ClosingRule(Count(3), 20.0)
