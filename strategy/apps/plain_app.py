"""What Flower says of an app's folder, told again for the plain case, in which nothing of Flower has to be imported.

To import Flower takes as long as the rest of a peer's start, and its bundler as long again, with a web framework. A
peer needs neither if the app's folder is *plain*: its ``pyproject.toml`` has what Flower requires, and no patterns of
its own. Of any other folder Flower itself says what it is, or what is wrong with it (`strategy.flower_compat`).

Sources: ``flwr.common.config`` (``validate_fields_in_config``, ``flatten_dict``, ``parse_config_args``),
``flwr.cli.utils`` (``filter_paths_for_publish``), ``flwr.cli.build`` (``get_filtered_fab_paths``).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final

import pathspec

PYPROJECT: Final = "pyproject.toml"

FlatConfig = dict[str, bool | int | float | str]

_SECTIONS: Final = ("project", "tool", "tool.flwr", "tool.flwr.app", "tool.flwr.app.components", "tool.flwr.app.config")
"""The sections that Flower reads in an app's ``pyproject.toml``."""
_TEXTS: Final = ("project.name", "project.version", "tool.flwr.app.publisher")
"""The texts that it requires in them."""
_OWN_PATTERNS: Final = frozenset({"fab-include", "fab-exclude"})

_SOURCES: Final = ("**/*.py", "**/*.toml", "**/*.md", "**/*.yaml", "**/*.yml", "**/*.json", "**/*.jsonl")
PUBLISHED: Final = (*_SOURCES, "/.gitignore", "**/.editorconfig", "/LICENSE", "/LICENSE.md")
"""``flwr.supercore.constant.APP_PUBLISH_INCLUDE_PATTERNS``; the next ones are named alike there, or there and in
``flwr.common.constant``."""
UNPUBLISHED: Final = (".flwr/**", ".venv/**", "**/__pycache__/**")
BUNDLED: Final = (*_SOURCES, "/LICENSE")
UNBUNDLED: Final = (
    ".flwr/**",
    "**/__pycache__/**",
    PYPROJECT,
    "**/*_test.py",
    "**/test_*.py",
    "build/**",
    "eggs/**",
    ".eggs/**",
    "lib/**",
    "lib64/**",
    "parts/**",
    "*.egg",
    ".venv/**",
    "env/**",
    "venv/**",
    "ENV/**",
    "env.bak/**",
    "venv.bak/**",
)
MAX_DEPTH: Final = 10
"""Folders in one another, as Flower allows them."""

_PAIR: Final = re.compile(r"(\S+?)=(\'[^\']*\'|\"[^\"]*\"|\S+)")
"""As in ``flwr.common.config.parse_config_args``."""


# -- pyproject.toml ------------------------------------------------------------------------------------------------


def parsed_pyproject(text: str) -> dict[str, Any]:
    """An app's ``pyproject.toml``. Each section that Flower reads is a section, if it is there.

    Raises:
        ValueError: if it is no TOML, or has something else instead of a section or a text; the message names it.
        RecursionError: if it is nested too deep.
    """
    config = tomllib.loads(text)
    for names, kind, what in ((_SECTIONS, dict, "a section"), (_TEXTS, str, "a text")):
        for name in names:
            found = _found(config, name)
            if found is not None and not isinstance(found, kind):
                raise ValueError(f"{name} in {PYPROJECT} is {found!r:.80}, and has to be {what}")
    return config


def is_plain(config: Mapping[str, Any]) -> bool:
    """Whether this ``pyproject.toml`` has what Flower requires, and no patterns of its own."""
    components = ("tool.flwr.app.components.serverapp", "tool.flwr.app.components.clientapp")
    if not all(isinstance(_found(config, name), str) for name in (*_TEXTS, *components)):
        return False
    app = config["tool"]["flwr"]["app"]
    try:
        flat(app.get("config", {}))
    except (ValueError, RecursionError):
        return False
    return not _OWN_PATTERNS & app.keys()


def _found(config: Mapping[str, Any], name: str) -> object:
    """What is at ``a.b.c``, if it is there."""
    found: object = config
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    return found


