"""Folders in which an app may have written: they are removed, whatever it has made of them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """A new folder, which is removed afterwards."""
    made = TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)
    try:
        yield Path(made.name)
    finally:
        try:
            made.cleanup()
        except RecursionError:
            _remove_deep(Path(made.name))


def remove(folder: Path) -> None:
    """Remove a folder, if it is there."""
    try:
        shutil.rmtree(folder, ignore_errors=True)
    except RecursionError:
        _remove_deep(folder)


def _remove_deep(folder: Path) -> None:
    """Remove a folder with more folders in each other than Python takes: ``rm`` takes any number."""
    subprocess.run(["rm", "-rf", "--", str(folder)], check=False, capture_output=True)
