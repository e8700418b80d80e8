"""What a role wants done: effects, the answers to them, and what people are told."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Concatenate, ParamSpec

from protocol.app.calls import Examined, Failed
from protocol.roles.effects import Effect, Report, Stop, StopCause, What
from protocol.roles.events import Done, Fetched
from protocol.roles.report_limits import ReportLimits
from protocol.roles.state_table import IllegalEvent
from protocol.roles.waiting import Awaited, Waiting

P = ParamSpec("P")


def _nobody_waits(*_: object) -> None:
    """What is done with an answer for parts that were laid down: nothing."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """Who waits for the answer to an effect."""

    by: Outbox
    done: Callable[..., None]
    failed: Callable[[str, float], None]


class Post:
    """The effects of one event, until the shell takes them, and who waits for their answers: of all parts of a machine,
    and of that which takes its place when the role is another."""

    def __init__(self) -> None:
        self.effects: list[Effect] = []
        self.last_id = 0
        self.asked: dict[int, _Asked] = {}
        self.on_stop: Callable[[], None] = _nobody_waits
        """Called when the role there is cannot go on."""
        self.limits = ReportLimits()
        self.speaker = b""


class Outbox:
    """Where some parts put their effects: those of one role, or those that stay whatever the role is."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self._waiting = Waiting()

    @property
    def speaker(self) -> bytes:
        """The member whose announcement is being handled; empty: none is."""
        return self._post.speaker

    def emit(self, *effects: Effect) -> None:
        """Have done what is not answered."""
        self._post.effects += effects

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
        post = self._post
        post.last_id += 1
        post.asked[post.last_id] = _Asked(self, done, failed)
        post.effects.append(effect(post.last_id, *args, **kwargs))

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
        asked = self._post.asked
        if event.effect not in asked:
            raise IllegalEvent(f"{type(event).__name__} for effect {event.effect}, which waits for no answer")
        waits = asked.pop(event.effect)
        match event:
            case Done():
                waits.done(now)
            case Fetched():
                waits.done(event.blocks, now)
            case Examined():
                waits.done(event.found, now)
            case Failed():
                waits.failed(event.why, now)

    def lay_down(self) -> None:
        """These parts are no more: no answer reaches them. A durable step of theirs that fails still stops the peer, as
        what comes after it would be kept without it."""
        for id, waits in self._post.asked.items():
            if waits.by is self:
                must = waits.failed == self.cannot_go_on
                self._post.asked[id] = _Asked(self, _nobody_waits, waits.failed if must else _nobody_waits)

    def cannot_go_on(self, why: str, now: float, cause: StopCause = StopCause.MEANS) -> None:
        """Stop. Nothing was announced of a durable step that failed, and the run stays open to be resumed."""
        self._post.effects.append(Stop(why, cause))
        self._post.on_stop()

    def report(self, what: What, **fields: str | int | float | None) -> None:
        """Tell people and logs."""
        self._post.effects.append(Report(what, fields))

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
        post = self._post
        effects, post.effects, speaker, post.speaker = post.effects, [], post.speaker, b""
        if not speaker:
            return effects
        limits = post.limits
        return [effect for effect in effects if not isinstance(effect, Report) or limits.is_told(effect, speaker, now)]
