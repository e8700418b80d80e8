"""Writes a new app's folder from one of the templates. Importing this imports neither flwr nor numpy."""

from __future__ import annotations

import re
import shutil
import tempfile
from enum import StrEnum
from importlib.util import find_spec
from keyword import iskeyword
from pathlib import Path
from typing import Final

_TEMPLATES: Final = Path(__file__).parents[1] / "templates"
_NAME: Final = "newapp"
"""What a template's package and project are called."""
_TEXTS: Final = {".py", ".toml", ".md"}


class Framework(StrEnum):
    """What a new app computes with; a template each."""

    NUMPY = "numpy"
    TORCH = "torch"


def module_name(folder: str) -> str:
    """The name of the package of an app in a folder of this name.

    Raises:
        ValueError: if Python could not import a package of that name, or has another one.
    """
    name = re.sub(r"[-. ]+", "_", folder).lower()
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or iskeyword(name):
        raise ValueError(f"an app cannot be called {folder!r}: Python has to import it; letters and digits will do")
    if find_spec(name) is not None:
        raise ValueError(f"an app cannot be called {folder!r}: Python has a module {name} already")
    return name


def write_new_app(into: Path, framework: Framework) -> str:
    """Write a template to the new folder ``into``, completely or not at all. Returns the name of its package.

    Raises:
        ValueError: if the folder's name is no name for an app.
        FileExistsError: if it exists already.
        OSError: if it cannot be written.
    """
    name = module_name(into.name)
    if into.exists():
        raise FileExistsError(f"{into} exists already")
    into.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=into.parent, prefix=f".{into.name}-") as work:
        made = Path(work) / "app"
        for source in sorted((_TEMPLATES / framework).rglob("*")):
            if source.suffix in _TEXTS:
                target = made / source.relative_to(_TEMPLATES / framework).as_posix().replace(_NAME, name)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(source.read_text("utf-8").replace(_NAME, name), "utf-8")
        shutil.move(made, into)
    return name
