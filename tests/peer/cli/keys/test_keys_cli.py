"""``peer keys``: making, showing and relocking identities, and what goes wrong with them."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from json_schemas import as_documented

from crypto.identity import PublicIdentity
from peer.base.errors import ExitCode, PeerError
from peer.cli.main import run
from peer.home.keystore import KeyStore
from peer.home.passphrase import Passphrases

Peer = Callable[..., int]
PASSPHRASE = "open sesame"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def keys(home: Path, monkeypatch: pytest.MonkeyPatch) -> Peer:
    """``peer keys ...`` in ``home``, with a passphrase in the environment; returns the exit code."""
    monkeypatch.setenv("POLLEN_PASSPHRASE", PASSPHRASE)
    return lambda *arguments: run(["keys", *map(str, arguments), "--home", str(home)])


def file_of(home: Path, name: str = "alice") -> Path:
    return home / "keys" / f"{name}.key"


def salt_and_nonce(home: Path) -> set[str]:
    file = json.loads(file_of(home).read_bytes())
    return {file["kdf"]["salt"], file["nonce"]}


def last_json(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    return as_documented(json.loads(capsys.readouterr().out))


def test_init_makes_a_locked_identity(keys: Peer, home: Path) -> None:
    assert keys("init", "--name", "alice") == ExitCode.DONE
    assert KeyStore(home).public("alice").locked
    assert KeyStore(home).load("alice", Passphrases(environ={"POLLEN_PASSPHRASE": PASSPHRASE})).name == "alice"


def test_only_the_owner_may_open_what_init_makes(keys: Peer, home: Path) -> None:
    keys("init", "--name", "alice")
    assert (home / "keys").stat().st_mode & 0o777 == 0o700
    assert file_of(home).stat().st_mode & 0o777 == 0o600


def test_nothing_else_is_left_in_the_directory(keys: Peer, home: Path) -> None:
    keys("init", "--name", "alice")
    keys("init", "--name", "alice")
    keys("passwd", "--no-passphrase")
    assert list((home / "keys").iterdir()) == [file_of(home)]


def test_init_overwrites_nothing(keys: Peer, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys("init", "--name", "alice")
    before = file_of(home).read_bytes()
    assert keys("init", "--name", "alice") == ExitCode.WRONG_USE
    assert "already" in capsys.readouterr().err
    assert file_of(home).read_bytes() == before


def test_init_without_a_passphrase_is_explicit(keys: Peer, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POLLEN_PASSPHRASE")
    assert keys("init", "--name", "alice") == ExitCode.WRONG_USE
    assert keys("init", "--name", "alice", "--no-passphrase") == ExitCode.DONE
    assert not KeyStore(home).public("alice").locked


def test_a_missing_passphrase_names_every_way_to_give_one(
    keys: Peer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("POLLEN_PASSPHRASE")
    keys("init", "--name", "alice")
    said = capsys.readouterr().err
    assert all(
        way in said
        for way in ("--passphrase-file", "POLLEN_PASSPHRASE_FILE", "POLLEN_PASSPHRASE", "terminal", "--no-passphrase")
    )


@pytest.mark.parametrize("name", ["../alice", ".alice", "a b", ""])
def test_a_name_that_is_none_is_wrong_use(keys: Peer, home: Path, name: str) -> None:
    assert keys("init", "--name", name) == ExitCode.WRONG_USE
    assert not home.exists()


def test_show_prints_the_key_and_nothing_else(keys: Peer, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys("init", "--name", "alice")
    capsys.readouterr()
    assert keys("show") == ExitCode.DONE
    said = capsys.readouterr()
    assert said.out == KeyStore(home).public("alice").public.key_text() + "\n"
    assert said.err == ""  # not a terminal


def test_show_as_json(keys: Peer, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keys("init", "--name", "alice")
    capsys.readouterr()
    keys("show", "alice", "--json")
    public = KeyStore(home).public("alice").public
    assert last_json(capsys) == {
        "name": "alice",
        "did": public.signing.did,
        "suite": "mlkem768x25519-hkdfsha256-aes256gcm",
        "key": public.key_text(),
        "locked": True,
    }


def test_show_without_a_name_takes_the_one_called_default(keys: Peer, capsys: pytest.CaptureFixture[str]) -> None:
    keys("init", "--name", "alice")
    keys("init", "--name", "default")
    capsys.readouterr()
    keys("show", "--json")
    assert last_json(capsys)["name"] == "default"


def test_show_without_a_name_does_not_guess(keys: Peer, capsys: pytest.CaptureFixture[str]) -> None:
    keys("init", "--name", "alice")
    keys("init", "--name", "bob")
    assert keys("show") == ExitCode.WRONG_USE
    assert "name one of: alice, bob" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["show"], ["show", "bob"], ["passwd"], ["backup", "bob", "file"]])
def test_an_identity_that_is_not_here_names_the_way_to_make_it(
    keys: Peer, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert keys(*arguments) == ExitCode.WRONG_USE
    assert "peer keys init --name" in capsys.readouterr().err


def test_list_shows_every_identity(keys: Peer, capsys: pytest.CaptureFixture[str]) -> None:
    keys("init", "--name", "bob", "--no-passphrase")
    keys("init", "--name", "alice")
    capsys.readouterr()
    keys("list", "--json")
    assert [(one["name"], one["locked"]) for one in last_json(capsys)["keys"]] == [("alice", True), ("bob", False)]


def test_list_of_an_empty_home_is_empty(keys: Peer, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert keys("list", "--json") == ExitCode.DONE
    assert last_json(capsys) == {"keys": []}
    assert not home.exists()


@pytest.mark.parametrize(
    "arguments", [["init", "--name", "bob"], ["passwd", "--no-passphrase"]], ids=["init", "passwd"]
)
def test_a_full_disk_leaves_everything_as_it_was(
    keys: Peer,
    home: Path,
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    keys("init", "--name", "alice")
    before = file_of(home).read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert keys(*arguments) == ExitCode.UNFINISHED
    assert "free some space" in capsys.readouterr().err
    assert [path.read_bytes() for path in (home / "keys").iterdir()] == [before]


def test_passwd_changes_the_passphrase_and_keeps_the_keys(keys: Peer, home: Path, tmp_path: Path) -> None:
    keys("init", "--name", "alice")
    before, old = KeyStore(home).public().public, salt_and_nonce(home)
    (tmp_path / "new").write_text("another one\n")
    assert keys("passwd", "--new-passphrase-file", tmp_path / "new") == ExitCode.DONE
    new = KeyStore(home).load("alice", Passphrases(environ={"POLLEN_PASSPHRASE": "another one"}))
    assert new.public == before
    assert salt_and_nonce(home).isdisjoint(old)
    assert keys("passwd", "--no-passphrase") == ExitCode.WRONG_USE  # the environment has the old one
    assert file_of(home).stat().st_mode & 0o777 == 0o600


def test_passwd_does_not_take_the_old_passphrase_for_the_new_one(
    keys: Peer, capsys: pytest.CaptureFixture[str]
) -> None:
    keys("init", "--name", "alice")
    assert keys("passwd") == ExitCode.WRONG_USE
    assert "give --new-passphrase-file FILE, or run it in a terminal" in capsys.readouterr().err


def test_a_wrong_passphrase_is_named_and_shown_nowhere(
    keys: Peer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keys("init", "--name", "alice")
    monkeypatch.setenv("POLLEN_PASSPHRASE", "open barley")
    assert keys("passwd", "--no-passphrase", "-v") == ExitCode.WRONG_USE  # -v: with the traceback
    said = capsys.readouterr().err
    assert "wrong passphrase for the key of alice" in said
    assert "barley" not in said


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda data: data[:700], "cut short"),
        (lambda data: b"", "cut short"),
        (lambda data: data.replace(b'"iterations": 1', b'"iterations": 2'), "changed"),
        (lambda data: data.replace(b'"version": 1', b'"version": 4'), "version 4"),
    ],
    ids=["truncated", "empty", "tampered", "newer"],
)
def test_a_damaged_key_file_is_told_apart_from_a_wrong_passphrase(
    keys: Peer, home: Path, damage: Callable[[bytes], bytes], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    keys("init", "--name", "alice")
    file_of(home).write_bytes(damage(file_of(home).read_bytes()))
    assert keys("passwd", "--no-passphrase") == ExitCode.WRONG_USE
    said = capsys.readouterr().err
    assert why in said
    assert "wrong passphrase" not in said
    assert "fix: " in said


@pytest.mark.parametrize(("path", "mode"), [("keys/alice.key", "600"), ("keys", "700")])
def test_keys_that_others_may_open_are_not_used(
    keys: Peer, home: Path, path: str, mode: str, capsys: pytest.CaptureFixture[str]
) -> None:
    keys("init", "--name", "alice")
    (home / path).chmod(0o755)
    assert keys("show") == ExitCode.WRONG_USE
    assert f"chmod {mode} {home / path}" in capsys.readouterr().err


def test_a_renamed_key_file_is_not_taken_for_another_identity(
    keys: Peer, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys("init", "--name", "alice")
    file_of(home).rename(file_of(home, "bob"))
    assert keys("show", "bob") == ExitCode.WRONG_USE
    assert "holds the key of alice" in capsys.readouterr().err


def test_a_passphrase_file_is_preferred_and_its_line_end_is_no_part_of_it(
    keys: Peer, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "by option").write_bytes(b"one\r\n")
    (tmp_path / "by variable").write_bytes(b"two\n")
    monkeypatch.setenv("POLLEN_PASSPHRASE_FILE", str(tmp_path / "by variable"))
    keys("init", "--name", "alice", "--passphrase-file", tmp_path / "by option")
    keys("init", "--name", "bob")
    for name, passphrase in (("alice", "one"), ("bob", "two")):
        assert KeyStore(home).load(name, Passphrases(environ={"POLLEN_PASSPHRASE": passphrase})).name == name


def test_a_credential_of_systemd_is_taken_and_one_for_the_name_before_one_for_all(tmp_path: Path) -> None:
    (tmp_path / "pollen-passphrase").write_text("for all\n")
    (tmp_path / "pollen-passphrase-alice").write_text("for alice\n")
    service = Passphrases(environ={"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert (service.existing("alice"), service.existing("bob")) == ("for alice", "for all")


def test_a_service_without_the_credential_is_told_how_to_give_it(tmp_path: Path) -> None:
    with pytest.raises(PeerError) as raised:
        Passphrases(environ={"CREDENTIALS_DIRECTORY": str(tmp_path)}).existing("alice")
    assert "pollen-passphrase" in raised.value.fix


def test_what_was_typed_is_not_asked_for_again() -> None:
    typed = iter(["one"])
    person = Passphrases(ask=lambda prompt: next(typed))
    assert (person.existing("alice"), person.existing("alice"), person.unattended().existing("alice")) == ("one",) * 3


def test_a_person_types_a_new_passphrase_twice() -> None:
    typed = iter(["one", "two", "three", "three"])
    person = Passphrases(ask=lambda prompt: next(typed))
    with pytest.raises(Exception, match="differ"):
        person.new("alice")
    assert person.new("alice") == "three"


@pytest.mark.parametrize("passphrases", [Passphrases(environ={"POLLEN_PASSPHRASE": ""}), Passphrases(ask=lambda _: "")])
def test_an_empty_passphrase_is_refused(passphrases: Passphrases) -> None:
    with pytest.raises(Exception, match="empty"):
        passphrases.new("alice")


def test_passphrases_do_not_show_in_a_repr() -> None:
    assert PASSPHRASE not in repr(Passphrases(environ={"POLLEN_PASSPHRASE": PASSPHRASE}))


def test_the_real_program_hands_its_key_to_a_shell(tmp_path: Path) -> None:
    """A process of its own, as in ``peer federation add "$(peer keys show)"``."""
    peer = [sys.executable, "-m", "peer", "keys"]
    home = ["--home", str(tmp_path / "home")]
    environment = {"PYTHONPATH": str(Path(__file__).parents[4]), "POLLEN_PASSPHRASE": PASSPHRASE}
    subprocess.run([*peer, "init", "--name", "alice", *home], check=True, env=environment, capture_output=True)
    shown = subprocess.run([*peer, "show", *home], check=True, env=environment, capture_output=True, text=True)
    key = PublicIdentity.parse_key_text(shown.stdout.removesuffix("\n"))
    assert key == KeyStore(tmp_path / "home").public("alice").public


def test_importing_the_commands_does_not_import_cryptography() -> None:
    """``peer --help`` answers at once."""
    code = "import sys, peer.cli.keys.keys; sys.exit('cryptography' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[4])
