"""Fixes for errors of apps that come from where the app runs, and not from what it does."""

from __future__ import annotations

import re
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_CONVENTIONAL: Final = frozenset({"partition-id", "num-partitions"})
"""What Flower's simulation puts into every node config. So most apps ask for these."""

_QUOTED: Final = re.compile(r"[\"']([\w.-]{1,100})[\"']")


def fix_for(error: BaseException, node_config: Mapping[str, object] | None = None) -> str:
    """What to do about an app's exception, as ``; give ...``; empty if we know nothing.

    ``node_config`` is a ClientApp's, and None for a ServerApp.
    """
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"; no module {error.name.partition('.')[0][:100]!r} is installed for Python where this peer runs"
    if isinstance(error, FileNotFoundError) and _is_relative(error.filename):
        if node_config is None:
            return "; a ServerApp works in an empty folder of its run: name data by an absolute path"
        return "; a ClientApp works in the folder its peer was started in, or --work-dir"
    key = None if node_config is None else _lacking(error, node_config)
    return f'; its node config lacks it: start that client with --node-config "{key}=..."' if key else ""


def _is_relative(name: object) -> bool:
    return isinstance(name, str) and bool(name) and not Path(name).is_absolute()


def _lacking(error: BaseException, node_config: Mapping[str, object]) -> str | None:
    """The setting that the app asked its node config for in vain."""
    line = _line_of(error)
    asked = error.args[0] if isinstance(error, KeyError) and error.args else None
    if isinstance(asked, str) and asked not in node_config and (asked in _CONVENTIONAL or "node_config" in line):
        return asked[:100]
    if isinstance(error, TypeError) and "node_config" in line:  # int(None)
        return next((key for key in _QUOTED.findall(line) if key not in node_config), None)
    return None


def _line_of(error: BaseException) -> str:
    """The source line that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    return (frames[-1].line or "") if frames else ""
