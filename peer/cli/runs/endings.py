"""How `peer start` and `peer serve` end: what they say of it, and with which code."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from peer.base.errors import ExitCode
from peer.base.logs import writes_json
from peer.base.terminal import flush, say
from peer.cli.output import here, put_error
from protocol.roles.effects import StopCause

if TYPE_CHECKING:  # they import flwr
    from peer.run.runner import Ending
    from peer.run.session import Session

_CODES: Final = {
    StopCause.APP: ExitCode.APP_FAILED,
    StopCause.REPLAY: ExitCode.VERIFICATION_FAILED,
    StopCause.DISPUTE: ExitCode.VERIFICATION_FAILED,
}
"""Where it is not `ExitCode.UNFINISHED`."""


def unfinished(session: Session, ending: Ending, stays: str) -> ExitCode:
    """Say why a peer ended before it was done, and what fixes that. ``stays`` says what becomes of its work."""
    if ending.interrupted:
        say(f"stopped; {stays}")
    if ending.why:
        say(f"error: {ending.why}")
        say(f"  fix: {here(fix_of(ending, session, stays))}")
    code = _CODES.get(ending.cause, ExitCode.UNFINISHED)
    if writes_json():
        why, fix = (ending.why, fix_of(ending, session, stays)) if ending.why else ("stopped", stays)
        put_error(why, fix, code)
    return code


def fix_of(ending: Ending, session: Session, stays: str) -> str:
    """What to do about the end of a peer."""
    if ending.fix:
        return f"{ending.fix}; {stays}"
    match ending.cause:
        case StopCause.MEANS | StopCause.OWNER | StopCause.DISPUTE:
            return f"remove the cause; {stays}"
        case StopCause.APP:
            return f"see its log in {session.home.path / 'logs'}; {stays}"
        case StopCause.COPY:
            return "run only one home of this identity, and delete the other: two homes sign what contradicts"
        case StopCause.REMOVED:
            return (
                "ask an admin whether that was meant; to come back, use a new ticket (`peer join`), or "
                f"`peer federation add` there and `peer federation join FILE` here; {stays}"
            )
        case StopCause.REPLAY:
            return (
                "an app that reads a clock, or draws random numbers without the run's seed, cannot be resumed; begin a "
                "new run with --new-run, or with the last model, if the app is built in: "
                f"--initial-model {session.journal.heads()[0].head}"
            )


def leave(code: ExitCode) -> None:
    """End at once: all is kept and closed, but a thread may still wait for a block that nobody has."""
    flush()
    os._exit(code)
