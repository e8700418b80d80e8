"""What a role wants done: effects, the answers to them, and what people are told."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Concatenate, ParamSpec

from protocol.app.calls import Examined, Failed
from protocol.roles.effects import Effect, Report, Stop, StopCause, What
from protocol.roles.events import Done, Fetched
from protocol.roles.report_limits import ReportLimits
from protocol.roles.state_table import IllegalEvent
from protocol.roles.waiting import Awaited, Waiting

P = ParamSpec("P")


class Outbox:
    """The effects of one event, until the shell takes them, and who waits for their answers."""

    def __init__(self, on_stop: Callable[[], None]) -> None:
        """``on_stop()`` is called when the role cannot go on."""
        self._on_stop = on_stop
        self._effects: list[Effect] = []
        self._last_id = 0
        self._asked: dict[int, tuple[Callable[..., None], Callable[[str, float], None]]] = {}
        self._limits = ReportLimits()
        self._waiting = Waiting()
        self.speaker = b""
        """The member whose announcement is being handled; empty: none is."""

    def emit(self, *effects: Effect) -> None:
        """Have done what is not answered."""
        self._effects += effects

    def ask(
        self,
        effect: Callable[Concatenate[int, P], Effect],
        done: Callable[..., None],
        failed: Callable[[str, float], None],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """Have ``effect(id, ...)`` done. ``done(now)`` is called afterwards (``done(blocks, now)`` for what was
        fetched, ``done(found, now)`` for an examined reply), or ``failed(why, now)``."""
        self._last_id += 1
        self._asked[self._last_id] = (done, failed)
        self._effects.append(effect(self._last_id, *args, **kwargs))

    def must(
        self,
        effect: Callable[Concatenate[int, P], Effect],
        done: Callable[..., None],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """As `ask`, of a step without which the role cannot go on."""
        self.ask(effect, done, self.cannot_go_on, *args, **kwargs)

    def answered(self, event: Done | Fetched | Examined | Failed, now: float) -> None:
        """An effect is carried out, or could not be.

        Raises:
            IllegalEvent: nobody waits for that.
        """
        if event.effect not in self._asked:
            raise IllegalEvent(f"{type(event).__name__} for effect {event.effect}, which waits for no answer")
        done, failed = self._asked.pop(event.effect)
        match event:
            case Done():
                done(now)
            case Fetched():
                done(event.blocks, now)
            case Examined():
                done(event.found, now)
            case Failed():
                failed(event.why, now)

    def cannot_go_on(self, why: str, now: float, cause: StopCause = StopCause.MEANS) -> None:
        """Stop. Nothing was announced of a durable step that failed, and the run stays open to be resumed."""
        self._effects.append(Stop(why, cause))
        self._on_stop()

    def report(self, what: What, **fields: str | int | float | None) -> None:
        """Tell people and logs."""
        self._effects.append(Report(what, fields))

    def tell_wait(self, awaited: Awaited | None, version: int, now: float, whom: str = "") -> None:
        """Tell people what is waited for, once it has lasted, and for ``whom`` if that is known. None: they need to see
        to nothing. ``version`` is the newest manifest's."""
        if (told := self._waiting.now_for(awaited, now)) is not None:
            self.report(What.WAITING, lacking=told.value, version=version, whom=whom)

    def moments(self) -> Iterable[float]:
        """When `tell_wait` may have something to tell."""
        return () if (moment := self._waiting.moment()) is None else (moment,)

    def take(self, now: float) -> list[Effect]:
        """The effects for the shell. Of what one member alone brings about only so much is told."""
        effects, self._effects, speaker, self.speaker = self._effects, [], self.speaker, b""
        if not speaker:
            return effects
        return [
            effect for effect in effects if not isinstance(effect, Report) or self._limits.is_told(effect, speaker, now)
        ]
