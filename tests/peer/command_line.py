"""Running ``peer`` command lines in this process, as the tests of commands do."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from json_schemas import as_documented

from peer.cli.main import run
from peer.cli.output import ERROR


@dataclass(frozen=True)
class Outcome:
    """What one command line did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one object on stdout, which is as docs/json.md says, without the name of its schema."""
        return as_documented(json.loads(self.out))

    @property
    def error(self) -> Any:
        """The object of an error, which is the last on stdout."""
        value = json.loads(self.out.splitlines()[-1])
        assert value["schema"] == ERROR
        return as_documented(value)


class Peer:
    """One home, and the command lines that are run in it."""

    def __init__(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.home = home
        self._capsys = capsys

    def __call__(self, *arguments: str | Path) -> Outcome:
        return self.without_home(*arguments, "--home", self.home)

    def without_home(self, *arguments: str | Path) -> Outcome:
        """A command that is about no home."""
        self._capsys.readouterr()
        code = run([*map(str, arguments)])
        captured = self._capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    def named(self, name: str) -> Peer:
        """The same home, with an identity ``name`` in it."""
        assert self("keys", "init", "--name", name, "--no-passphrase").code == 0
        return self

    @property
    def key(self) -> str:
        """The KEY of its identity, which may be listed in any federation."""
        return self("keys", "show").out.strip()

    def key_for(self, admin: Peer) -> str:
        """The KEY of its identity for the federation of another home."""
        federation = admin("federation", "show", "--json").json["federation"]
        return self("keys", "show", "--federation", federation).out.strip()


@pytest.fixture
def peers(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Peer]:
    """Makes peers, each with a home of its own. Of the tester's variables only the ipfs program's reach them."""
    for name in [name for name in os.environ if name.startswith("POLLEN_") and name != "POLLEN_KUBO"]:
        monkeypatch.delenv(name)
    return lambda name: Peer(tmp_path / name, capsys)


@pytest.fixture
def admin(peers: Callable[[str], Peer]) -> Peer:
    """Somebody who has founded the federation ``trial``."""
    founder = peers("admin").named("hospital-a")
    assert founder("federation", "init", "trial").code == 0
    return founder
