"""What every command has in common: help, options and their sources, errors, logs."""

from __future__ import annotations

import errno
import io
import json
import logging
import subprocess
import sys
import tomllib
from collections.abc import Callable
from datetime import datetime
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated

import click
import pytest
import typer
from command_line import Peer

from peer.base import config, logs, terminal
from peer.base.errors import ExitCode, PeerError
from peer.cli import main, output
from peer.cli.completion import answer, asked_for_words
from peer.cli.options import DEFAULT_HOME, HomeOption, Whole
from peer.engine.interface import EngineUnavailable
from protocol.blocks.cid import BlockMismatch, MissingBlock, raw_block
from strategy.apps.builtin_app import builtin_app_folder

Peers = Callable[[str], Peer]
HEAVY = ("flwr", "torch", "numpy", "httpx", "msgspec", "cryptography", "rich")


def printed_with_nothing_heavy_imported(option: str) -> str:
    code = (
        f"import sys\nfrom peer.cli.main import run\nassert run([{option!r}]) == 0\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"
    return done.stdout


def test_help_imports_nothing_heavy() -> None:
    printed = printed_with_nothing_heavy_imported("--help")
    assert all(name in printed for name in [*main.COMMANDS, "--version"])


def test_the_help_of_start_tells_the_built_in_apps_own_settings() -> None:
    project = tomllib.loads((builtin_app_folder() / "pyproject.toml").read_text("utf-8"))
    settings = project["tool"]["flwr"]["app"]["config"]
    options = [each for each in main.load(main.COMMANDS["start"]).params if isinstance(each, click.Option)]
    told = {option.opts[0]: str(option.show_default).partition(";")[0] for option in options}
    assert told["--rounds"] == str(settings["num-server-rounds"])
    for name in ("dataset", "model", "strategy", "batch-size"):
        assert told[f"--{name}"] == str(settings[name])


def test_what_to_type_next_names_the_home_that_the_command_line_named(peers: Peers) -> None:
    peer = peers("a home")
    assert f"(in this home: with --home '{peer.home}')" in peer("keys", "init", "--name", "a", "--no-passphrase").out
    assert f"(in this home: with --home '{peer.home}')" in peer("federation", "show").err


def test_what_to_type_next_names_no_home_if_it_is_the_one_of_each_command(
    peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = peers("home")
    monkeypatch.setenv("POLLEN_HOME", str(peer.home))
    assert "--home" not in peer.without_home("keys", "init", "--name", "a", "--no-passphrase").out
    assert "--home" not in peer.without_home("federation", "show").err


@pytest.mark.parametrize(
    ("text", "is_told"),
    [
        ("peer audit HEAD", True),
        ("peer new my-app", False),
        ("peer audit --help", False),
        ("peer audit HEAD --home b", False),
        ("look at the disk", False),
    ],
)
def test_only_commands_about_a_home_are_told_with_it(text: str, is_told: bool) -> None:
    output.name_home("a")
    assert output.here(text) == (f"{text} (in this home: with --home a)" if is_told else text)
    output.name_home("")


@pytest.mark.parametrize(
    ("words", "last", "completed"),
    [("peer ke", 1, "keys"), ("peer keys i", 2, "init"), ("peer start --ro", 2, "--role")],
)
def test_a_shell_that_asks_how_a_line_goes_on_is_told(
    words: str, last: int, completed: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("_PEER_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", words)
    monkeypatch.setenv("COMP_CWORD", str(last))
    assert asked_for_words()
    assert answer(main.Commands()) == 0
    assert f"plain,{completed}" in capsys.readouterr().out.splitlines()


def test_the_completion_script_is_one_that_bash_takes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["completion", "bash"]) == 0
    done = subprocess.run(
        ["bash", "-c", f"{capsys.readouterr().out}\ncomplete -p peer"], capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith(" peer\n")


def test_what_comes_to_torch_without_it_names_the_extra(
    peers: Peers, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "model.pt").write_bytes(b"PK")
    monkeypatch.setitem(sys.modules, "torch", None)
    outcome = peers("a")("diff", tmp_path / "model.pt", tmp_path / "model.pt")
    assert outcome.code == ExitCode.UNFINISHED
    assert "needs torch" in outcome.err
    assert "pip install 'pollen-fl[torch]'" in outcome.err


def test_the_version_names_what_a_report_of_a_fault_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ipfs = tmp_path / "ipfs"
    ipfs.write_text("#!/bin/sh\necho 0.43.1\n")
    ipfs.chmod(0o755)
    monkeypatch.setenv("POLLEN_KUBO", str(ipfs))

    lines = printed_with_nothing_heavy_imported("--version").splitlines()

    pollen, flower = metadata.version("pollen-fl"), metadata.version("flwr")
    assert [line.split() for line in lines] == [
        ["pollen", pollen],
        ["flwr", flower],
        ["kubo", "0.43.1", "at", str(ipfs)],
    ]


def test_the_version_is_told_without_kubo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLLEN_KUBO", str(tmp_path / "absent"))
    assert "absent, which is no file" in printed_with_nothing_heavy_imported("--version").splitlines()[2]


def test_the_program_ends_with_the_commands_exit_code(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "peer", "federation", "show", "--home", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (ExitCode.WRONG_USE, "")
    assert done.stderr.startswith("error: this home is in no federation\n  fix: ")


def test_a_command_that_is_none_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["lgo"]) == ExitCode.WRONG_USE
    assert capsys.readouterr().err.count("Did you mean 'log'?") == 1


def test_a_command_of_a_group_that_is_none_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["keys", "int"]) == ExitCode.WRONG_USE
    assert capsys.readouterr().err.count("Did you mean 'init'?") == 1


def test_nothing_asked_shows_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run([]) == ExitCode.WRONG_USE
    assert "audit" in capsys.readouterr().err


# -- errors --------------------------------------------------------------------------------------------------------

CID_ = raw_block(b"").cid


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (PeerError("it broke", fix="glue it", code=ExitCode.APP_FAILED), ExitCode.APP_FAILED, "glue it"),
        (EngineUnavailable("no node", "start it"), ExitCode.UNFINISHED, "start it"),
        (MissingBlock(CID_), ExitCode.UNFINISHED, "--ipfs"),
        (BlockMismatch(CID_, b"x"), ExitCode.VERIFICATION_FAILED, "other bytes"),
        (OSError(errno.ENOSPC, "no space"), ExitCode.UNFINISHED, "disk is full"),
        (RuntimeError("a bug"), ExitCode.UNFINISHED, "run it with -v"),
        (KeyboardInterrupt(), ExitCode.UNFINISHED, "stopped"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_whatever_goes_wrong_is_said_in_words(
    error: BaseException, code: ExitCode, said: str, fake: FakeCommand, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.raises = error
    assert main.run(["fake"]) == code
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.out == ""
    assert "Traceback" not in shown.err


def test_verbose_shows_the_traceback(fake: FakeCommand, capsys: pytest.CaptureFixture[str]) -> None:
    fake.raises = RuntimeError("a bug")
    assert main.run(["fake", "-v"]) == ExitCode.UNFINISHED
    assert "Traceback" in capsys.readouterr().err


def test_a_command_says_how_it_ended(fake: FakeCommand) -> None:
    fake.returns = ExitCode.VERIFICATION_FAILED
    assert main.run(["fake"]) == ExitCode.VERIFICATION_FAILED


def test_a_reader_that_goes_away_is_no_failed_verification() -> None:
    code = "import sys; from peer.cli.main import run; sys.exit(run(['--help']))"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait() != ExitCode.VERIFICATION_FAILED


# -- where an option's value comes from ----------------------------------------------------------------------------


class FakeCommand:
    """A command ``peer fake --colour X --rounds N``, and what it is to do."""

    def __init__(self) -> None:
        self.raises: BaseException | None = None
        self.returns: ExitCode | None = None
        self.got: tuple[str, int] | None = None
        self.pairs: list[str] = []
        self.app = typer.Typer()

        @self.app.command("fake")
        def fake(
            colour: Annotated[str, typer.Option("--colour")] = "white",
            rounds: Annotated[int, typer.Option("--max-rounds")] = 1,
            pairs: Annotated[list[str], typer.Option("--pairs", click_type=Whole())] = [],  # noqa: B006  # typer copies it
            home: HomeOption = DEFAULT_HOME,
        ) -> ExitCode | None:
            self.got, self.pairs = (colour, rounds), pairs
            if self.raises is not None:
                raise self.raises
            return self.returns


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeCommand:
    """The only command there is; its home is ``tmp_path``."""
    command = FakeCommand()
    module = type(sys)("fake_command")
    module.__dict__["app"] = command.app
    monkeypatch.setitem(sys.modules, "fake_command", module)
    monkeypatch.setattr(main, "COMMANDS", {"fake": main._Entry("fake_command", "for tests")})
    monkeypatch.setenv("POLLEN_HOME", str(tmp_path))
    return command


def test_a_default_is_what_is_left(fake: FakeCommand) -> None:
    main.run(["fake"])
    assert fake.got == ("white", 1)


def test_the_file_beats_the_default(fake: FakeCommand, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('colour = "red"\nmax-rounds = 7')
    main.run(["fake"])
    assert fake.got == ("red", 7)


def test_a_text_that_may_be_given_several_times_is_never_cut(
    fake: FakeCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    main.run(["fake", "--pairs", "a=1 b='x y'", "--pairs", "c=2"])
    assert fake.pairs == ["a=1 b='x y'", "c=2"]
    (tmp_path / "config.toml").write_text('pairs = "a=1 b=2"')
    main.run(["fake"])
    assert fake.pairs == ["a=1 b=2"]
    monkeypatch.setenv("POLLEN_PAIRS", "a=1 b='x y'")
    main.run(["fake"])
    assert fake.pairs == ["a=1 b='x y'"]


def test_a_variable_beats_the_file(fake: FakeCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.toml").write_text('colour = "red"')
    monkeypatch.setenv("POLLEN_COLOUR", "blue")
    main.run(["fake"])
    assert fake.got == ("blue", 1)


def test_a_flag_beats_a_variable(fake: FakeCommand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POLLEN_COLOUR", "blue")
    main.run(["fake", "--colour", "green"])
    assert fake.got == ("green", 1)


def test_the_file_of_the_home_that_is_named_counts(fake: FakeCommand, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.toml").write_text('colour = "red"')
    main.run(["fake", "--home", str(tmp_path / "other")])
    assert fake.got == ("red", 1)


@pytest.mark.parametrize("text", ["colr = 'red'", "[fake]\ncolour = 'red'", "home = '/elsewhere'"])
def test_unknown_keys_in_the_file_are_named(
    text: str, fake: FakeCommand, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.toml").write_text(text)
    assert main.run(["fake"]) == ExitCode.WRONG_USE
    assert f"keys that are not options: {text.strip('[').split()[0].strip(']')}" in capsys.readouterr().err


def test_a_file_that_is_no_toml_is_refused(
    fake: FakeCommand, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.toml").write_text("colour: red")
    assert main.run(["fake"]) == ExitCode.WRONG_USE
    assert "cannot be read" in capsys.readouterr().err


def test_a_home_that_is_a_file_is_said_to_be_one(
    fake: FakeCommand, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").touch()
    assert main.run(["fake", "--home", str(tmp_path / "notes.txt")]) == ExitCode.WRONG_USE
    assert "notes.txt cannot be a home" in capsys.readouterr().err


def test_a_bad_value_in_the_file_is_said_to_be_there(
    fake: FakeCommand, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.toml").write_text("max-rounds = 'many'")
    assert main.run(["fake"]) == ExitCode.WRONG_USE
    assert "config.toml" in capsys.readouterr().err


def test_every_option_of_every_command_has_a_variable() -> None:
    command = click.Command("leaf", params=[click.Option(["--some-thing"])])
    config.wire(click.Group("group", commands={"leaf": command}))
    assert command.make_context("leaf", []).auto_envvar_prefix == "POLLEN"


# -- logs ----------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def restored_logs() -> object:
    """Leave logging as it was found."""
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def test_events_are_not_shown_until_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up()
    logs.event("reply-arrived")
    assert capsys.readouterr().err == ""


def test_an_event_is_one_line_of_fields(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up()
    logs.show_more()
    logs.event("reply-arrived", client="hospital a", bytes=12, seconds=0.25, reason="two\nlines", none=None)
    expected = 'info reply-arrived client="hospital a" bytes=12 seconds=0.25 reason="two\\nlines" none=-\n'
    day, time, line = capsys.readouterr().err.split(" ", 2)
    assert line == expected
    datetime.fromisoformat(f"{day} {time}")


def test_an_event_is_one_object_with_json(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up()
    logs.show_more()
    logs.write_json()
    logs.event("reply-arrived", bytes=12)
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["bytes"], line["level"]) == ("reply-arrived", 12, "info")


def test_other_packages_stay_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up()
    logs.show_more()
    logging.getLogger("httpx").info("a request")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_a_terminal_is_spared_colour_if_its_owner_says_so(
    monkeypatch: pytest.MonkeyPatch, no_color: str, coloured: bool
) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: True)
    monkeypatch.setattr(terminal, "sys", SimpleNamespace(stdout=screen))
    monkeypatch.setenv("NO_COLOR", no_color)
    terminal.put(output.good("verified"))
    assert ("\x1b[" in screen.getvalue()) is coloured


def test_a_missing_choice_is_named_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["completion"]) == ExitCode.WRONG_USE
    assert "Choose from: bash, zsh, fish" in capsys.readouterr().err


@pytest.mark.parametrize(("count", "words"), [(0, "0 rounds"), (1, "1 round"), (2, "2 rounds")])
def test_one_thing_is_not_counted_as_several(count: int, words: str) -> None:
    assert output.counted(count, "round") == words
