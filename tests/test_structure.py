"""Folders stay small enough to be read at a glance, and the tests of a package lie in its folders."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("crypto", "protocol", "strategy", "peer")
MOST = 15
"""Modules in one folder: CONTRIBUTING.md says so."""
UNCOUNTED = ("__init__.py", "conftest.py")
OF_NO_FOLDER = {"peer/formats"}
"""Tests of what earlier versions wrote: homes, which several folders of `peer` read."""


def test_no_folder_has_more_modules_than_can_be_seen_at_a_glance() -> None:
    files = [file for top in (*PACKAGES, "tests", "scripts", "examples") for file in (ROOT / top).rglob("*.py")]
    modules = Counter(str(file.parent.relative_to(ROOT)) for file in files if file.name not in UNCOUNTED)
    assert {folder: count for folder, count in modules.items() if count > MOST} == {}


def test_each_folder_of_a_packages_tests_has_the_name_of_one_of_its_folders() -> None:
    tests = [file for package in PACKAGES for file in (ROOT / "tests" / package).rglob("test_*.py")]
    folders = {str(file.parent.relative_to(ROOT / "tests")) for file in tests}
    assert {folder for folder in folders if not (ROOT / folder).is_dir()} == OF_NO_FOLDER


def test_no_two_modules_of_tests_have_one_name() -> None:
    """Pytest finds them by their names alone, in one process."""
    names = Counter(file.name for file in (ROOT / "tests").rglob("test_*.py"))
    assert {name for name, count in names.items() if count > 1} == set()
