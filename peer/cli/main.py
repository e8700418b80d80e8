"""The ``peer`` command: runs the command that was named, and explains every error.

A command's module is imported when the command is called, so ``peer --help`` imports only typer. A command is a
function that returns an `ExitCode`, or None if it is done.
"""

from __future__ import annotations

import errno
import shlex
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Final

import click
import typer
import typer.core
import typer.main
from click.core import ParameterSource

from peer.base import config, logs, terminal
from peer.base.errors import ExitCode, PeerError
from peer.base.interrupts import end_as_told
from peer.base.secrecy import keep_memory_private
from peer.cli.completion import answer, asked_for_words
from peer.cli.options import verbose_option
from peer.cli.output import here, name_home, put_error


@dataclass(frozen=True, slots=True, eq=False)  # each is a key of its own for `load`
class _Entry:
    """Where a command is, and its line in ``peer --help``. ``app`` is the name of a `typer.Typer`."""

    module: str
    summary: str
    app: str = "app"


@cache  # typer takes up to 15 ms for one, and those of `config.read` are asked for again
def load(entry: _Entry) -> click.Command:
    """The command, with the options that every command has."""
    command = typer.main.get_command(getattr(import_module(entry.module), entry.app))
    config.wire(command)
    for leaf in config.leaves(command):
        leaf.params.append(verbose_option())
    return command


SECTIONS: Final = {
    "Begin": {
        "demo": _Entry("peer.cli.runs.demo", "Run one server and some clients on this machine, then audit the run."),
        "new": _Entry("peer.cli.apps.new", "Write a small Flower app to begin with."),
        "doctor": _Entry("peer.cli.doctor", "Check everything that a peer needs."),
        "install-kubo": _Entry("peer.cli.install_kubo", "Find Kubo on this machine, or install it."),
        "completion": _Entry("peer.cli.completion", "Print what your shell needs to complete `peer`."),
    },
    "Who takes part": {
        "keys": _Entry("peer.cli.keys.keys", "Make, show, back up, rotate and revoke identities."),
        "federation": _Entry("peer.cli.federation.federation", "Found a federation, change its members, and join one."),
        "join": _Entry("peer.cli.federation.join", "Join a federation with a ticket."),
        "app": _Entry("peer.cli.apps.app", "Read the app of a run, and decide whether it may run here."),
    },
    "Runs": {
        "start": _Entry("peer.cli.runs.start", "Run a peer: lead a run, or train in one."),
        "serve": _Entry("peer.cli.runs.serve", "Run a peer that stands: runs come and go."),
        "service": _Entry("peer.cli.service", "Have systemd run a peer."),
        "run": _Entry("peer.cli.runs.run", "Hand a run to a standing server."),
        "stop": _Entry("peer.cli.runs.stop", "Close a run, or give up a job that waits."),
        "lead": _Entry("peer.cli.runs.stop", "Hand a run over to another server.", "lead_app"),
        "resume": _Entry("peer.cli.runs.resume", "Go on with a run that was left open."),
        "pull": _Entry("peer.cli.runs.pull", "Write the model of a run, and the files its app left, to a folder."),
        "export": _Entry("peer.cli.runs.transfer", "Write a run to a CAR file.", "export_app"),
        "import": _Entry("peer.cli.runs.transfer", "Verify a run in a CAR file, and take it in.", "import_app"),
    },
    "What stays": {
        "du": _Entry("peer.cli.keeping.du", "Show what this home takes on the disk."),
        "keep": _Entry("peer.cli.keeping.keep", "Show or set what stays on disk of the runs of this home."),
        "forget": _Entry("peer.cli.keeping.forget", "Remove a run from this home."),
    },
    "What goes on": {
        "status": _Entry("peer.cli.seeing.status", "Show what the running peer of this home does now."),
        "web": _Entry("peer.cli.seeing.web", "Show this home in a browser."),
        "ls": _Entry("peer.cli.reading.ls", "List the runs of this home."),
        "log": _Entry("peer.cli.reading.log", "Show what the app of a run prints."),
        "history": _Entry("peer.cli.reading.history", "Show the rounds of a run."),
        "metrics": _Entry("peer.cli.seeing.metrics", "Hand on what clients measured in a run, for other tools."),
    },
    "Afterwards": {
        "audit": _Entry("peer.cli.reading.audit", "Verify a run by every rule."),
        "dispute": _Entry("peer.cli.reading.dispute", "Write down what two servers say differently of a run."),
        "report": _Entry("peer.cli.reading.report", "Audit a run, and write a report for people or programs."),
        "attest": _Entry("peer.cli.attest.attest", "Check what others have signed about a run."),
        "trace": _Entry("peer.cli.attest.trace", "Find the run, round and federation of a model file."),
        "model": _Entry("peer.cli.reading.model", "Write the model of any round, or a client's update, to a file."),
        "diff": _Entry("peer.cli.reading.diff", "Show how two models differ, tensor by tensor."),
        "show": _Entry("peer.cli.reading.show", "Show any block: a record, a content, a manifest."),
    },
}
"""The commands as ``peer --help`` shows them."""

