"""`--json`: every command's object is written down, and errors are objects too."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import click
import pytest
from command_line import Peer
from json_schemas import DOCUMENT, documented

from peer.base.errors import ExitCode
from peer.cli.main import COMMANDS, load
from peer.cli.output import VERSIONS
from protocol.status.role_status import Doing, Lack


def commands_with_json() -> Iterator[str]:
    """The words of each, joined with hyphens."""

    def found(command: click.Command, words: str) -> Iterator[str]:
        if isinstance(command, click.Group):
            for name, each in command.commands.items():
                yield from found(each, f"{words}-{name}")
        elif any("--json" in parameter.opts for parameter in command.params):
            yield words

    for name, entry in COMMANDS.items():
        yield from found(load(entry), name)


def test_the_schema_of_every_command_is_written_down() -> None:
    there = {f"pollen/{name}/{VERSIONS.get(name, 1)}" for name in commands_with_json()}
    assert there | {"pollen/error/1"} == documented().keys()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["show", "nonsense"], ExitCode.WRONG_USE),
        (["status", "--nonsense"], ExitCode.WRONG_USE),
        (["nonsense"], ExitCode.WRONG_USE),
        (["history", "latest"], ExitCode.WRONG_USE),
    ],
)
def test_an_error_is_an_object_with_its_fix_and_its_code(
    arguments: list[str], code: ExitCode, peers: Callable[[str], Peer]
) -> None:
    outcome = peers("nobody")(*arguments, "--json")
    assert (outcome.code, outcome.error["code"]) == (code, code)
    assert f"error: {outcome.error['error'].splitlines()[0]}" in outcome.err
    assert outcome.error["fix"] in outcome.err


def test_without_json_an_error_is_words_alone(peers: Callable[[str], Peer]) -> None:
    assert peers("nobody")("show", "nonsense").out == ""


def test_the_words_of_a_status_are_written_down() -> None:
    text = DOCUMENT.read_text()
    assert [each for each in (*Doing, *Lack) if f"`{each}`" not in text] == []
