"""What the tests over Kubo share with those in tests/peer and tests/end_to_end."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).parent
sys.path += [str(HERE.parent / name) for name in ("peer", "protocol", "end_to_end")]

import pytest  # noqa: E402
from command_line import peers  # noqa: E402  # found by the path above
from federation import Federation  # noqa: E402

__all__ = ["peers"]


@pytest.fixture
def federations(
    ipfs_program: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Federation]]:
    """Founds federations whose members have managed nodes, in a folder of the test's. It takes what `Federation` takes
    beyond that. What still runs at the end of the test is killed."""
    monkeypatch.setenv("POLLEN_KUBO", str(ipfs_program))
    with contextlib.ExitStack() as stack:

        def found(kind: type[Federation] = Federation, *, encrypted: bool = True) -> Federation:
            made = kind(tmp_path, "kubo", encrypted)
            stack.callback(made.end)
            return made

        yield found
