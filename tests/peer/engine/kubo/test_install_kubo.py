"""``peer install-kubo``: what it finds, builds, downloads and refuses. Go and the releases are stood in for."""

import hashlib
import io
import os
import subprocess
import tarfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from peer.cli import main
from peer.engine.kubo import install, program
from peer.engine.kubo.program import cached_ipfs

WORKING = "#!/bin/sh\necho 0.43.0\n"
GO = """#!/bin/sh
echo "$@" >> "{log}"
case "$1 $2" in
  "mod download") echo '{{"Dir": "{module}"}}' ;;
  "build -trimpath") {build} ;;
esac
"""


def executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without ``ipfs`` and Go; the folder on its PATH."""
    monkeypatch.delenv("POLLEN_KUBO", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "bin").mkdir()
    return tmp_path / "bin"


@pytest.fixture
def releases(environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Releases for a common machine, in two folders instead of on two servers."""
    monkeypatch.setattr(install, "RELEASES", tuple((tmp_path / place).as_uri() for place in ("one", "two")))
    monkeypatch.setattr(install.platform, "system", lambda: "Linux")
    monkeypatch.setattr(install.platform, "machine", lambda: "x86_64")


def run(*options: str) -> int:
    """``peer install-kubo``. Returns its exit code."""
    return main.run(["install-kubo", *options])


def install_go(environment: Path, tmp_path: Path, build: str) -> Path:
    """A ``go`` that logs its calls; its ``build`` is the shell command ``build``, with the output file as $4."""
    (tmp_path / "module" / "cmd").mkdir(parents=True)
    (tmp_path / "module" / "cmd" / "main.go").write_text("package main")
    (tmp_path / "module" / "cmd" / "main.go").chmod(0o444)
    log = tmp_path / "go.log"
    executable(environment / "go", GO.format(log=log, module=tmp_path / "module", build=build))
    return log


def publish(tmp_path: Path, places: tuple[str, ...] = ("one", "two"), program: str = WORKING) -> Path:
    """Put a release in the given places; the archive in the first."""
    name = "kubo_v0.43.0_linux-amd64.tar.gz"
    for place in places:
        folder = tmp_path / place
        folder.mkdir()
        with tarfile.open(folder / name, "w:gz") as tar:
            member = tarfile.TarInfo("kubo/ipfs")
            member.size = len(program)
            tar.addfile(member, io.BytesIO(program.encode()))
        digest = hashlib.sha512((folder / name).read_bytes()).hexdigest()
        (folder / f"{name}.sha512").write_text(f"{digest}  {name}\n")
    return tmp_path / places[0] / name


BUILDS = '/bin/echo "#!/bin/sh\necho 0.43.0" > "$4"; /bin/chmod 755 "$4"'


def test_what_is_here_is_printed_and_nothing_done(environment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ipfs = executable(environment / "ipfs", WORKING)
    assert run() == 0
    assert capsys.readouterr() == (f"{ipfs}\n", "")


def test_with_go_it_is_built_and_kept(releases: None, environment: Path, tmp_path: Path) -> None:
    log = install_go(environment, tmp_path, BUILDS)
    assert run() == 0
    assert subprocess.run([cached_ipfs()], capture_output=True, text=True, check=True).stdout == "0.43.0\n"
    assert "mod download -json github.com/ipfs/kubo@v0.43.0" in log.read_text()


def test_the_second_time_it_is_found(releases: None, environment: Path, tmp_path: Path) -> None:
    log = install_go(environment, tmp_path, BUILDS)
    run()
    calls = log.read_text()
    assert run() == 0
    assert log.read_text() == calls


def test_two_at_once_build_once(releases: None, environment: Path, tmp_path: Path) -> None:
    log = install_go(environment, tmp_path, BUILDS)
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(install.install, [cached_ipfs()] * 2)) == [None] * 2
    assert log.read_text().count("./cmd/ipfs") == 1


def test_without_go_the_release_is_downloaded(releases: None, tmp_path: Path) -> None:
    publish(tmp_path)
    assert run() == 0
    assert os.access(cached_ipfs(), os.X_OK)


def test_where_the_build_fails_the_release_is_downloaded(
    releases: None, environment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install_go(environment, tmp_path, "echo 'out of luck' >&2; exit 1")
    publish(tmp_path)
    assert run() == 0
    assert "go build failed: out of luck" in capsys.readouterr().err


def test_one_place_that_is_down_is_enough(releases: None, tmp_path: Path) -> None:
    publish(tmp_path, places=("two",))
    assert run() == 0


def spoil_the_archive(tmp_path: Path) -> None:
    with publish(tmp_path).open("ab") as archive:
        archive.write(b"\0")


def spoil_one_digest(tmp_path: Path) -> None:
    publish(tmp_path)
    (tmp_path / "two" / "kubo_v0.43.0_linux-amd64.tar.gz.sha512").write_text("0" * 128)


def spoil_both_digests(tmp_path: Path) -> None:
    publish(tmp_path)
    (tmp_path / "one" / "kubo_v0.43.0_linux-amd64.tar.gz.sha512").write_text("<html>")


def publish_what_does_not_run(tmp_path: Path) -> None:
    publish(tmp_path, program="#!/bin/sh\nexit 1\n")


@pytest.mark.parametrize(
    ("trouble", "why"),
    [
        (lambda tmp_path: None, "cannot download"),
        (spoil_the_archive, "has the SHA-512"),
        (spoil_one_digest, "publish different SHA-512s"),
        (spoil_both_digests, "holds no SHA-512"),
        (publish_what_does_not_run, "not a working Kubo"),
    ],
)
def test_what_cannot_be_had_or_trusted_is_not_installed(
    releases: None,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    trouble: Callable[[Path], object],
    why: str,
) -> None:
    trouble(tmp_path)
    assert run() == 3
    said = capsys.readouterr()
    assert why in said.err
    assert "POLLEN_KUBO" in said.err
    assert "--ipfs local:DIR" in said.err
    assert said.out == ""
    assert [path.name for path in cached_ipfs().parent.iterdir()] == ["lock"]


def test_a_machine_without_releases_is_told_so(
    releases: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(install.platform, "machine", lambda: "sparc64")
    assert run() == 3
    assert "no official Kubo for Linux on sparc64" in capsys.readouterr().err


def test_pollen_ipfs_that_will_not_do_is_an_error(
    releases: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POLLEN_KUBO", "/nowhere/ipfs")
    assert run() == 3
    assert "POLLEN_KUBO names /nowhere/ipfs" in capsys.readouterr().err


def test_for_all_users_it_is_not_left_in_the_cache_of_one(
    releases: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(program, "_SHARED", tmp_path / "shared")
    publish(tmp_path)
    run()
    assert capsys.readouterr().out == f"{cached_ipfs()}\n"
    run("--all-users")
    assert capsys.readouterr().out == f"{program.shared_ipfs()}\n"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another user's"))
    assert program.find_ipfs() == program.shared_ipfs()
