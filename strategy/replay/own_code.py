"""Whether Flower's own code alone makes what a strategy sends, or the app's may have a part in it.

It asks what the app's code *may* do, and not what it does: an app that decides by a number may do here what it did not
do on the recorded machine, because the number is rounded in another way there.
"""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final

from flwr.serverapp import strategy as flower

OWN: Final = "the app's own code makes the model, not a strategy of Flower's alone"
"""Why there is no bound."""
PATCHED: Final = "the app changes Flower's own code"
"""Why there is no bound."""
ANOTHER_GRID: Final = "the app's own Grid is between the strategy and the clients"
"""Why there is no bound."""
LATER: Final = "the app has heard from clients before it started this strategy, and may have set it by that"
"""Why there is no bound."""
IN_REACH: Final = "the app's own code has the strategy in reach while it runs, and may change it"
"""Why there is no bound."""
OF_REPLIES: Final = "the app's own train_metrics_aggr_fn has the replies in hand, and may change them"
"""Why there is no bound."""

_FLOWERS: Final = ("flwr.serverapp.", "flwr.app.", "flwr.common.", "flwr.supercore.differential_privacy")
"""Modules whose code is between the replies and what is sent next."""
_FREE: Final = frozenset(
    {"__init__", "summary", "__module__", "__doc__", "__qualname__", "__abstractmethods__", "_abc_impl"}
    | {"__annotations__", "__firstlineno__", "__static_attributes__", "__parameters__", "__orig_bases__"}
)
"""What an app's subclass may have of its own without a part in what is sent: it ran before there was a reply."""
_CALLED_LAST: Final = "evaluate_metrics_aggr_fn"
"""It gets the metrics of an evaluation, and nothing of the model."""
_MOST_LOOKED_AT: Final = 100_000
"""Objects. What holds more counts as holding all."""
_ATOMS: Final = (type(None), bool, int, float, complex, str, bytes, bytearray)


@dataclass(frozen=True, slots=True)
class Part:
    """The part that an app's own code may have in what is sent while one strategy runs."""

    why: str = ""
    """Why nothing is Flower's alone; empty if something is."""
    runs: bool = False
    """Whether it runs between the steps of Flower's: it may draw from the generators that Flower's code draws from, and
    it may end the run."""
    has_model: bool = False
    """Whether it gets the model between an evaluation and the next training."""


class FlowersCode:
    """Flower's code as it was before the app was loaded, and the Grid that the app is given."""

    def __init__(self, grid: object, app_dir: Path) -> None:
        self._grid = grid
        self._app = app_dir.resolve()
        self._kind = type(grid)
        self._threads = set(threading.enumerate())
        self._known = {_root(name) for name in sys.modules}
        """What has been imported before the app was."""
        self._in_folder: dict[str | None, bool] = {}
        self._loaded = self._now()

    def is_as_it_was(self) -> bool:
        """Whether the app has replaced nothing of it."""
        now = self._now()
        return not vars(self._grid).keys() & _names(self._kind) and all(
            now.get(module) == names for module, names in self._loaded.items()
        )

    def part(self, strategy: object, arguments: Mapping[str, object], *, is_first: bool) -> Part:
        """The part that the app's own code may have in what ``strategy`` sends, which is about to be started.

        ``arguments`` are those of ``start``, by their names. ``is_first`` says whether no client has been asked yet.
        """
        chain = [strategy, *_inner(strategy)]
        evaluate = arguments.get("evaluate_fn")
        others = set(threading.enumerate()) - self._threads - {threading.current_thread()}
        running = [each for each in (evaluate, *map(_own_last, chain), *others) if each is not None]
        why = self._why(chain, arguments, running, is_first=is_first)
        return Part(why, runs=bool(running), has_model=evaluate is not None)

    def _why(
        self, chain: Sequence[object], arguments: Mapping[str, object], running: Sequence[object], *, is_first: bool
    ) -> str:
        if not all(map(_is_flowers, chain)):
            return OWN
        if not all(map(_is_plain, (value for name, value in arguments.items() if name not in _NOT_PLAIN))):
            return OWN
        if any(not _is_plain(vars(each).get("train_metrics_aggr_fn")) for each in chain):
            return OF_REPLIES
        if arguments.get("grid") is not self._grid:
            return ANOTHER_GRID
        if not self.is_as_it_was():
            return PATCHED
        if not is_first:
            return LATER
        return IN_REACH if self._reaches(running, chain) else ""

    def _now(self) -> dict[str, dict[str, object]]:
        loaded = [(name, module) for name, module in sys.modules.items() if f"{name}.".startswith(_FLOWERS)]
        found = {name: _code_in(vars(module)) for name, module in loaded}
        return found | {"the Grid": _code_in(vars(self._kind))}

    # -- what an app's code has in reach ----------------------------------------------------------------------------

    def _reaches(self, roots: Sequence[object], wanted: Sequence[object]) -> bool:
        """Whether one of ``wanted`` can be got at from ``roots``, through what they hold and the app's globals."""
        seen: dict[int, object] = {}
        waiting = list(roots)
        while waiting:
            value = waiting.pop()
            if isinstance(value, _ATOMS) or value is self._grid or id(value) in seen:
                continue
            if any(value is each for each in wanted) or len(seen) > _MOST_LOOKED_AT:
                return True
            seen[id(value)] = value
            waiting += self._held(value)
        return False

    def _held(self, value: object) -> Iterable[object]:
        """What an object holds; of a function, a class or a module that all the world has, nothing but what it was
        given."""
        match value:
            case FunctionType():
                given = [*(value.__closure__ or ()), value.__defaults__, value.__kwdefaults__]
                home = value.__globals__.get("__name__")  # `functools.wraps` gives it the ``__module__`` of another
                return [*given, *self._named_globals(value)] if self._is_apps(home) else given
            case ModuleType():
                return vars(value).values() if self._is_in_folder(value.__name__) else ()
            case type():
                return [*vars(value).values(), *value.__bases__] if self._is_apps(value.__module__) else ()
        return gc.get_referents(value)

    def _named_globals(self, function: FunctionType) -> Iterator[object]:
        """The globals that a function names; of a package that the app imports, what it names of that."""
        names = set(_named(function.__code__))
        for value in (function.__globals__.get(name) for name in names):
            yield value
            if isinstance(value, ModuleType) and self._is_apps(value.__name__):
                yield from (vars(value).get(name) for name in names)

    def _is_apps(self, module: str | None) -> bool:
        """Whether a module is in the app's folder, or of a package that nobody but the app has imported."""
        root = _root(module or "")
        return self._is_in_folder(module) or not (root in self._known or root in sys.stdlib_module_names)

    def _is_in_folder(self, module: str | None) -> bool:
        if module not in self._in_folder:
            file = getattr(sys.modules.get(module or ""), "__file__", None)
            self._in_folder[module] = file is not None and self._app in Path(file).resolve().parents
        return self._in_folder[module]


