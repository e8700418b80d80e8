"""Takeovers that break rule 49 of `protocol.chain.rules`: that of the warrant."""

from __future__ import annotations

from typing import Any

from chains import ADMIN, ALICE, CONTENT, SECOND, SERVER, STRANGER, TIME, Scribe, id_of, signature_of
from spoiling import Spoiled, breaks

from crypto.keys import SigningKey
from protocol.blocks.cid import Block
from protocol.chain import rules
from protocol.chain.takeover_warrant import LONGEST_WARRANT
from protocol.records.bodies import TakeoverCause
from protocol.records.signed_records import assemble, body_value


def by_warrant(s: Scribe, block: Block, **changes: Any) -> Spoiled:
    """A takeover by this warrant, beside one by an honest one."""
    good = s.takeover(cause=TakeoverCause.HANDOVER, warrant=s.sign(s.warrant(), ADMIN).cid)
    bad = s.takeover(**{"cause": TakeoverCause.HANDOVER, "warrant": block.cid} | changes)
    s.leader = SECOND
    return Spoiled(s.sign(bad, SECOND), good)


def _warranted(s: Scribe, signer: SigningKey = ADMIN, **changes: Any) -> Spoiled:
    return by_warrant(s, s.sign(s.warrant(**changes), signer))


@breaks(rules.TakeoverWarrant)
def a_warrant_that_is_none(s: Scribe) -> Spoiled:
    return by_warrant(s, s.sign(s.vote(ALICE), ALICE))


@breaks(rules.TakeoverWarrant)
def a_warrant_beside_another_cause(s: Scribe) -> Spoiled:
    return by_warrant(s, s.sign(s.warrant(), ADMIN), cause=TakeoverCause.SILENCE)


@breaks(rules.TakeoverWarrant)
def a_warrant_for_another_run(s: Scribe) -> Spoiled:
    return _warranted(s, run=CONTENT)


@breaks(rules.TakeoverWarrant)
def a_warrant_to_end_another_term(s: Scribe) -> Spoiled:
    return _warranted(s, term=2)


@breaks(rules.TakeoverWarrant)
def a_warrant_for_another_server(s: Scribe) -> Spoiled:
    return _warranted(s, candidate=id_of(SERVER))


@breaks(rules.TakeoverWarrant)
def a_warrant_that_had_expired(s: Scribe) -> Spoiled:
    return _warranted(s, time=TIME - 60.0, expires=TIME)


@breaks(rules.TakeoverWarrant)
def a_warrant_that_is_good_for_too_long(s: Scribe) -> Spoiled:
    return _warranted(s, expires=TIME + LONGEST_WARRANT + 1.0)


@breaks(rules.TakeoverWarrant)
def a_warrant_of_somebody_who_is_no_admin(s: Scribe) -> Spoiled:
    return _warranted(s, STRANGER, by=id_of(STRANGER))


@breaks(rules.TakeoverWarrant)
def a_warrant_in_an_admins_name(s: Scribe) -> Spoiled:
    return _warranted(s, SECOND)


@breaks(rules.PrivatePart)
def a_warrant_with_a_private_part(s: Scribe) -> Spoiled:
    return _warranted(s, private=b"\xa0")


@breaks(rules.SignatureValid)
def a_warrant_that_its_admin_did_not_sign(s: Scribe) -> Spoiled:
    body = s.warrant()
    wrong = assemble(body, {id_of(ADMIN): signature_of(body_value(body), SECOND)})
    s.source.add(wrong)
    return by_warrant(s, wrong)
