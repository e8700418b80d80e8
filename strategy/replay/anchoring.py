"""Going on after a difference that another machine may have caused: the recorded message takes the place of the app's.

So each exchange is judged by itself. Otherwise the first rounding that differs would make every later model differ, by
more and more. What is recorded goes into the app's own record, in place, before the strategy makes messages of it: a
strategy may keep a copy of the model that it sends.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MessageType, RecordDict
from flwr.serverapp import strategy as flower
from flwr.serverapp.strategy import Strategy

from protocol.app.calls import DispatchEntry, Outgoing
from protocol.blocks.cid import CID, BlockError
from protocol.blocks.content import ContentKey
from protocol.replay.differences import Difference, Outcome, judged
from strategy.contents.codec import ContentStore, Limits, decode
from strategy.contents.difference import NO_BOUNDS, Bound, Bounds, NoBounds, difference
from strategy.flower_compat import CLIPPING_NORM
from strategy.replay.flower_rounding import Derived, FlowerRounding, HeldReply, NotDerived, held
from strategy.replay.own_code import PATCHED, FlowersCode, Part
from strategy.replay.scripted_answers import Divergence, ScriptedAnswers, digest

FIRST: Final = "the app makes its first model itself"
"""Why there is no bound."""
SETTING: Final = "the app's own code may compute a setting"
"""Why there is no bound."""
IN_HAND: Final = "the app's own evaluate_fn had the model in hand, and may have changed it"
"""Why there is no bound."""
CHANGED: Final = "the app's own code changed the model that the strategy made, or sends another"
"""Why there is no bound."""
DRAWS: Final = "the app's own code may draw from the generator that the strategy's noise is drawn from"
"""Why there is no bound."""
GAP: Final = "the strategy may have kept something of replies that are not kept"
"""Why there is no bound."""
_STATELESS: Final = frozenset(
    {
        flower.FedAvg,
        flower.FedProx,
        flower.FedMedian,
        flower.FedTrimmedAvg,
        flower.Krum,
        flower.MultiKrum,
        flower.Bulyan,
    }
)
"""The strategies of Flower's that keep nothing of a round but the model."""
_OWN: Final = frozenset({FIRST, IN_HAND, CHANGED})
"""Reasons for which the model as a whole may be the app's."""
FLOWERS_SETTINGS: Final = frozenset({"server-round", CLIPPING_NORM})
"""The settings that Flower's own strategies send."""


