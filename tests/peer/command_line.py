"""Running ``peer`` command lines in this process, as the tests of commands do."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from peer.cli.main import run


@dataclass(frozen=True)
class Outcome:
    """What one command line did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one object on stdout."""
        return json.loads(self.out)


class Peer:
    """One home, and the command lines that are run in it."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home = home
        self._capsys = capsys

    def __call__(self, *arguments: str | Path) -> Outcome:
        self._capsys.readouterr()
        code = run([*map(str, arguments), "--home", str(self.home)])
        captured = self._capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    def named(self, name: str) -> Peer:
        """The same home, with an identity ``name`` in it."""
        assert self("keys", "init", "--name", name, "--no-passphrase").code == 0
        return self

    @property
    def key(self) -> str:
        """The KEY of its identity."""
        return self("keys", "show").out.strip()
