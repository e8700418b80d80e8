"""With whose keys a command reads an encrypted run."""

from __future__ import annotations

from pathlib import Path

import pytest

from crypto.identity import Identity
from peer.base.errors import ExitCode, PeerError
from peer.home.keystore import KeyStore
from peer.home.passphrase import Passphrases
from peer.home.reader_choice import ReaderChoice
from protocol.federation.manifest import PUBLIC


def test_a_home_without_an_identity_reads_what_is_public(tmp_path: Path) -> None:
    assert ReaderChoice(None, Passphrases.of_process(), needed=False).open(tmp_path, []) is PUBLIC


def test_where_keys_are_needed_it_is_told_whose(tmp_path: Path) -> None:
    with pytest.raises(PeerError, match="the run is encrypted") as refused:
        ReaderChoice(None, Passphrases.of_process(), needed=True).open(tmp_path, [])
    assert refused.value.exit_code is ExitCode.WRONG_USE
    assert "a server or an auditor" in refused.value.fix


def test_a_credential_that_systemd_hands_over_opens_a_locked_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = Identity.generate("auditor")
    KeyStore(tmp_path).add(identity, "open sesame")
    assert ReaderChoice(None, Passphrases.of_process(), needed=False).open(tmp_path, []) is PUBLIC
    (tmp_path / "pollen-passphrase-auditor").write_text("open sesame\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert ReaderChoice(None, Passphrases.of_process(), needed=False).open(tmp_path, []).member == identity.id


def test_nobody_is_asked_twice_for_the_passphrase_of_one_command(tmp_path: Path) -> None:
    KeyStore(tmp_path).add(Identity.generate("auditor"), "open sesame")
    typed = iter(["open sesame"])
    choice = ReaderChoice(None, Passphrases(ask=lambda _: next(typed)), needed=False)
    identity = choice.unlocked(tmp_path)  # to sign
    assert choice.open(tmp_path, []).member == identity.id  # to read
    assert choice.open(tmp_path, []).member == identity.id  # and the next run
