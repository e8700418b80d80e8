"""``peer app``: reading an app before it may run here, approving it, and taking that back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Peer

from peer.audit.app_files import MAX_SHOWN
from peer.base.errors import ExitCode
from peer.engine import open_engine
from peer.home.journal import Journal
from protocol.blocks.bundle import write_bundle
from protocol.blocks.cid import CID, Block, cbor_block, raw_block
from strategy.apps.bundling import bundle_folder

Peers = Callable[[str], Peer]
SOURCE = "def app():\n\treturn 'gr\u00fc\u00df'\n"


@pytest.fixture
def peer(peers: Peers) -> Peer:
    return peers("owner")


@pytest.fixture
def ipfs(tmp_path: Path) -> str:
    return f"local:{tmp_path / 'engine'}"


def kept(ipfs: str, *files: tuple[str, bytes]) -> CID:
    """A bundle of these files in the engine."""
    root, blocks = write_bundle(files)
    put(ipfs, *blocks)
    return root


def put(ipfs: str, *blocks: Block) -> None:
    engine = open_engine(ipfs)
    engine.put(blocks)
    engine.close()


def show(peer: Peer, ipfs: str, app: CID, *options: str | Path) -> str:
    shown = peer("app", "show", str(app), "--ipfs", ipfs, *options)
    assert shown.code == ExitCode.DONE, shown.err
    return shown.out + shown.err


def test_show_lists_the_files_and_prints_them(peer: Peer, ipfs: str) -> None:
    app = kept(ipfs, ("app/main.py", SOURCE.encode()), ("weights.bin", b"\0\1\2"))
    lines = show(peer, ipfs, app).splitlines()
    assert lines[0].startswith(f"app {app}: 2 files")
    assert lines[0].endswith("not approved here")
    assert {"==== app/main.py ====", "| \treturn 'gr\u00fc\u00df'", "(binary, 3 B)"} <= set(lines)


def test_show_prints_one_file_alone(peer: Peer, ipfs: str) -> None:
    app = kept(ipfs, ("a.py", b"one"), ("b.py", b"two"))
    assert show(peer, ipfs, app, "--file", "b.py").strip() == "==== b.py ====\n| two"


@pytest.mark.parametrize(
    ("hostile", "escape"),
    [
        (b"\x1b[2J", "\\x1b[2J"),
        ("\u202e".encode(), "\\u202e"),
        ("\u2028".encode(), "\\u2028"),
        (b"seen\rhidden", "seen\\rhidden"),
        (b"\xff", "\\xff"),
    ],
)
def test_a_file_cannot_hide_from_the_terminal(hostile: bytes, escape: str, peer: Peer, ipfs: str) -> None:
    app = kept(ipfs, ("a.py", b"# " + hostile))
    assert show(peer, ipfs, app, "--file", "a.py").endswith(f"| # {escape}\n")


def test_a_file_cannot_pass_for_two(peer: Peer, ipfs: str) -> None:
    app = kept(ipfs, ("a.py", b"evil()\n==== b.py ====\n"))
    heads = [line for line in show(peer, ipfs, app).splitlines() if line.startswith("==== ")]
    assert heads == ["==== a.py ===="]


def test_output_is_bounded_and_says_what_was_cut(peer: Peer, ipfs: str) -> None:
    app = kept(ipfs, ("a.txt", b"x" * (3 * MAX_SHOWN)), ("b.txt", b"never shown"))
    shown = show(peer, ipfs, app)
    assert len(shown) < 1.1 * MAX_SHOWN
    assert f"cut short: a.txt: {MAX_SHOWN} of {3 * MAX_SHOWN} bytes" in shown
    assert "cut short: b.txt: 0 of 11 bytes" in shown


def test_data_does_not_push_code_out_of_sight(peer: Peer, ipfs: str) -> None:
    app = kept(ipfs, ("a.csv", b"1\n" * MAX_SHOWN), ("z.py", b"print('here')"))
    assert "| print('here')" in show(peer, ipfs, app)


def test_show_writes_the_files_to_a_new_folder(peer: Peer, ipfs: str, tmp_path: Path) -> None:
    app = kept(ipfs, ("app/main.py", SOURCE.encode()))
    show(peer, ipfs, app, "--into", tmp_path / "read")
    assert (tmp_path / "read" / "app" / "main.py").read_text() == SOURCE
    again = peer("app", "show", str(app), "--ipfs", ipfs, "--into", tmp_path / "read")
    assert (again.code, "exists already" in again.err) == (ExitCode.WRONG_USE, True)


def test_show_as_json_has_the_text(peer: Peer, ipfs: str) -> None:
    app = kept(ipfs, ("a.py", SOURCE.encode()))
    shown = peer("app", "show", str(app), "--ipfs", ipfs, "--json").json
    size = len(SOURCE.encode())
    assert shown == {
        "app": str(app),
        "approved": False,
        "files": [{"path": "a.py", "size": size, "text": SOURCE, "shown": size}],
    }


def test_what_is_no_app_is_wrong_use(peer: Peer, ipfs: str) -> None:
    block = cbor_block({"something": "else"})
    put(ipfs, block)
    assert peer("app", "show", str(block.cid), "--ipfs", ipfs).code == ExitCode.WRONG_USE
    assert peer("app", "approve", str(raw_block(b"").cid)).code == ExitCode.WRONG_USE
    assert peer("app", "approve", "nonsense").code == ExitCode.WRONG_USE


def test_an_app_that_nobody_has_is_told_as_unfinished(peer: Peer, ipfs: str) -> None:
    app, _ = write_bundle([("a.py", b"")])
    Path(ipfs.removeprefix("local:")).mkdir()
    assert peer("app", "show", str(app), "--ipfs", ipfs, "--timeout", "0").code == ExitCode.UNFINISHED


def test_approve_list_and_forget(peer: Peer) -> None:
    app, _ = write_bundle([("a.py", b"")])
    assert peer("app", "list").out.startswith("no app is approved")
    assert peer("app", "approve", str(app)).code == ExitCode.DONE
    assert [(each["app"], each["approved"]) for each in peer("app", "list", "--json").json["apps"]] == [
        (str(app), True)
    ]
    assert peer("app", "forget", str(app)).code == ExitCode.DONE
    assert peer("app", "list", "--json").json == {"apps": []}
    assert peer("app", "forget", str(app)).code == ExitCode.WRONG_USE


def test_list_shows_what_runs_wait_for_and_no_name_moves_the_cursor(peer: Peer) -> None:
    assert peer("app", "approve", str(write_bundle([("a.py", b"")])[0])).code == ExitCode.DONE
    journal = Journal(peer.home / "journal.db")
    app, run = cbor_block("app").cid, cbor_block("run").cid
    journal.ask_for_app(app, "\x1b[A nice 1.0", run)
    journal.close()
    (line,) = [line for line in peer("app", "list").out.splitlines() if line.startswith(str(app))]
    assert "waits for approval" in line
    assert "\\x1b[A nice 1.0" in line
    assert str(run) in line


@pytest.mark.parametrize("options", [["--role", "server"], ["--role", "client", "--app", "."]])
def test_approving_goes_with_no_app_of_ones_own(options: list[str], peer: Peer) -> None:
    refused = peer("start", *options, "--approve-app", str(cbor_block("app").cid))
    assert (refused.code, "--approve-app" in refused.err) == (ExitCode.WRONG_USE, True)


def test_an_app_is_named_by_its_folder_before_any_run(peer: Peer, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    assert peer.without_home("new", folder).code == ExitCode.DONE
    (printed,) = peer.without_home("app", "cid", folder).out.split()
    assert printed == str(bundle_folder(folder)[0])

    assert peer("app", "approve", folder).code == ExitCode.DONE
    assert [known["app"] for known in peer("app", "list", "--json").json["apps"]] == [printed]
    assert peer("app", "forget", folder).code == ExitCode.DONE
    assert peer("app", "list", "--json").json["apps"] == []


def test_a_folder_without_an_app_has_no_id(peer: Peer, tmp_path: Path) -> None:
    refused = peer.without_home("app", "cid", tmp_path)
    assert refused.code == ExitCode.WRONG_USE
    assert "peer new DIR" in refused.err
