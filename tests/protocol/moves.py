"""How often the way from an event to its effects moves from one file of the roles to another.

A move is a call from a function in one file of ``protocol/roles`` to a function in another, in which an effect comes
about. All other calls between files are counted beside it: questions, and what is done after every event, as the alarm.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from inspect import CO_GENERATOR
from pathlib import Path
from types import CodeType, FrameType

from attacked import Attacked

import protocol.roles
from protocol.roles.effects import WakeAt
from protocol.roles.events import Event

ROLES = str(Path(protocol.roles.__file__).parent)


@dataclass
class Moves:
    """The way of some events through a role."""

    moves: list[str] = field(default_factory=list)
    others: int = 0
    """Calls between files in which no effect comes about."""

    def trace(self, peer: Attacked, event: Event) -> None:
        """Feed the event; what its effects bring about at once is traced as well."""
        post = peer.machine.machine.parts.post
        stack: list[tuple[str, int, int]] = []
        resumed: set[FrameType] = set()

        def emitted() -> int:
            return sum(not isinstance(effect, WakeAt) for effect in post.effects)

        def profile(frame: FrameType, what: str, _: object) -> None:
            if what == "call":
                stack.append(("" if frame in resumed else _move(frame), emitted(), len(self.moves)))
                if frame.f_code.co_flags & CO_GENERATOR:
                    resumed.add(frame)
            elif what == "return" and stack:
                move, before, at = stack.pop()
                if move and emitted() > before:
                    self.moves.insert(at, move)
                elif move:
                    self.others += 1

        handle = peer.machine.machine.handle

        def traced(event: Event, now: float) -> list[object]:
            sys.setprofile(profile)
            try:
                return handle(event, now)
            finally:
                sys.setprofile(None)
                stack.clear()

        peer.machine.handle = traced
        try:
            peer.feed(event)
        finally:
            peer.machine.handle = handle

    def told(self, of: str) -> str:
        """For people."""
        return "\n  ".join([f"{of}: {len(self.moves)} moves ({self.others} other calls between files)", *self.moves])


def _move(frame: FrameType) -> str:
    """From where to where a call moves; empty if it stays in its file, or comes from or leads elsewhere."""
    caller = frame.f_back
    if caller is None or not (_in_roles(frame.f_code) and _in_roles(caller.f_code)):
        return ""
    if frame.f_code.co_filename == caller.f_code.co_filename:
        return ""
    return f"{_name(caller.f_code)} -> {_name(frame.f_code)}"


def _in_roles(code: CodeType) -> bool:
    return code.co_filename.startswith(ROLES)


def _name(code: CodeType) -> str:
    return f"{Path(code.co_filename).stem}.{code.co_name}"
