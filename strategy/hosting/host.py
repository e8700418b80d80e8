"""What hosting a ServerApp and hosting a ClientApp have in common."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import is_dataclass
from pathlib import Path
from types import ModuleType
from typing import Final, SupportsIndex

import msgspec

from crypto.described_types import described
from protocol.blocks.cid import CID, Block, BlockSource, MissingBlock
from protocol.blocks.content import ContentError
from protocol.records.environment import Environment, Numerics
from strategy.contents.codec import ContentStore
from strategy.grid_answers import RunStopped
from strategy.replay.measured_environment import measure_environment
from strategy.replay.numerics import numerics_in_force, settle_torch

OUR_PACKAGES: Final = ("crypto", "peer", "protocol", "strategy")

MAX_REASON: Final = 2000
"""Characters of an error's reason that are kept."""
_MAX_KIND: Final = 200
"""Characters of them for the name of the exception's class."""

_IMPORTS_TORCH: Final = re.compile(r"^\s*(import|from)\s+(torch|torchvision)\b", re.MULTILINE)


def prepare(app_dir: Path) -> Environment:
    """Import what the app will import, before anything is seeded, and measure what may change the bits of its results.

    Call it once, in a process that will host this one app.
    """
    importlib.import_module("rich.style")  # draws from `random` when it is imported, and flwr imports it late
    if uses_torch(app_dir):
        importlib.import_module("torch")
    numerics = numerics_in_force()
    if numerics is Numerics.PORTABLE:
        settle_torch()
    return measure_environment(app_dir, numerics)


def uses_torch(app_dir: Path) -> bool:
    """Whether any source of the app imports torch."""
    return any(
        _IMPORTS_TORCH.search(source.read_text(encoding="utf-8", errors="replace"))
        for source in sorted(app_dir.rglob("*.py"))
    )


@contextmanager
def out_of_sight() -> Iterator[None]:
    """Hide Pollen's packages from what is imported inside, because an app may have a ``strategy.py`` of its own.

    Our modules hold each other, so they go on working. Only an import statement that runs inside would find the app's
    module instead. So no function of ours that is called inside may contain one, and what msgspec would look up later
    by module name is looked up before.
    """
    ours = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in OUR_PACKAGES}
    roots = {Path(ours[name].__file__ or "").resolve().parent.parent for name in OUR_PACKAGES if name in ours}
    _resolve_annotations(ours.values())
    path = list(sys.path)
    for name in ours:
        del sys.modules[name]
    sys.path[:] = [entry for entry in sys.path if Path(entry or ".").resolve() not in roots]
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] in OUR_PACKAGES]:
            del sys.modules[name]
        sys.modules.update(ours)
        sys.path[:] = path


def _resolve_annotations(modules: Iterable[ModuleType]) -> None:
    """Make msgspec look up the field types of our dataclasses and structs, which it keeps."""
    for module in modules:
        for kind in list(vars(module).values()):
            if not isinstance(kind, type) or kind.__module__ != module.__name__:
                continue
            if is_dataclass(kind) or issubclass(kind, msgspec.Struct):
                try:
                    described(kind)
                except (TypeError, NameError):
                    continue  # nothing is ever read into it


def set_aside(folder: Path) -> Path:
    """``folder``, after moving what is in it to a folder ``.before`` beside it, which is replaced.

    A ServerApp always runs from its beginning, so it must not find files of an earlier process of its run. An app that
    looks for its own checkpoint would continue from there, and not do what is recorded.
    """
    before = folder.with_name(f"{folder.name}.before")
    if folder.exists():
        shutil.rmtree(before, ignore_errors=True)
        os.replace(folder, before)
    return folder


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Make ``folder``, where an app's files go, the working directory."""
    folder.mkdir(parents=True, exist_ok=True)
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


@contextmanager
def sleeping_only_if(live: Callable[[], bool]) -> Iterator[None]:
    """Let ``time.sleep`` return at once while a script is replayed: what the app waited for has happened already."""
    real = time.sleep

    def sleep(seconds: float | SupportsIndex, /) -> None:
        if live():
            real(seconds)

    time.sleep = sleep
    try:
        yield
    finally:
        time.sleep = real


class GuardedStore:
    """A content store whose failures are not the app's errors.

    A store fails if the engine is gone or the disk is full. Then the run must stop, to be resumed, whatever the app
    does with the exception.
    """

    def __init__(self, store: ContentStore) -> None:
        self._store = store
        self.failure: Exception | None = None
        """The first failure."""

    def put_content(self, root: CID, blocks: Iterable[Block]) -> None:
        with self._guard(MissingBlock):  # then `ContentWriter` gives all blocks
            self._store.put_content(root, blocks)

    def open(self, root: CID) -> BlockSource:
        with self._guard():
            return _GuardedSource(self, self._store.open(root))

    def check(self) -> None:
        """Raise RunStopped if there was a failure, even one that the app has swallowed."""
        if self.failure is not None:
            raise RunStopped(f"the engine failed: {self.failure}") from self.failure

    @contextmanager
    def _guard(self, *passed: type[Exception]) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if isinstance(error, (ContentError, *passed)):
                raise
            self.failure = self.failure or error
            raise RunStopped(f"the engine failed: {error}") from error


class _GuardedSource:
    def __init__(self, store: GuardedStore, source: BlockSource) -> None:
        self._store = store
        self._source = source

    def get(self, cid: CID) -> bytes:
        with self._store._guard():
            return self._source.get(cid)


def describe(error: BaseException, fix: str = "") -> str:
    """An app's exception as text that fits into a record, in Flower's form, with what fixes it."""
    kind = text_of(type(error))
    if len(kind) > _MAX_KIND:
        kind = f"{kind[: _MAX_KIND - 2]}'>"
    head, foot = f"{kind}:<'", f"'>{fix}"
    room = MAX_REASON - len(head) - len(foot)  # only the text is cut, so that readers can still parse the form
    return f"{head}{text_of(error)[:room]}{foot}".encode("utf-8", "replace").decode()


def text_of(value: object) -> str:
    """An app's object as text, whatever its own ``__str__`` does."""
    try:
        return str(value)
    except BaseException as error:  # noqa: BLE001  # the app's own ``__str__`` may raise whatever it likes
        return f"a {type(value).__qualname__} whose text raises a {type(error).__qualname__}"
