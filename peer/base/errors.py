"""The error that a person reads, and the exit codes."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of ``peer``."""

    DONE = 0
    """Done, or verified."""
    VERIFICATION_FAILED = 1
    """Somebody's record or model is wrong."""
    WRONG_USE = 2
    """The command, or what came with it (an option, a key file, a passphrase), cannot be used."""
    UNFINISHED = 3
    """A content, the engine or the other peers were not available."""
    APP_FAILED = 4
    """The app raised, or could not be loaded."""


class PeerError(Exception):
    """Something that a person has to know. The message says what happened and why, ``fix`` what to do about it."""

    def __init__(self, message: str, *, fix: str = "", code: ExitCode = ExitCode.WRONG_USE) -> None:
        super().__init__(message)
        self.fix = fix
        self.exit_code = code
