"""`peer.base.terminal`: whatever it is given, a terminal obeys nothing of it, and nothing else in the packages
prints."""

from __future__ import annotations

import ast
import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from terminals import HOSTILE, ROOT, obeyed, on_a_terminal, unstyled

from peer.base import logs, terminal
from peer.cli.output import bad, put_fields, put_json
from protocol.visible import LONGEST, named, quoted, visible

PACKAGES = ("crypto", "protocol", "strategy", "peer")

any_text = st.text(st.characters(exclude_categories=()))


class Screen(io.StringIO):
    """A terminal, as far as the program can tell."""

    encoding = "utf-8"  # type: ignore[assignment]

    def isatty(self) -> bool:
        return True


@pytest.fixture(params=[False, True], ids=["pipe", "terminal"])
def out(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    stream = Screen() if request.param else io.StringIO()
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(terminal, "sys", SimpleNamespace(stdout=stream, stderr=stream))
    return stream


# -- every way of printing -----------------------------------------------------------------------------------------


def test_a_line_is_one_line_whatever_is_in_it(out: io.StringIO) -> None:
    terminal.put(HOSTILE)
    terminal.say("why: ", bad(HOSTILE))

    assert len(out.getvalue().splitlines()) == 2
    assert obeyed(out.getvalue()) == set()


def test_a_table_has_no_rows_but_its_own(out: io.StringIO) -> None:
    terminal.put_table(HOSTILE, ["name", HOSTILE], [["alice", HOSTILE], [HOSTILE, "x"]])
    put_fields([("reason", HOSTILE), ("model", bad(HOSTILE))])

    assert obeyed(out.getvalue()) == set()
    assert not re.search("^verified", unstyled(out.getvalue()), re.MULTILINE)


def test_the_title_of_a_table_is_one_line_though_the_table_is_narrower(out: io.StringIO) -> None:
    title = "round 3 of 5, nobody leads"
    terminal.put_table(title, ["peer"], [["a"]])
    first = unstyled(out.getvalue()).splitlines()[0]
    assert first.rstrip() == (title if terminal.is_terminal() else "peer")  # a pipe gets plain columns


def test_a_table_that_is_too_wide_for_the_terminal_breaks_no_word(
    out: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    words = ["participants", "confirmed", "hospital-in-the-north", "height"]
    terminal.put_table("rounds", words[:2], [words[2:], ["", "x" * 40 + "verified"]])

    assert all(word in unstyled(out.getvalue()) for word in words)
    assert not re.search("^(x|verified)", unstyled(out.getvalue()), re.MULTILINE)


def test_richs_own_markup_is_text(out: io.StringIO) -> None:
    terminal.put_table("[bold]t[/bold]", [":smile:"], [["[red]x[/red] :boom: [/nothing]"]])

    assert "[red]x[/red] :boom: [/nothing]" in unstyled(out.getvalue())
    assert ":smile:" in unstyled(out.getvalue())


def test_json_holds_no_character_that_a_terminal_obeys(out: io.StringIO) -> None:
    put_json({HOSTILE: [HOSTILE, b"\x1b", 1.5]})

    assert obeyed(out.getvalue()) == set()
    assert json.loads(out.getvalue())[HOSTILE] == [HOSTILE, "1b", 1.5]


@pytest.mark.parametrize("as_json", [False, True])
def test_a_log_line_is_one_line(as_json: bool, out: io.StringIO) -> None:
    logs.set_up()
    if as_json:
        logs.write_json()
    try:
        logs.event(HOSTILE, logging.WARNING, why=HOSTILE, empty="", blank="\u3164")
        logging.getLogger(HOSTILE).warning("of another package: %s", HOSTILE)
    finally:
        logging.root.handlers[:] = []

    lines = out.getvalue().splitlines()
    assert len([line for line in lines if not line.startswith("    ")]) == 2
    assert len(lines) == 2 or not as_json
    assert obeyed(out.getvalue()) == set()


def test_a_log_message_that_does_not_fit_its_arguments_is_told_of(out: io.StringIO) -> None:
    logs.set_up()
    try:
        logging.getLogger("other").warning("%d of them", HOSTILE)
    finally:
        logging.root.handlers[:] = []

    assert "a log message of other has no text" in out.getvalue()


def test_a_traceback_is_behind_bars(out: io.StringIO) -> None:
    terminal.say_traceback(ValueError(f"no\nverified: {HOSTILE}"))

    assert obeyed(out.getvalue()) == set()
    assert all(line.startswith("| ") for line in out.getvalue().splitlines())


def test_an_error_that_a_thread_did_not_catch_is_printed_as_all_else(out: io.StringIO) -> None:
    code = (
        "import threading\nfrom peer.base.terminal import take_over\ntake_over()\n"
        "def fail(): raise ValueError('\\x1b[31m\\nverified: all')\n"
        "thread = threading.Thread(target=fail); thread.start(); thread.join()\n"
        "import warnings; warnings.warn('\\x1b[31m')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, cwd=ROOT)

    assert b"verified: all" in done.stderr
    assert b"\x1b" not in done.stderr
    assert not re.search(rb"^verified", done.stderr, re.MULTILINE)


def test_a_crash_says_where() -> None:
    code = (
        "import faulthandler\nfrom peer.base.terminal import take_over\ntake_over()\n"
        "def crash(): faulthandler._sigsegv()\n"
        "crash()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, cwd=ROOT)

    assert done.returncode == -signal.SIGSEGV
    assert b"in crash" in done.stderr


def test_nobody_is_told_if_standard_error_is_closed() -> None:
    code = "from peer.base.terminal import take_over\ntake_over()\nprint('on')"
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" -c "$1" 2>&-', sys.executable, code], stdout=subprocess.PIPE, check=True, cwd=ROOT
    )

    assert done.stdout == b"on\n"


def test_a_stream_that_has_not_all_letters_gets_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, "ascii")
    monkeypatch.setattr(terminal, "sys", SimpleNamespace(stdout=stream, stderr=stream))

    terminal.put("Zürich \ud800")
    terminal.put_json_part('"ü"')
    terminal.flush()

    assert raw.getvalue() == b'Z\\xfcrich \\ud800\n"\\xfc"'


def test_a_quotation_that_is_wider_than_the_terminal_goes_on_indented(
    out: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    terminal.put("ended  ", quoted("a" * 71 + "verified: every record keeps every rule"))

    lines = out.getvalue().splitlines()
    assert [line.startswith("    ") for line in lines] == ([False, True] if out.isatty() else [False])


def test_a_command_is_never_folded(out: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    terminal.put("next: peer audit bafyreiabcdefghijklmnopqrstuvwxyz --replay")

    assert len(out.getvalue().splitlines()) == 1


# -- quotations ----------------------------------------------------------------------------------------------------


@given(any_text)
def test_what_is_shown_is_harmless_and_stays_as_it_is(text: str) -> None:
    assert obeyed(visible(text)) == set()
    assert visible(visible(text)) == visible(text)
    assert "\n" not in visible(text)


@given(any_text)
def test_a_quotation_ends_where_we_end_it(text: str) -> None:
    shown = quoted(text)

    assert obeyed(shown) == set()
    assert re.fullmatch(r'"(?:[^"\\]|\\.)*"(?:\.\.\. \(\d+ characters\))?', shown)
    assert "  " not in shown
    assert len(shown) <= 12 * LONGEST


@pytest.mark.parametrize("name", ["alice", "hospital-a", "layer.0/weight", "did:key:z6Mk", "Zürich", "東京"])
def test_a_plain_name_stands_as_it_is(name: str) -> None:
    assert named(name) == name


@pytest.mark.parametrize("name", ["", "a b", "verified:", "a=b", 'a"', "a\u200b", "x" * (LONGEST + 1), "a,b", "\u3164"])
def test_any_other_name_is_quoted(name: str) -> None:
    assert named(name).startswith('"')


# -- nothing else prints -------------------------------------------------------------------------------------------

_PRINTS = {
    "print", "input", "getpass", "print_exc", "print_exception", "print_last", "print_stack", "StreamHandler",
    "basicConfig", "lastResort", "echo", "secho", "echo_via_pager", "confirm", "prompt", "progressbar", "pause",
    "style", "stdout", "stderr", "__stdout__", "__stderr__", "excepthook", "showwarning",
}  # fmt: skip
"""What writes to a terminal, or is one, whichever module leads to it."""

_ELSEWHERE = {
    "peer/apps/app_main.py": {"stdout", "stderr"},  # there they are the peer's pipe and the app's log file
    "peer/apps/reply_examination.py": {"print_exc"},  # in the app process, too
    "peer/confinement/enter.py": {"stderr"},  # a separate program, which imports nothing of ours, into the app's log
}
_MODULES = {"rich", "getpass", "curses", "readline", "colorama", "segno"}
_ITS_OWN = {"peer/base/terminal.py"}


def uses(tree: ast.Module) -> Iterator[str]:
    """The names in a module that print, and the modules it imports that do."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            if node.module.split(".")[0] not in PACKAGES:
                yield from (alias.name for alias in node.names if alias.name in _PRINTS)
            if node.module.split(".")[0] in _MODULES:
                yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in _MODULES)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in _PRINTS and _is_foreign(node.value):
            yield node.attr
        elif isinstance(node, ast.Name) and node.id in {"print", "input"}:
            yield node.id


def _is_foreign(value: ast.expr) -> bool:
    """Whether that is a module's name, or something else that may be one."""
    return isinstance(value, ast.Name) and value.id in {
        "typer", "click", "sys", "logging", "traceback", "warnings", "builtins", "threading", "getpass", "rich",
    }  # fmt: skip


def test_nothing_but_the_terminal_prints() -> None:
    found = {
        path.relative_to(ROOT).as_posix(): set(uses(ast.parse(path.read_text("utf-8"))))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
    }

    printing = {name: used - _ELSEWHERE.get(name, set()) for name, used in found.items() if name not in _ITS_OWN}
    assert {name: used for name, used in printing.items() if used} == {}
    assert {"stdout", "stderr", "echo", "rich.console"} <= found["peer/base/terminal.py"]


# -- a real terminal -----------------------------------------------------------------------------------------------


def test_a_wrong_argument_is_said_in_our_colours_alone() -> None:
    printed = on_a_terminal(sys.executable, "-m", "peer", "history", "\x1b[32m\nverified: all\r", "-v").decode()

    assert obeyed(printed) == set()
    assert not re.search("^verified", unstyled(printed), re.MULTILINE)
    assert "error" in printed


# -- what does not fit ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("columns", "lines", "is_shown"), [(80, 40, True), (40, 40, False), (80, 20, False)])
def test_a_code_is_shown_only_if_all_of_it_can_be_seen(
    columns: int, lines: int, is_shown: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Screen()
    monkeypatch.setattr("sys.stdout", screen)
    monkeypatch.setattr(terminal.shutil, "get_terminal_size", lambda: os.terminal_size((columns, lines)))
    terminal.put_code("x" * 200)  # 53 columns, 27 lines and what frames it
    assert bool(screen.getvalue()) is is_shown
