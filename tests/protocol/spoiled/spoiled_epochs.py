"""Records that break one rule of `protocol.chain.rules` 36 to 41: the keys of epochs, and what is encrypted with
them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from chains import (
    ADMIN,
    ALICE,
    BOB,
    DAVE,
    KEEPER,
    SECOND,
    SERVER,
    TIME,
    Scribe,
    begun,
    decryption_key,
    id_of,
    member,
    reader_of,
)
from spoiling import Spoiled, breaks, signed

from crypto.symmetric import SymmetricKey
from protocol.chain import rules
from protocol.federation.epochs import epoch_wraps
from protocol.federation.unsigned_versions import with_member, without_member
from protocol.records.bodies import EncryptionKeyText, Member, Role, WrappedKey
from protocol.records.contexts import RunPlace


def _empty() -> Scribe:
    return Scribe(encrypted=True)


def _sealed() -> Scribe:
    return begun(encrypted=True)


def _for_the_server() -> Scribe:
    return Scribe(encrypted=True, reader=reader_of(SERVER))


def _for_dave() -> Scribe:
    """Somebody who is not a member yet."""
    return begun(encrypted=True, reader=reader_of(DAVE))


def _run(s: Scribe, **changes: Any) -> Spoiled:
    """A run whose keys have ``changes``, beside an honest one."""
    return signed(s, s.run(s.keys(**changes)), s.run())


def _roster(s: Scribe, **changes: Any) -> Spoiled:
    """A roster with Dave whose keys have ``changes``, beside an honest one."""
    manifest = s.with_dave().cid
    keys = s.begin(s.keys(s.read_manifest(manifest), **changes))
    return signed(s, s.roster(manifest, keys=keys), s.roster(manifest))


def _model_for(s: Scribe, members: Iterable[Member], epoch: int) -> WrappedKey:
    """A new model key, wrapped for ``members`` as that of an epoch of a run that begins with it."""
    model = SymmetricKey.generate()
    wrapped, blocks = epoch_wraps(model, members, RunPlace(s.first.cid, id_of(SERVER), model.commitment()), epoch)
    s.source.add(*blocks)
    return wrapped


# -- which keys ----------------------------------------------------------------------------------------------------


@breaks(rules.KeysLink, _empty)
def a_run_without_keys_where_all_is_encrypted(s: Scribe) -> Spoiled:
    good = s.run()
    return signed(s, replace(good, keys=None), good)


@breaks(rules.KeysLink, Scribe)
def a_run_with_keys_where_nothing_is_encrypted(s: Scribe) -> Spoiled:
    return signed(s, s.run(keys=s.begin(s.keys())), s.run())


@breaks(rules.KeysLink, _sealed)
def a_roster_without_keys(s: Scribe) -> Spoiled:
    without = without_member(s.manifest, id_of(BOB), by=id_of(ADMIN), time=TIME)
    manifest = s.next_manifest(without).cid
    return signed(s, s.roster(manifest, keys=None), s.roster(manifest))


@breaks(rules.KeysRecord, _empty)
def a_manifest_linked_as_keys(s: Scribe) -> Spoiled:
    good = s.run()
    return signed(s, replace(good, keys=s.first.cid), good)


@breaks(rules.KeysRecord, _empty)
def keys_by_another_server(s: Scribe) -> Spoiled:
    return _run(s, by=id_of(SECOND))


@breaks(rules.KeysRecord, _empty)
def keys_that_another_signed(s: Scribe) -> Spoiled:
    good = s.run()
    return signed(s, replace(good, keys=s.begin(s.keys(), SECOND)), good)


@breaks(rules.KeysRecord, _sealed)
def the_keys_of_the_epoch_before_again(s: Scribe) -> Spoiled:
    assert s.epoch is not None
    manifest = s.with_dave().cid
    return signed(s, s.roster(manifest, keys=s.sign(s.epoch.body).cid), s.roster(manifest))


@breaks(rules.KeysRecord, _sealed)
def keys_that_do_not_carry_those_before(s: Scribe) -> Spoiled:
    return _roster(s, model_before=b"", update_before=b"")


@breaks(rules.PrivatePart, _empty)
def keys_with_a_private_part(s: Scribe) -> Spoiled:
    return _run(s, private=b"\xa0")


# -- for whom ------------------------------------------------------------------------------------------------------


@breaks(rules.KeysReaders, _empty)
def a_model_key_that_a_client_is_not_given(s: Scribe) -> Spoiled:
    others = [member for member in s.manifest.members.values() if member.id != id_of(ALICE)]
    return _run(s, model=_model_for(s, others, 1))


@breaks(rules.KeysReaders, _empty)
def an_update_key_that_clients_are_given_too(s: Scribe) -> Spoiled:
    body = s.keys().body
    return _run(s, update=replace(body.update, wraps=body.model.wraps))


@breaks(rules.KeysReaders, _sealed)
def keys_for_a_member_who_is_leaving(s: Scribe) -> Spoiled:
    manifest = s.next_manifest(without_member(s.manifest, id_of(BOB), by=id_of(ADMIN), time=TIME)).cid
    return signed(s, s.roster(manifest, keys=s.begin(s.keys())), s.roster(manifest))


@breaks(rules.KeysReaders, _empty)
def a_model_key_that_a_keeper_is_given_too(s: Scribe) -> Spoiled:
    keeper = member(KEEPER, Role.KEEPER, place=s.first.cid)
    manifest = s.next_manifest(with_member(s.manifest, keeper, "keeper", by=id_of(ADMIN), time=TIME))
    s.manifest = s.read_manifest(manifest.cid)
    return _run(s, model=_model_for(s, s.manifest.members.values(), 1))


# -- true to what all are told -------------------------------------------------------------------------------------


@breaks(rules.KeysTrue, _for_the_server)
def a_model_key_that_is_not_the_one_committed_to(s: Scribe) -> Spoiled:
    commitment = SymmetricKey.generate().commitment()
    return _run(s, model=replace(s.keys().body.model, commitment=commitment))


@breaks(rules.KeysTrue, _for_the_server)
def an_update_key_whose_public_half_is_anothers(s: Scribe) -> Spoiled:
    other = decryption_key(SECOND).public
    public = EncryptionKeyText(suite=other.suite.value, key=other.raw)
    return _run(s, update=replace(s.keys().body.update, public=public))


@breaks(rules.KeysTrue, _empty)
def an_update_key_that_is_none(s: Scribe) -> Spoiled:
    return _run(s, update=replace(s.keys().body.update, public=EncryptionKeyText(suite="none", key=b"")))


@breaks(rules.KeysTrue, _for_the_server)
def a_key_that_is_sealed_as_another_epochs(s: Scribe) -> Spoiled:
    return _run(s, model=_model_for(s, s.manifest.members.values(), 2))


@breaks(rules.KeysTrue, _for_dave)
def keys_of_the_epoch_before_that_are_others(s: Scribe) -> Spoiled:
    return _roster(s, model_before=bytes(60))


# -- the epoch of what is encrypted --------------------------------------------------------------------------------


@breaks(rules.RecordEpoch, _sealed)
def a_plain_dispatch_where_all_is_encrypted(s: Scribe) -> Spoiled:
    good = s.dispatch()
    return signed(s, replace(good, **s.private({"kinds": []}, "dispatch", None)), good)


@breaks(rules.RecordEpoch)
def an_encrypted_dispatch_where_nothing_is(s: Scribe) -> Spoiled:
    good = s.dispatch()
    return signed(s, replace(good, epoch=1), good)


@breaks(rules.RecordEpoch, _sealed)
def a_dispatch_in_the_epoch_before(s: Scribe) -> Spoiled:
    old = s.epoch
    s.add(s.roster(s.with_dave().cid))
    good = s.dispatch()
    return signed(s, replace(good, **s.private({"kinds": []}, "dispatch", old)), good)


@breaks(rules.RecordEpoch, _empty)
def a_run_in_an_epoch_that_has_not_begun(s: Scribe) -> Spoiled:
    good = s.run()
    return signed(s, replace(good, epoch=2), good)


@breaks(rules.ReplyEpoch, _sealed)
def a_plain_reply_where_all_is_encrypted(s: Scribe) -> Spoiled:
    return _reply(s, **s.private({"reason": ""}, "reply", None), key=b"")


@breaks(rules.ReplyEpoch, _sealed)
def a_reply_in_an_epoch_that_has_not_begun(s: Scribe) -> Spoiled:
    return _reply(s, epoch=2)


@breaks(rules.ReplyEpoch, _sealed)
def an_encrypted_reply_that_shows_no_key(s: Scribe) -> Spoiled:
    return _reply(s, key=b"")


@breaks(rules.ReplyEpoch)
def a_reply_with_a_key_where_nothing_is_encrypted(s: Scribe) -> Spoiled:
    return _reply(s, key=b"a key")


def _reply(s: Scribe, **changes: Any) -> Spoiled:
    """Alice's reply with ``changes``, beside her honest one."""
    return signed(s, s.collect(s.taken(ALICE, **changes)), s.collect(s.taken(ALICE)))
