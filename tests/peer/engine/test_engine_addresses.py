"""What ``--ipfs`` may not be."""

from __future__ import annotations

import pytest

from peer.engine import open_engine
from peer.errors import ExitCode, PeerError


@pytest.mark.parametrize("address", ["", "local:", "ftp://127.0.0.1", "kubo", "/ip4/127.0.0.1/tcp/5001"])
def test_what_names_no_engine_is_refused(address: str) -> None:
    with pytest.raises(PeerError, match="no engine") as refused:
        open_engine(address)
    assert refused.value.exit_code == ExitCode.WRONG_USE
