"""How a shell completes ``peer``: by click's own scripts, which run ``peer`` to ask for words."""

from __future__ import annotations

import os
from enum import StrEnum
from typing import Annotated, Final

import click
import typer

from peer.base.terminal import put_json_part
from peer.cli.options import new_app

app = new_app()

_VARIABLE: Final = "_PEER_COMPLETE"
"""In this variable a shell asks."""


class Shell(StrEnum):
    """The shells for which click has a script."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


@app.command("completion")
def completion(
    shell: Annotated[Shell, typer.Argument(metavar="bash|zsh|fish", help="Your shell.", show_default=False)],
) -> None:
    """Print the script with which a shell completes `peer`.

    bash, in ~/.bashrc: eval "$(peer completion bash)"

    zsh, in ~/.zshrc after compinit: eval "$(peer completion zsh)"

    fish, in ~/.config/fish/completions/peer.fish: peer completion fish | source
    """
    from click.shell_completion import get_completion_class

    found = get_completion_class(shell.value)
    assert found is not None  # click has all three
    put_json_part(found(click.Command("peer"), {}, "peer", _VARIABLE).source())


def asked_for_words() -> bool:
    """Whether a shell runs this process to complete a command line."""
    return _VARIABLE in os.environ


def answer(commands: click.Command) -> int:
    """Print the words that the shell asks for. Returns the exit code."""
    from click.shell_completion import shell_complete

    return shell_complete(commands, {}, "peer", _VARIABLE, os.environ[_VARIABLE])
