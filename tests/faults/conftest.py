"""A federation to copy for each fault, and what its undisturbed run comes to."""

import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent.parent / "end_to_end"))

from disturbed import Disturbed, Told, founded


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give all tests that need the undisturbed run to one worker, which does it once. With ``--all`` they are too many
    for one."""
    for item in items:
        if not config.getoption("--all") and "undisturbed" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("undisturbed"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say how to try a failing cell again."""
    report = yield
    if report.failed:
        report.sections.append(("to repeat it", f"scripts/test --all '{item.nodeid.partition('@')[0]}'"))
    return report


@pytest.fixture(scope="session")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Homes of a server and clients that have joined. Each run is in a copy, so that all have the same secrets."""
    return founded(tmp_path_factory.mktemp("origin") / "homes")


@pytest.fixture
def disturbed(origin: Path, tmp_path: Path) -> Iterator[Disturbed]:
    """A copy for this test; whatever still runs at the end is killed."""
    run = Disturbed.copy_of(origin, tmp_path / "run")
    yield run
    run.end()


@pytest.fixture(scope="session")
def undisturbed(origin: Path, tmp_path_factory: pytest.TempPathFactory) -> Told:
    """What a run comes to if nothing happens to it."""
    run = Disturbed.copy_of(origin, tmp_path_factory.mktemp("undisturbed") / "run")
    run.start_all()
    run.await_all()
    told = run.told()
    run.end()
    return told
