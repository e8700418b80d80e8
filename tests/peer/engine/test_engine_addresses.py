"""What ``--ipfs`` may not be."""

from __future__ import annotations

import pytest

from peer.engine import open_engine
from peer.engine.interface import WrongAddress


@pytest.mark.parametrize("address", ["", "local:", "ftp://127.0.0.1", "kubo", "/ip4/127.0.0.1/tcp/5001"])
def test_what_names_no_engine_is_refused(address: str) -> None:
    with pytest.raises(WrongAddress, match="no engine"):
        open_engine(address)
