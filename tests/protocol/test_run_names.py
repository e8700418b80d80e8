"""`protocol.run_names`: which run of a home somebody means."""

from __future__ import annotations

import pytest

from protocol.blocks.cid import CID, cbor_block
from protocol.run_names import LONGEST, RunHere, name_after, named_by, why_no_name


def cid(number: int) -> CID:
    return cbor_block(number).cid


OLD = RunHere(cid(1), cid(11), "digits-1", began=1.0)
NEW = RunHere(cid(2), cid(12), "digits-2", began=2.0)
IMPORTED = RunHere(cid(3), cid(13), "", began=0.5)
RUNS = [OLD, NEW, IMPORTED]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("latest", [NEW]),
        ("digits-1", [OLD]),
        (str(IMPORTED.run), [IMPORTED]),
        (str(NEW.run)[:20], [NEW]),
        (str(OLD.head)[:20], [OLD]),
        ("bafyrei", RUNS),
        ("digits", []),
        ("", []),
    ],
)
def test_a_run_is_meant_by_latest_its_name_or_the_first_characters_of_a_cid(text: str, meant: list[RunHere]) -> None:
    assert named_by(text, RUNS) == meant


def test_nothing_is_the_latest_of_no_runs() -> None:
    assert named_by("latest", []) == []


@pytest.mark.parametrize(
    "name", ["latest", "", "Two Words", "-x", "bafyrei-mine", "../etc", "x" * (LONGEST + 1), "a\x1b"]
)
def test_what_means_something_else_is_no_name(name: str) -> None:
    assert why_no_name(name)


@pytest.mark.parametrize("app", ["digits", "\x1b[31m", "../../x", "latest", "bafyrei", "", "É" * 10_000, "a" * 10_000])
def test_every_app_whatever_it_is_called_gives_runs_good_names_of_their_own(app: str) -> None:
    first = name_after(app, [])
    second = name_after(app, [first])
    assert (why_no_name(first), why_no_name(second)) == ("", "")
    assert first != second


def test_a_run_is_called_after_its_app() -> None:
    assert name_after("My App!", ["my-app-1"]) == "my-app-2"