# -- configs -------------------------------------------------------------------------------------------------------


def flat(config: Mapping[str, Any], above: str = "") -> FlatConfig:
    """Settings without their nesting: ``{"a": {"b": 1}}`` as ``{"a.b": 1}``.

    Raises:
        ValueError: if a value is none that an app's setting may have.
        RecursionError: if they are nested too deep.
    """
    found: FlatConfig = {}
    for key, value in config.items():
        name = f"{above}.{key}" if above else key
        match value:
            case dict():
                found |= flat(value, name)
            case bool() | int() | float() | str():
                found[name] = value
            case _:
                raise ValueError(
                    f"The value for key {key} needs to be of type `int`, `float`, `bool, `str`, or  a `dict` of those."
                )
    return found


def config_overrides(defaults: FlatConfig, texts: Sequence[str]) -> FlatConfig:
    """``defaults``, overridden by the ``key=value`` pairs of ``texts``, or of the TOML file that a single text names.

    Raises:
        ValueError: if ``texts`` cannot be read, or name a key that the app does not have.
    """
    overrides = parsed_pairs(texts)
    unknown = [key for key in overrides if key not in defaults]
    if unknown:
        raise ValueError(f"the app has no setting {unknown[0]!r}; it has {', '.join(sorted(defaults)) or 'none'}")
    return defaults | overrides


def parsed_pairs(texts: Sequence[str]) -> FlatConfig:
    """The ``key=value`` pairs of ``texts``, or of the TOML file that a single text names. The last of a key counts.

    Raises:
        ValueError: if ``texts`` cannot be read.
    """
    for text in texts:
        unread = _PAIR.sub("", text).strip()
        if unread and not text.endswith(".toml"):  # Flower ignores what it does not understand
            raise ValueError(f"{unread!r} is not of the form key=value")
    if len(texts) == 1 and texts[0].endswith(".toml"):
        try:
            return flat(tomllib.loads(Path(texts[0]).expanduser().read_text(encoding="utf-8")))
        except (OSError, RecursionError) as error:
            raise ValueError(str(error)) from error
    overrides: dict[str, Any] = {}
    for text in texts:
        if text.endswith(".toml"):
            raise ValueError("TOML files cannot be passed alongside key-value pairs.")
        try:
            overrides |= tomllib.loads("\n".join(f"{key} = {value}" for key, value in _PAIR.findall(text)))
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise ValueError(
                "The provided configuration string is in an invalid format. The correct format should be, e.g., "
                "'key1=123 key2=false key3=\"string\"', where values must be of type bool, int, string, or float. "
                "Ensure proper formatting with space-separated key-value pairs."
            ) from error
    return flat(overrides)


# -- files ---------------------------------------------------------------------------------------------------------


def plain_paths(files: Mapping[str, Path]) -> list[str] | None:
    """Which of a plain folder's files Flower's bundle takes besides ``pyproject.toml``; None if Flower takes none,
    and says why.

    Raises:
        OSError, UnicodeDecodeError: if the ``.gitignore`` cannot be read.
    """
    ignore = files[".gitignore"].read_text(encoding="utf-8") if ".gitignore" in files else ""
    lines = [line.strip() for line in ignore.splitlines()]
    ignored = _patterns([line for line in lines if line and not line.startswith("#")])
    published, unpublished = _patterns(PUBLISHED), _patterns(UNPUBLISHED)
    there = [
        path
        for path in files
        if published.match_file(path) and not unpublished.match_file(path) and not ignored.match_file(path)
    ]
    if PYPROJECT not in there or any(len(PurePosixPath(path).parts) - 1 > MAX_DEPTH for path in there):
        return None
    bundled, unbundled = _patterns(BUNDLED), _patterns(UNBUNDLED)
    return [path for path in there if bundled.match_file(path) and not unbundled.match_file(path)]


def _patterns(lines: Sequence[str]) -> pathspec.PathSpec[Any]:
    return pathspec.PathSpec.from_lines("gitwildmatch", lines)  # not "gitignore", which differs in some patterns