class Anchoring:
    """Compares what an app is about to send with what is recorded, and anchors the app to that if it may differ so."""

    def __init__(self, script: ScriptedAnswers, store: ContentStore, limits: Limits) -> None:
        self._script = script
        self._store = store
        self._limits = limits
        self._code: FlowersCode | None = None
        self._has_sent = False
        self._local = threading.local()
        self._last: _Watched | None = None

    def look_at(self, code: FlowersCode) -> None:
        """Take Flower's code as it is, before the app is loaded."""
        self._code = code

    @property
    def _current(self) -> _Watched | None:
        """The strategy that this thread of the app runs."""
        found: _Watched | None = getattr(self._local, "watched", None)
        return found

    @contextmanager
    def watching(self, strategy: object, arguments: Mapping[str, object]) -> Iterator[None]:
        """Look on while ``strategy`` runs, started with these ``arguments``. One of the older kind has no bounds."""
        if not isinstance(strategy, Strategy) or self._code is None:
            yield
            return
        part = self._code.part(strategy, arguments, is_first=not self._has_sent and self._last is None)
        self._last = watched = _Watched(strategy, part, self._code, self._script)
        outer, self._local.watched = self._current, watched
        own = vars(strategy)
        hooks = {
            "configure_train": self._adopting(watched, strategy.configure_train, MessageType.TRAIN),
            "configure_evaluate": self._adopting(watched, strategy.configure_evaluate, MessageType.EVALUATE),
            "aggregate_train": watched.noting(strategy.aggregate_train),
        }
        before = {name: own[name] for name in hooks if name in own}
        own.update(hooks)
        try:
            yield
        finally:
            self._local.watched = outer
            for name in hooks:
                del own[name]
            own.update(before)

    def _adopting(self, watched: _Watched, configure: Callable[..., Any], kind: str) -> Callable[..., Any]:
        def adopting(server_round: int, arrays: ArrayRecord, *args: Any, **kwargs: Any) -> Any:
            if kind == MessageType.TRAIN:
                watched.was_evaluated()
            watched.looks_at(arrays)
            self._adopt(watched, arrays, kind)
            return configure(server_round, arrays, *args, **kwargs)

        return adopting

    def _adopt(self, watched: _Watched, arrays: ArrayRecord, kind: str) -> None:
        """Put the recorded model in the place of ``arrays``, if it differs as another machine may have it differ.

        Only if messages of this ``kind`` are recorded next: a strategy may send none, and then the app has the model.
        """
        entry = self._script.next_dispatch()
        if entry is None or entry.messages[0].message.type != kind:
            return
        recorded = self._recorded(entry, entry.messages[0].message.content)
        if recorded is None:
            return
        fitting = [(key, each) for key, each in recorded.array_records.items() if list(each) == list(arrays)]
        if not fitting:
            return
        key, record = fitting[0]
        found = difference(RecordDict({key: record}), RecordDict({key: arrays}), watched.bounds(), watched.sent)
        if found is not None:
            if not entry.loose:
                if not self._goes_on(found):
                    return  # the push will show it
                self._script.goes_on(entry.head.height, found, _digest_of(arrays))
            for name, array in record.items():
                arrays[name] = array
        watched.settle(arrays)

    def anchored(
        self, outgoing: tuple[Outgoing, ...], messages: Sequence[Message], key: ContentKey | None
    ) -> tuple[Outgoing, ...]:
        """What the app sends: the recorded messages, if its own differ from them as another machine may have it."""
        self._has_sent = True
        if self._current is not None:
            self._current.looks_at_messages(messages)
        entry = self._script.next_dispatch()
        if entry is None or entry.head.key != key:
            return outgoing
        recorded = tuple(scripted.message for scripted in entry.messages)
        if recorded != outgoing and entry.loose:
            return self._in_place(entry, outgoing, recorded, messages)
        if recorded != outgoing:
            pairs = _pairs(outgoing, recorded, messages)
            apart = None if pairs is None else self._all_undecided(entry, pairs)
            if apart is None:
                return outgoing
            self._script.goes_on(entry.head.height, apart, digest(repr(outgoing)))
        if self._current is not None:
            self._current.sent_out(messages)
        return recorded

    def _in_place(
        self,
        entry: DispatchEntry,
        outgoing: tuple[Outgoing, ...],
        recorded: tuple[Outgoing, ...],
        messages: Sequence[Message],
    ) -> tuple[Outgoing, ...]:
        """The recorded messages of a push that is not compared, unless more than contents differs. The app has their
        contents then, as far as they are here."""
        pairs = _pairs(outgoing, recorded, messages)
        if pairs is None:
            return outgoing
        for content, cid in pairs:
            was = self._recorded(entry, cid)
            if was is not None and _kinds(was) == _kinds(content):
                _put_in_place(was, content)
                if self._current is not None:
                    self._current.sent_out(messages)
        return recorded

    def fill(self, records: RecordDict) -> None:
        """Give the arrays of a reply that is not kept the numbers of the model that is recorded next, or zeros: so a
        strategy makes about that model of them. What it makes is not compared."""
        coming = self._script.fills_gap()
        model = None if coming is None else self._decoded(*coming)
        found = [] if model is None else [dict(each.items()) for each in model.array_records.values()]
        for record in records.array_records.values():
            fitting = next((each for each in found if list(each) == list(record)), {})
            for name, array in list(record.items()):
                record[name] = fitting.get(name) or Array(np.zeros(tuple(array.shape), array.dtype))

    def _all_undecided(self, entry: DispatchEntry, pairs: Sequence[_Pair]) -> Difference | None:
        """The widest difference of these contents, which are replaced by the recorded ones; None if one of them differs
        as no machine has it differ."""
        decided: list[tuple[RecordDict, RecordDict]] = []
        widest: Difference | None = None
        opened: dict[CID, RecordDict | None] = {}
        for content, cid in pairs:
            was = opened[cid] if cid in opened else opened.setdefault(cid, self._recorded(entry, cid))
            watched = self._current
            bounds: Bounds = NO_BOUNDS if watched is None else watched.bounds()
            found = None if was is None else difference(was, content, bounds, watched.sent if watched else None)
            if was is None or found is None or not self._goes_on(found, was) or _kinds(was) != _kinds(content):
                return None
            decided.append((was, content))
            widest = found if widest is None or (found.ulps or 0) > (widest.ulps or 0) else widest
        for was, content in decided:
            _put_in_place(was, content)
        return widest

    def explain(self, divergence: Divergence, was: RecordDict | None, message: Message | None) -> None:
        """Say how a message differs that the app was not anchored to."""
        watched = self._current
        divergence.flowers_own = watched is not None and watched.goes_as_flower()
        if was is not None and message is not None:
            bounds = NO_BOUNDS if watched is None else watched.bounds()
            found = difference(was, message.content, bounds, watched.sent if watched else None)
            divergence.difference = found
            if watched is not None and found is not None:
                divergence.flowers_own = watched.is_made_by_flower(found, was)

    def of_final_model(self, was: RecordDict, model: RecordDict) -> tuple[Difference | None, bool]:
        """How the final model differs, and whether the app may go on to its end."""
        watched = self._last
        if watched is not None:
            watched.was_evaluated()
            for arrays in model.array_records.values():
                watched.looks_at(arrays)
        bounds = NO_BOUNDS if watched is None else watched.bounds()
        found = difference(was, model, bounds, watched.sent if watched else None)
        return found, found is not None and self._goes_on(found)

    def _goes_on(self, found: Difference, recorded: RecordDict | None = None) -> bool:
        """Whether another machine may have the app differ so, in numbers or in the settings that are ``recorded``."""
        own = self._current is not None and recorded is not None and self._current.is_made_by_flower(found, recorded)
        is_setting = recorded is not None and found.record in recorded.config_records and found.tensor is not None
        can_go_on = found.is_rounding or is_setting
        return can_go_on and judged(found, self._script.may_differ, flowers_own=own) is Outcome.UNDECIDED

    def _recorded(self, entry: DispatchEntry, cid: CID) -> RecordDict | None:
        return None if cid in entry.gone else self._decoded(cid, entry.head.key)

    def _decoded(self, cid: CID, key: ContentKey | None) -> RecordDict | None:
        try:
            return decode(cid, self._store.open(cid), key, self._limits)
        except BlockError:
            return None  # the push will show it