COMMANDS: Final = {name: entry for section in SECTIONS.values() for name, entry in section.items()}


class Commands(typer.core.TyperGroup):
    """The tables above as a group of commands."""

    def __init__(self) -> None:
        super().__init__(
            name="peer",
            help="Flower federated learning without a central SuperLink, over IPFS.",
            commands={name: click.Command(name) for name in COMMANDS},  # only names, until `get_command` loads one
            params=[_version_option()],
            rich_markup_mode=None,  # rich is slow
            suggest_commands=False,  # click suggests them
            no_args_is_help=True,
        )

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(cmd_name)
        return load(entry) if entry else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        widest = max(map(len, COMMANDS))  # one column in all sections
        for title, section in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(widest), entry.summary) for name, entry in section.items()])


def _version_option() -> click.Option:
    def show(context: click.Context, _parameter: click.Parameter, asked: bool) -> None:
        if asked:
            from peer.cli.version import put_versions

            put_versions()
            context.exit()

    return click.Option(
        ["--version"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=show,
        help="Show the versions of Pollen, Flower and Kubo.",
    )


def main() -> None:
    """The entry point of the ``peer`` program."""
    keep_memory_private()
    terminal.take_over()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C, until a peer handles it
    code = answer(Commands()) if asked_for_words() else run(sys.argv[1:])
    end_as_told()
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command line, and return the exit code."""
    logs.set_up()
    name_home("")
    terminal.show_labels(False)  # a command that has --full shows them, and so do errors
    typer.core.HAS_RICH = terminal.is_terminal()  # plain lines, if this is not a terminal
    try:
        result = Commands().main(list(arguments), prog_name="peer", standalone_mode=False)
        terminal.flush()
    except (
        BrokenPipeError,
        SystemExit,
    ):  # if the reader has gone, typer ends with 1, which means a failed verification
        return _reader_gone()
    except KeyboardInterrupt:  # click did not catch it
        return _tell(_STOPPED, arguments)
    except Exception as error:  # noqa: BLE001  # every error is explained
        if logs.verbose():
            terminal.say_traceback(error)
        if isinstance(error, click.exceptions.NoArgsIsHelpError):
            error.show()
            return ExitCode.WRONG_USE
        return _tell(_explained(error), arguments)
    if result == _INTERRUPTED:
        return _tell(_STOPPED, arguments)
    return ExitCode.DONE if result is None else ExitCode(result)


_INTERRUPTED: Final = 130
"""What typer returns after Ctrl-C."""


@dataclass(frozen=True, slots=True)
class _Told:
    """What happened and why, what fixes it, and the exit code."""

    message: str
    fix: str
    code: ExitCode


_STOPPED: Final = _Told("stopped", "", ExitCode.UNFINISHED)


def _explained(error: Exception) -> _Told:
    """What happened, why, and what fixes it."""
    match error:
        case click.UsageError():
            return _misused(error)
        case click.Abort():
            return _STOPPED
        case PeerError():
            return _Told(str(error), error.fix, error.exit_code)
    return _explained_other(error)


def _explained_other(error: Exception) -> _Told:
    """Explain errors of the layers below, and those that nobody foresaw."""
    from crypto.errors import CryptoError
    from peer.base.installed_versions import OF_TORCH_EXTRA, without_torch
    from peer.engine.interface import EngineError, WrongAddress
    from protocol.blocks.cid import BlockError, MissingBlock

    match error:
        case EngineError():
            code = ExitCode.WRONG_USE if isinstance(error, WrongAddress) else ExitCode.UNFINISHED
            return _Told(str(error), error.fix, code)
        case CryptoError():
            return _Told(str(error), error.fix, ExitCode.WRONG_USE)
        case MissingBlock():
            return _Told(str(error), "name the engine that has it with --ipfs ENGINE", ExitCode.UNFINISHED)
        case BlockError():
            return _Told(str(error), "", ExitCode.VERIFICATION_FAILED)
        case ModuleNotFoundError(name=str() as module) if module in OF_TORCH_EXTRA:
            missing = without_torch("this", module)
            return _Told(str(missing), missing.fix, missing.exit_code)
        case OSError(errno=errno.ENOSPC):
            what = "the disk is full; nothing half-written was left behind"
            return _Told(what, "free some space and try again", ExitCode.UNFINISHED)
        case OSError(strerror=str() as why, filename=str() as name):
            return _Told(f"{name}: {why}", f"look at it: ls -ld {shlex.quote(name)}", ExitCode.UNFINISHED)
        case OSError():
            return _Told(str(error), "", ExitCode.UNFINISHED)
    fix = "" if logs.verbose() else "run it with -v for the traceback"
    return _Told(f"{type(error).__name__}: {error}", fix, ExitCode.UNFINISHED)


def _misused(error: click.UsageError) -> _Told:
    where = ""
    if error.ctx and isinstance(error, click.BadParameter) and error.param and error.param.name:
        where = _SOURCES.get(str(error.ctx.get_parameter_source(error.param.name)), "")
    usage = f"{error.ctx.command_path} --help" if error.ctx else "peer --help"
    message = " ".join(error.format_message().split())  # click lists choices on lines of their own, after tabs
    return _Told(f"{message}{where}", usage, ExitCode.WRONG_USE)


_SOURCES: Final = {
    str(ParameterSource.DEFAULT_MAP): f" (from {config.FILE_NAME} in the home)",
    str(ParameterSource.ENVIRONMENT): f" (from a {config.VARIABLE_PREFIX}_ variable)",
}


def _tell(told: _Told, arguments: Sequence[str]) -> ExitCode:
    """Print the message on stderr, red on a terminal, and the fix; on stdout as an object, if the command was asked for
    JSON. Ids are labels, unless the command was asked for whole ones or for all that there is to see, or is about apps,
    whose ids owners compare. Returns the exit code."""
    terminal.show_labels(not (logs.verbose() or "--full" in arguments or arguments[:1] == ["app"]))
    if told is _STOPPED:
        terminal.say(told.message)
    else:
        terminal.say_lines(f"error: {told.message}", terminal.Colour.RED)
    if told.fix:
        terminal.say(f"  fix: {here(told.fix)}")
    if logs.writes_json() or "--json" in arguments:  # a command line that is not understood may ask for it too
        put_error(told.message, told.fix, told.code)
        terminal.flush()
    return told.code


def _reader_gone() -> ExitCode:
    """The reader of our output has gone, as in ``peer ls | head``. That is not an error."""
    terminal.silence()
    return ExitCode.UNFINISHED