_NOT_PLAIN: Final = frozenset({"grid", "evaluate_fn"})
"""What `start` is given that is judged by itself."""


def _inner(strategy: object) -> Iterator[object]:
    """The strategy that a wrapper of Flower's has in it, if it is one."""
    if isinstance(strategy, flower.Strategy) and (inner := vars(strategy).get("strategy")) is not None:
        yield inner
        yield from _inner(inner)


def _own_last(strategy: object) -> object:
    function = getattr(strategy, "__dict__", {}).get(_CALLED_LAST)
    return None if _is_plain(function) else function


def _is_flowers(strategy: object) -> bool:
    """Whether all of its code is Flower's, and so is what that code reads of it."""
    kind = type(strategy)
    if not isinstance(strategy, flower.Strategy) or type(kind) is not type(flower.Strategy):
        return False
    flowers = [each for each in kind.__mro__ if _root(each.__module__) in ("flwr", "abc", "builtins")]
    if any(vars(each).keys() - _FREE for each in kind.__mro__ if each not in flowers):
        return False
    own = vars(strategy)
    read = {name for each in flowers for code in _codes(each) for name in _named(code)}
    return not own.keys() & _names(kind) and all(
        _is_plain(value) for name, value in own.items() if name in read and name not in _JUDGED
    )


_JUDGED: Final = frozenset({"strategy", "train_metrics_aggr_fn", _CALLED_LAST})
"""What a strategy has that is judged by itself."""


def _is_plain(value: object) -> bool:
    """Whether it is a value of Python's, numpy's or Flower's own kinds, or a function of Flower's."""
    if isinstance(value, FunctionType):
        return _root(value.__module__) == "flwr"
    return not callable(value) and _root(type(value).__module__) in ("builtins", "numpy", "flwr")


def _root(module: str) -> str:
    return module.partition(".")[0]


def _names(kind: type) -> set[str]:
    """What is looked up in a class, unless an object has it of its own."""
    return {name for each in kind.__mro__ for name, value in vars(each).items() if callable(value)}


def _code_in(names: Mapping[str, Any]) -> dict[str, object]:
    """The code that these names stand for, and that of the classes among them."""
    found: dict[str, object] = {}
    for name, value in names.items():
        if isinstance(value, FunctionType):
            found[name] = (value, value.__code__, value.__defaults__)
        elif isinstance(value, type) and value.__module__.startswith("flwr"):
            found[name] = (value, {each: code for each, code in vars(value).items() if _is_code(code)})
        elif _is_code(value):
            found[name] = value
    return found


def _is_code(value: object) -> bool:
    return callable(value) or isinstance(value, property | classmethod | staticmethod)


def _codes(kind: type) -> Iterator[CodeType]:
    yield from (each.__code__ for each in vars(kind).values() if isinstance(each, FunctionType))


def _named(code: CodeType) -> Iterator[str]:
    """The names of globals and attributes in a function, and in those that it makes."""
    yield from code.co_names
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield from _named(each)
