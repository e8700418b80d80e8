"""The unit file of a peer, as a text (systemd.unit(5), systemd.service(5)). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from peer.base.errors import ExitCode

RESTART_SECONDS: Final = 15
STOP_SECONDS: Final = 90
"""How long a peer has to stop in order: its run's last record, its app process, its node."""

_NOT_AGAIN: Final = (ExitCode.VERIFICATION_FAILED, ExitCode.WRONG_USE, ExitCode.APP_FAILED)
"""What the same command would end with again. Only `ExitCode.UNFINISHED` may go away by itself."""

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,100}")
"""What a unit may be called."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A service."""

    name: str
    command: tuple[str, ...]
    """Absolute path of the program, and its arguments."""
    home: Path
    user: str | None
    """Whom it runs as; None in a unit of a user's own."""
    kubo: Path | None
    """The ``ipfs`` program; None if the peer uses none, or finds it by itself."""
    passphrase: Path | None
    """The file that systemd hands the passphrase from."""

    def text(self) -> str:
        """The unit file."""
        program, *arguments = self.command
        no_more = " ".join(str(code.value) for code in _NOT_AGAIN)
        service = [
            "Type=exec",
            *([] if self.user is None else [f"User={self.user}"]),
            f"ExecStart={' '.join([quoted(program), *map(argument, arguments)])}",
            f"WorkingDirectory={bare(str(self.home))}",
            f"Environment={quoted(f'POLLEN_HOME={self.home}')}",
            *([] if self.kubo is None else [f"Environment={quoted(f'POLLEN_KUBO={self.kubo}')}"]),
            *([] if self.passphrase is None else [f"LoadCredential=pollen-passphrase:{bare(str(self.passphrase))}"]),
            "Restart=on-failure",
            f"RestartSec={RESTART_SECONDS}",
            f"RestartPreventExitStatus={no_more}",
            f"TimeoutStopSec={STOP_SECONDS}",
            "KillMode=mixed",
            "UMask=0077",
        ]
        unit = [
            f"Description=Pollen peer of {bare(str(self.home))}",
            *([] if self.user is None else ["Wants=network-online.target", "After=network-online.target"]),
            "StartLimitIntervalSec=0",
        ]
        install = [f"WantedBy={'default.target' if self.user is None else 'multi-user.target'}"]
        sections = {"Unit": unit, "Service": service, "Install": install}
        return "\n".join(f"[{name}]\n" + "".join(f"{line}\n" for line in lines) for name, lines in sections.items())


def escaped(text: str) -> str:
    """A value in which systemd sees no specifier, and no end of the line."""
    if any(not character.isprintable() for character in text):
        raise ValueError(f"{text!r} cannot be in a unit file: it has characters that cannot be printed")
    return text.replace("%", "%%")


def bare(text: str) -> str:
    """A value without quotation marks, of which systemd takes every character."""
    if text != text.strip() or text.endswith("\\"):
        raise ValueError(f"{text!r} cannot be in a unit file: systemd drops what it begins or ends with")
    return escaped(text)


def quoted(word: str) -> str:
    """One word, such as an assignment of ``Environment=``, where systemd expands no variables."""
    inner = escaped(word).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{inner}"' if re.search(r"[\s\"'\\;]", inner) or not inner else inner


def argument(word: str) -> str:
    """One word of a command line after the program, with nothing in it that systemd expands."""
    return quoted(word.replace("$", "$$"))
