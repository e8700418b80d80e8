"""`peer service`: a unit that systemd takes as it is, and what could not run is refused before it is installed."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Peer

from peer.base.errors import ExitCode
from peer.engine.kubo import program
from peer.service import installing
from peer.service.unit import Unit, argument, escaped, quoted

Peers = Callable[[str], Peer]
VERIFY = shutil.which("systemd-analyze")


@pytest.fixture
def peer(peers: Peers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Peer:
    """A peer whose user has folders of its own, and no Kubo."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("POLLEN_KUBO", raising=False)
    return peers("a peer's home").named("peer")


@pytest.mark.skipif(VERIFY is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("system", [False, True])
def test_systemd_takes_the_unit_as_it_is(peer: Peer, tmp_path: Path, system: bool) -> None:
    odd = 'it\'s 100% "mine"; $HOME \\ and more'
    unit = installing.unit_of(peer.home, ("start", "--node-config", odd), name="pollen", system=system, passphrase=None)
    place = tmp_path / "pollen.service"
    place.write_text(unit.text())
    assert VERIFY is not None
    done = subprocess.run(
        [VERIFY, "verify", "--man=no", *([] if system else ["--user"]), place],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path), "SYSTEMD_LOG_LEVEL": "warning"},
        capture_output=True,
        text=True,
        check=False,
    )
    ours = [line for line in done.stderr.splitlines() if "pollen.service" in line]
    assert (done.returncode, ours) == (0, [])


def test_a_unit_of_ones_own_is_put_where_systemd_looks(peer: Peer, tmp_path: Path) -> None:
    installed = peer("service", "install")
    assert installed.code == ExitCode.DONE, installed.err
    text = (tmp_path / "config" / "systemd" / "user" / "pollen.service").read_text()
    assert "peer serve\n" in text
    assert f'POLLEN_HOME={peer.home}"\n' in text
    assert "\nWantedBy=default.target\n" in text
    assert "systemctl --user enable --now pollen" in installed.out

    assert peer.without_home("service", "remove").code == ExitCode.DONE
    assert peer.without_home("service", "remove").code == ExitCode.WRONG_USE


def test_a_command_comes_as_it_was_given(peer: Peer) -> None:
    printed = peer.without_home(
        "service", "install", "--print", "--home", peer.home, "--", "start", "--node-config", "a=1 b=2"
    )
    (line,) = [line for line in printed.out.splitlines() if line.startswith("ExecStart=")]
    assert shlex.split(line.removeprefix("ExecStart="))[1:] == ["start", "--node-config", "a=1 b=2"]


def test_a_folder_is_found_from_wherever_systemd_starts_the_peer(
    peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = ("start", "--role", "client", "--app", "my-app", "--data-dir=data")
    printed = peer.without_home("service", "install", "--print", "--home", peer.home, "--", *command)
    (line,) = [line for line in printed.out.splitlines() if line.startswith("ExecStart=")]
    told = ["start", "--role", "client", "--app", str(tmp_path / "my-app"), f"--data-dir={tmp_path / 'data'}"]
    assert shlex.split(line.removeprefix("ExecStart="))[1:] == told


@pytest.mark.parametrize("command", [["strat"], ["start", "--aap", "my-app"]], ids=" ".join)
def test_a_command_that_is_none_is_no_service(peer: Peer, command: list[str]) -> None:
    refused = peer.without_home("service", "install", "--print", "--home", peer.home, "--", *command)
    assert (refused.code, refused.out) == (ExitCode.WRONG_USE, "")


def test_only_what_may_go_away_by_itself_is_tried_again(tmp_path: Path) -> None:
    text = Unit("pollen", ("/bin/peer", "serve"), tmp_path, None, None, None).text()
    assert "Restart=on-failure\n" in text
    assert "RestartPreventExitStatus=1 2 4\n" in text


def test_a_locked_identity_needs_a_passphrase_that_nobody_types(peers: Peers, peer: Peer, tmp_path: Path) -> None:
    locked, secret = peers("locked"), tmp_path / "secret"
    secret.write_text("correct horse battery staple\n")
    assert locked("keys", "init", "--name", "a", "--passphrase-file", secret).code == ExitCode.DONE
    refused = locked("service", "install", "--print")
    assert refused.code == ExitCode.WRONG_USE
    assert "--passphrase-file" in refused.err
    printed = locked("service", "install", "--print", "--passphrase-file", secret)
    assert f"LoadCredential=pollen-passphrase:{secret}\n" in printed.out


def test_a_home_without_an_identity_is_no_service(peers: Peers) -> None:
    assert peers("empty")("service", "install").code == ExitCode.WRONG_USE


def test_a_program_that_another_user_cannot_reach_is_refused(peer: Peer, tmp_path: Path) -> None:
    cached = program.cached_ipfs()
    cached.parent.mkdir(parents=True)
    cached.write_text("#!/bin/sh\necho 0.43.0\n")
    cached.chmod(0o755)
    (tmp_path / "cache").chmod(0o700)
    with pytest.raises(installing.PeerError, match=r"nobody cannot run .*ipfs") as raised:
        installing._check_within_reach(cached, "nobody", "peer install-kubo --all-users")
    assert raised.value.fix == "peer install-kubo --all-users"


@pytest.mark.parametrize("name", ["", "../x", "a b", "-x", "a/b"])
def test_a_name_that_is_a_path_is_none(peer: Peer, name: str) -> None:
    assert peer("service", "install", f"--name={name}").code == ExitCode.WRONG_USE


def test_systemd_expands_nothing_of_what_was_given() -> None:
    assert argument("100% $HOME") == '"100%% $$HOME"'
    assert quoted('a"b\\c') == '"a\\"b\\\\c"'
    with pytest.raises(ValueError, match="cannot be printed"):
        escaped("a\nExecStartPre=/bin/sh")


def test_a_dollar_sign_is_doubled_where_systemd_expands_variables_and_nowhere_else() -> None:
    text = Unit("pollen", ("/o$t/peer", "a$b"), Path("/srv/a$b"), None, None, None).text()
    assert "\nExecStart=/o$t/peer a$$b\n" in text
    assert "\nWorkingDirectory=/srv/a$b\nEnvironment=POLLEN_HOME=/srv/a$b\n" in text


@pytest.mark.parametrize("home", ["/srv/a ", "/srv/a\\"])
def test_a_folder_of_which_systemd_would_drop_the_end_is_refused(home: str) -> None:
    with pytest.raises(ValueError, match="begins or ends with"):
        Unit("pollen", ("/bin/peer",), Path(home), None, None, None).text()


def test_without_a_home_folder_kubo_is_looked_for_where_all_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(program.Path, "home", none)
    assert program.cached_ipfs() == program.shared_ipfs()
