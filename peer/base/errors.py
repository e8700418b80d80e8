"""The peer's own error, and what the process ends with."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What ``peer`` ends with."""

    DONE = 0
    """Done, or verified."""
    VERIFICATION_FAILED = 1
    """Somebody's record or model is wrong."""
    WRONG_USE = 2
    """What was asked, or what was given with it (a key file, a passphrase, an option), cannot be used."""
    UNFINISHED = 3
    """Content, engine or peers were unavailable."""
    APP_FAILED = 4
    """The app raised, or could not be loaded."""


class PeerError(Exception):
    """What a person must know and can fix. ``str`` says what happened and why, ``fix`` what to do about it."""

    def __init__(self, message: str, *, fix: str = "", code: ExitCode) -> None:
        super().__init__(message)
        self.fix = fix
        self.exit_code = code
