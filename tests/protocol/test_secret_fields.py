"""No object shows the secrets that it holds: a value that is printed or logged by mistake tells nothing."""

from __future__ import annotations

import pytest

from crypto.symmetric import ChunkNonce, SymmetricKey
from protocol.app.calls import Start
from protocol.blocks.bundle import NamedBundle
from protocol.blocks.cid import cbor_block
from protocol.blocks.content import ContentKey
from protocol.joining.tickets import Ticket, TicketKeys
from protocol.roles.client.client_plan import ClientPlan
from protocol.roles.leader.run_plan import RunPlan

SECRET = b"32 bytes that nobody is to see.."
CID = cbor_block({}).cid
HOLDERS: list[object] = [
    SymmetricKey(SECRET),
    ContentKey(1, SECRET, ChunkNonce.GMAC),
    Start(CID, 1, SECRET, ()),
    NamedBundle(CID, CID, ContentKey(1, SECRET, ChunkNonce.GMAC)),
    RunPlan(NamedBundle(CID, CID, None), SECRET, "app", "1", (), 3, model_key=SymmetricKey(SECRET)),
    ClientPlan(CID, SECRET),
    TicketKeys(CID, SECRET),
    Ticket(CID, "alice", (), SECRET, SECRET, 0),
]


@pytest.mark.parametrize("holder", HOLDERS, ids=lambda each: type(each).__name__)
def test_a_secret_is_not_shown(holder: object) -> None:
    assert "nobody is to see" not in repr(holder)
