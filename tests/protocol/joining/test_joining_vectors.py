"""The joining vectors that other implementations test against hold for ours."""

from __future__ import annotations

import json
from pathlib import Path

import msgpack
import pytest

from crypto.identity import PublicIdentity
from crypto.symmetric import SymmetricKey
from protocol.blocks.cid import CID, encode_cbor
from protocol.joining.messages import (
    Join,
    NotForUs,
    open_answer,
    open_join,
    parse_join_envelope,
    seal_answer,
    seal_join,
)
from protocol.joining.tickets import Ticket

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "joining.json").read_text())
KEYS = Ticket.parse(VECTORS["ticket"]).keys


def of(name: str) -> bytes:
    return bytes.fromhex(VECTORS[name])


def context(*names: str) -> bytes:
    name, *rest = names
    return encode_cbor(["pollen context 1", name, CID.parse(VECTORS["federation"]), *rest])


def test_the_ticket_and_its_keys() -> None:
    """Derived here as docs/protocol.md says, not by `TicketKeys`."""
    ticket = Ticket.parse(VECTORS["ticket"])
    root = SymmetricKey(of("secret")).derive(context("ticket"))
    assert (ticket.secret, str(ticket.federation)) == (of("secret"), VECTORS["federation"])
    assert root.secret_bytes() == of("root") == KEYS.root
    assert root.derive(context("invitation tag")).secret_bytes()[:8] == of("tag") == KEYS.tag


def test_the_join_holds_the_key_text_under_the_root() -> None:
    tag, kind, sealed = msgpack.unpackb(of("join"))
    assert (tag, kind) == (of("tag"), "join")
    opened = SymmetricKey(of("root")).derive(b"joining").decrypt(sealed, context("joining", "join"))
    assert msgpack.unpackb(opened) == {"key": VECTORS["key"]}
    join = open_join(KEYS, parse_join_envelope(of("join")))
    assert join == Join(PublicIdentity.parse_key_text(VECTORS["key"]))
    assert seal_join(KEYS, join) == of("join")


@pytest.mark.parametrize("name", VECTORS["answers"])
def test_an_answer_is_read_and_written_as_it_is(name: str) -> None:
    wire = bytes.fromhex(VECTORS["answers"][name])
    answer = open_answer(KEYS, parse_join_envelope(wire))
    assert type(answer).__name__.lower() == name
    assert seal_answer(KEYS, answer) == wire


@pytest.mark.parametrize("name", VECTORS["dropped"])
def test_what_is_no_answer_is_dropped(name: str) -> None:
    with pytest.raises(NotForUs):
        open_answer(KEYS, parse_join_envelope(bytes.fromhex(VECTORS["dropped"][name])))