class _Watched:
    """A strategy that runs, and what rounding can have done to its model since that was last known bit for bit."""

    def __init__(self, strategy: Strategy, part: Part, code: FlowersCode, script: ScriptedAnswers) -> None:
        self._script = script
        self._keeps_nothing = type(strategy) in _STATELESS
        self._part = part
        self._code = code
        self.sent: dict[str, Array] | None = None
        """The model as it was sent last."""
        self._rounding = FlowerRounding(strategy)
        self._model: Derived | None = None
        self._left: _Numbers | None = None
        self._why = FIRST
        self._given_up = DRAWS if part.runs and self._rounding.draws else ""

    def settle(self, arrays: ArrayRecord) -> None:
        """The model is the recorded one, bit for bit."""
        self.sent = dict(arrays.items())
        self._left = _numbers(arrays)
        self._model, self._why = None, ""

    def was_evaluated(self) -> None:
        """The app's own ``evaluate_fn``, if it has one, was called with the model since it was sent or made."""
        if self._part.has_model and self._why != FIRST:
            self._why = IN_HAND

    def looks_at(self, arrays: ArrayRecord) -> None:
        """See whether this is the model as the strategy made it, or as it was sent last."""
        if self._left is not None and not self._why and _numbers(arrays) != self._left:
            self._why = CHANGED

    def looks_at_messages(self, messages: Sequence[Message]) -> None:
        """The same for a model in messages. What holds more is the app's own: a callback may send, too."""
        for content in {id(message.content): message.content for message in messages}.values():
            records = list(content.array_records.values())
            if len(records) > 1:
                self._why = CHANGED
            elif records:
                self.looks_at(records[0])

    def sent_out(self, messages: Sequence[Message]) -> None:
        """The app's messages are the recorded ones, bit for bit."""
        for content in {id(message.content): message.content for message in messages}.values():
            if len(content.array_records) == 1:
                self.settle(next(iter(content.array_records.values())))

    def noting(self, aggregate: Callable[..., Any]) -> Callable[..., Any]:
        """``aggregate_train``, looked on by this."""

        def noting(server_round: int, replies: Any) -> Any:
            messages = list(replies)
            clipping_norm = self._rounding.clipping_norm()
            try:
                kept = held(messages)  # before the strategy changes them
            except NotDerived as error:
                kept, self._given_up = [], str(error)
            result = aggregate(server_round, messages)
            if isinstance(result, tuple) and result and isinstance(result[0], ArrayRecord):
                self._aggregated(server_round, kept, clipping_norm)
                self._left = _numbers(result[0])
            return result

        return noting

    def _aggregated(self, server_round: int, replies: list[HeldReply], clipping_norm: float) -> None:
        self._model = None
        if self.sent is None or self._why:
            self._given_up = self._given_up or "the model before it was not compared"
        if not self._given_up:
            try:
                assert self.sent is not None
                self._model = self._rounding.model(server_round, replies, self.sent, clipping_norm)
            except (NotDerived, ValueError, KeyError) as error:
                self._given_up = str(error)
        self._why = self._given_up

    def is_made_by_flower(self, found: Difference, recorded: RecordDict) -> bool:
        """Whether Flower's code alone made what differs, which is no number. The app's own makes the first model, and
        all settings but Flower's: it may compute them from numbers."""
        if self.not_flowers():
            return False
        if found.record in recorded.config_records:
            return found.tensor in FLOWERS_SETTINGS and self._why != CHANGED
        return self._why not in _OWN

    def goes_as_flower(self) -> bool:
        """Whether Flower's code alone decides what is sent to whom."""
        return not self.not_flowers() and not self._part.runs

    def not_flowers(self) -> str:
        """Why nothing is Flower's alone; empty if something is. What a strategy has of replies that are not kept,
        nobody knows."""
        if self._script.had_gap and not self._keeps_nothing:
            return GAP
        return self._part.why or ("" if self._code.is_as_it_was() else PATCHED)

    def bounds(self) -> Bounds:
        """What rounding can cause in what is sent next."""
        if why := self.not_flowers() or self._why:
            return NoBounds(why)
        return _Derived(self._model, self._rounding)


