"""What ``--ipfs`` may not be."""

from __future__ import annotations

import pytest

from peer.base.errors import ExitCode, PeerError
from peer.engine import open_engine


@pytest.mark.parametrize("address", ["", "local:", "ftp://127.0.0.1", "kubo", "/ip4/127.0.0.1/tcp/5001"])
def test_what_names_no_engine_is_refused(address: str) -> None:
    with pytest.raises(PeerError, match="no engine") as refused:
        open_engine(address)
    assert refused.value.exit_code == ExitCode.WRONG_USE
