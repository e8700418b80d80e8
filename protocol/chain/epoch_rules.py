"""The chain rules of epochs (`protocol.chain.rules` 36 to 41): a run's keys, and what is encrypted with them."""

from __future__ import annotations

from crypto.symmetric import KEY_SIZE, OVERHEAD
from protocol.blocks.cid import CID, BlockSource
from protocol.chain import rules
from protocol.federation.epochs import reads_models, reads_updates
from protocol.federation.manifest import Manifest
from protocol.federation.run_keys import RunKeys
from protocol.records.bodies import Chained, Index, Keys, Reply, Roster, Takeover, Wrap
from protocol.records.signed_records import Record, WellSigned, checked_record, typed_items


def next_keys(
    link: CID | None,
    record: Record,
    signing: bytes,
    manifest: Manifest,
    keys: RunKeys,
    source: BlockSource,
    well_signed: WellSigned,
) -> RunKeys:
    """The keys after ``record``, a run or a roster that links ``link`` and brings ``manifest`` into force.

    ``signing`` is the leader's key in the manifest by which the record is judged. Signatures of records in
    ``well_signed`` are not verified again.

    Raises:
        protocol.chain.rules.BrokenRule: if ``link`` is not the keys of the next epoch.
        protocol.federation.readers.WrongKey: if this reader unwraps another key than all are told of.
    """
    if (link is None) == manifest.encrypted:
        raise rules.KeysLink(f"{record.cid} links {'no keys' if link is None else 'keys that nothing needs'}")
    if link is None:
        return keys
    body = _keys_record(link, record, signing, keys, source, well_signed)
    _check_readers(body, manifest, source)
    listed = manifest.members.get(keys.reader.member)
    return keys.begun(keys.read(body, manifest.federation, listed, source))


def _keys_record(
    link: CID, record: Record, signing: bytes, keys: RunKeys, source: BlockSource, well_signed: WellSigned
) -> Keys:
    linked = checked_record(link, source)
    body = linked.body
    if not isinstance(body, Keys) or body.by != record.body.by or body.number != keys.next_number:
        raise rules.KeysRecord(f"{link} is not the leader's keys of epoch {keys.next_number}")
    if body.epoch is not None or body.private:
        raise rules.PrivatePart("keys have nothing private")
    carried = KEY_SIZE + OVERHEAD if keys.current else 0
    if (len(body.model_before), len(body.update_before)) != (carried, carried):
        raise rules.KeysRecord(f"{link} does not carry exactly the keys of the epoch before")
    if linked.signers != (signing,):
        raise rules.KeysRecord(f"{link} is not signed with the leader's key")
    rules.check_signed(linked, well_signed)
    return body


def _check_readers(body: Keys, manifest: Manifest, source: BlockSource) -> None:
    members = manifest.members.values()
    of_models = tuple(member.id for member in members if reads_models(member))
    of_updates = tuple(member.id for member in members if reads_updates(member))
    for what, listing, expected in (("model", body.model.wraps, of_models), ("update", body.update.wraps, of_updates)):
        if tuple(wrap.to for wrap in typed_items(listing, Wrap, source)) != expected:
            raise rules.KeysReaders(
                f"the {what} key of epoch {body.number} is not for the {len(expected)} who may read"
            )


def check_epoch(body: Chained, keys: RunKeys) -> None:
    """Raise `protocol.chain.rules.RecordEpoch` if a record with a private part is not in the newest epoch."""
    if isinstance(body, Roster | Index | Takeover):
        return  # they have nothing private
    newest = keys.current.number if keys.current else None
    if body.epoch != newest:
        raise rules.RecordEpoch(f"a {body.TYPE} in epoch {body.epoch}, and {newest} is the newest")


def check_reply_epoch(body: Reply, keys: RunKeys) -> None:
    """Raise `protocol.chain.rules.ReplyEpoch` if a reply is in no epoch that has begun."""
    plain = body.epoch is None and keys.current is None and not body.key
    encrypted = body.epoch is not None and keys.has(body.epoch) and bool(body.key)
    if not (plain or encrypted):
        raise rules.ReplyEpoch(f"a reply in epoch {body.epoch}, {'with' if body.key else 'without'} a key")
