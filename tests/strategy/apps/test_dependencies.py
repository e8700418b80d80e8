"""What an app says it needs, and what is here."""

from __future__ import annotations

from pathlib import Path

import pytest

from strategy.apps.dependencies import MOST, lacking


def app_that_needs(folder: Path, dependencies: str) -> Path:
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "x"\nversion = "1"\ndependencies = {dependencies}\n[tool.flwr.app]\npublisher = "x"\n'
        '[tool.flwr.app.components]\nserverapp = "a:app"\nclientapp = "a:app"\n'
    )
    return folder


@pytest.mark.parametrize(
    ("dependencies", "lacks"),
    [
        ('["numpy", "flwr[simulation]>=1.0"]', ()),
        ('["no-such-package>=2"]', ("no-such-package>=2 (not installed)",)),
        ('["numpy<0.1"]', ("numpy<0.1 (",)),
        ("['no-such; python_version<\"3\"']", ()),
        ('["&&", "numpy"]', ()),
        ('["no-such @ https://example.com/x.whl"]', ("no-such @ https",)),
    ],
)
def test_what_is_not_here_is_named(dependencies: str, lacks: tuple[str, ...], tmp_path: Path) -> None:
    found = lacking(app_that_needs(tmp_path, dependencies))
    assert len(found) == len(lacks)
    for said, expected in zip(found, lacks, strict=True):
        assert said.startswith(expected)


def test_no_author_fills_the_screen(tmp_path: Path) -> None:
    many = str([f"no-such-{n}" + "x" * 1000 for n in range(1000)])
    found = lacking(app_that_needs(tmp_path, many))
    assert len(found) == MOST
    assert max(map(len, found)) < 130
