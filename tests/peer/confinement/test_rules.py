"""`peer.confinement.rules`: what is decided before anything is mounted or started."""

from __future__ import annotations

from pathlib import Path

import pytest

from peer.confinement.bounds import MAX_ALL_OPEN, MAX_FILES, Usage, exceeded
from peer.confinement.rules import Confinement, hint_for, holds, parse_size, variables_of


def test_a_folder_comes_before_what_is_in_it_and_writing_wins() -> None:
    places = Confinement((Path("/a/b"), Path("/a"), Path("/c")), (Path("/a/b"),), memory=1, disk=1).places()

    assert places == [(Path("/a"), False), (Path("/a/b"), True), (Path("/c"), False)]


@pytest.mark.parametrize(
    ("folder", "held"), [("/home", "/home/me"), ("/home/me", "/home/me"), ("/home/me/data", None), ("/home/m", None)]
)
def test_a_folder_holds_what_is_in_it_or_is_it(folder: str, held: str | None) -> None:
    assert holds(Path(folder), [Path("/home/me")]) == (None if held is None else Path(held))


@pytest.mark.parametrize(
    ("text", "size"), [("8G", 8 << 30), ("500M", 500 << 20), ("1.5GiB", 3 << 29), ("1000", 1000), ("2kb", 2048)]
)
def test_a_size_is_read_as_people_write_it(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1G", "0", "1X", "1e9"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no size"):
        parse_size(text)


def test_of_the_environment_an_app_has_the_locale_and_what_is_granted() -> None:
    environ = {"LANG": "C", "LC_ALL": "C", "AWS_SECRET": "x", "HOME": "/home/me", "MINE": "y"}

    assert variables_of(environ, ["MINE"]) == {"LANG": "C", "LC_ALL": "C", "MINE": "y"}


@pytest.mark.parametrize(
    ("usage", "why"),
    [
        (Usage(5, 100, MAX_ALL_OPEN, 100, MAX_FILES), ""),
        (Usage(processes=6), "processes"),
        (Usage(memory=101), "--max-memory"),
        (Usage(descriptors=MAX_ALL_OPEN + 1), "open"),
        (Usage(disk=101), "--max-disk"),
        (Usage(files=MAX_FILES + 1), "files"),
    ],
)
def test_what_is_more_than_allowed_has_a_reason(usage: Usage, why: str) -> None:
    said = exceeded(usage, Confinement((), (), memory=100, disk=100, processes=5))

    assert (why in said) if why else (said == "")


@pytest.mark.parametrize(
    ("raised", "hint"),
    [
        ("<class 'FileNotFoundError'>:<'[Errno 2] ...'>", "--allow-read"),
        ("<class 'MemoryError'>:<''>", "--max-memory"),
        ("<class 'socket.gaierror'>:<'[Errno -3] ...'>", "no network"),
        ("<class 'ValueError'>:<'odd'>", ""),
    ],
)
def test_an_app_that_was_refused_something_says_what_grants_it(raised: str, hint: str) -> None:
    said = hint_for(raised)

    assert (hint in said) if hint else (said == "")