class _Derived:
    """Bounds of a strategy of Flower's."""

    def __init__(self, model: Derived | None, rounding: FlowerRounding) -> None:
        self._model = model
        self._rounding = rounding
        self._why = ""

    def tensor(self, name: str) -> Bound:
        """Twice the error of the exact result: this machine's, and the recorded one's. Nothing, if nothing was
        computed since the model was known."""
        if self._model is None:
            return 0.0
        try:
            with np.errstate(all="ignore"):
                error = 2 * self._model(name).error
        except (NotDerived, ValueError, KeyError) as error_:
            self._why = str(error_)
            return None
        return np.nan_to_num(error, nan=np.inf, posinf=np.inf)

    def value(self, record: str, name: str) -> float | None:
        """A clipping norm moves with the strategy's. The app's own code may compute each other setting."""
        if name == CLIPPING_NORM:
            return 2 * self._rounding.clipping_error() * abs(self._rounding.clipping_norm())
        self._why = SETTING
        return None

    def why_none(self) -> str:
        """Why there is no bound."""
        return self._why or "rounding can cause any difference there"


_Pair = tuple[RecordDict, CID]
"""A content of the app's, and the recorded one in its place."""


def _pairs(
    outgoing: Sequence[Outgoing], recorded: Sequence[Outgoing], messages: Sequence[Message]
) -> list[_Pair] | None:
    """The app's contents, and what they are to be compared with; None if anything else differs, or two contents are
    recorded for one of the app's: no machine does that."""
    pairs: dict[int, _Pair] = {}
    if len(outgoing) != len(recorded):
        return None
    for ours, was, message in zip(outgoing, recorded, messages, strict=True):
        pair = pairs.setdefault(id(message.content), (message.content, was.content))
        if replace(ours, content=was.content) != was or pair[1] != was.content:
            return None
    return list(pairs.values())


def _put_in_place(was: RecordDict, content: RecordDict) -> None:
    for key, record in was.items():
        content[key].clear()  # settings may have other names
        content[key].update(record)  # type: ignore[arg-type]  # both have the same type


def _kinds(content: RecordDict) -> list[tuple[str, type]]:
    return [(key, type(record)) for key, record in content.items()]


_Numbers = list[tuple[str, str, tuple[int, ...], str, bytes]]
"""A model's tensors. Their bytes are shared with it, and nobody can change them."""


def _numbers(arrays: ArrayRecord) -> _Numbers:
    return [(name, array.dtype, tuple(array.shape), array.stype, array.data) for name, array in arrays.items()]


def _digest_of(arrays: ArrayRecord) -> bytes:
    found = hashlib.sha256()
    for name, array in arrays.items():
        found.update(digest(name))
        found.update(array.data)
    return found.digest()
