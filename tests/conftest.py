"""Fixtures that several packages' tests share: engines, and the Kubo nodes under them."""

import gc
import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import processes_said
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import HealthCheck, settings

from crypto import dsse
from crypto.remembered import Remembered
from peer.engine.interface import EngineError
from peer.engine.kubo.node import KuboNode
from peer.engine.kubo.program import find_ipfs
from peer.engine.local.engine import LocalEngine

settings.register_profile("ours", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("ours")  # a test does not fail because the machine is busy


def pytest_addoption(parser: pytest.Parser) -> None:
    """Pytest knows an option from here, whichever folder it is called with."""
    parser.addoption("--all", action="store_true", help="run every test, not only a sample of each matrix")
    parser.addoption("--seeds", type=int, help="simulated runs, each of a seed of its own (200; with --all 1200)")


HANGS_AFTER = 3600
"""Seconds after which a test hangs that ``--all`` alone runs: some have a hundred processes, and take minutes where
nothing else runs."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what only ``--all`` runs. Begin with slow tests, so that none is left alone at the end."""
    for item in items:
        if item.get_closest_marker("all") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(HANGS_AFTER))
    if not config.getoption("--all"):
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("all")])
        items[:] = [item for item in items if not item.get_closest_marker("all")]
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    if getattr(config.option, "loadgroup", False):
        _name_groups(items)


def _name_groups(items: list[pytest.Item]) -> None:
    """Put each test's ``xdist_group`` at the end of its id, where the process that deals the tests out looks for it.

    pytest-xdist 3.8 writes it into ``_nodeid``, which pytest 9.2 does not read: it would deal each group out to all
    workers, and each would make what the group has in common.
    """
    for item in items:
        group = item.get_closest_marker("xdist_group")
        if group is not None and item.parent is not None:
            item._id = item.parent.id.child(f"{item.name}@{group.args[0]}")


def pytest_collection_finish() -> None:
    """Let Python's garbage collector pass over what was imported and collected. Some of Flower's strategies call it for
    each reply, and each time it would go through all of that."""
    gc.collect()
    gc.freeze()


def pytest_runtest_logstart() -> None:
    """Nothing that ran before is about the test that begins."""
    processes_said.forget()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Say in a failure what the processes of the test said. Escape lone surrogates in what it printed or logged: apps
    under test do, and pytest-xdist dies of them."""
    report = yield
    if report.failed:
        report.sections += processes_said.sections()
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report


@pytest.fixture
def verifications(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many signatures were verified since the test began. What was found right before it is forgotten."""
    count = 0

    class Counted:
        def __init__(self, raw: bytes) -> None:
            self._key = Ed25519PublicKey.from_public_bytes(raw)

        from_public_bytes = classmethod(lambda cls, raw: cls(raw))

        def verify(self, signature: bytes, message: bytes) -> None:
            nonlocal count
            count += 1
            self._key.verify(signature, message)

    monkeypatch.setattr(dsse, "Ed25519PublicKey", Counted)
    monkeypatch.setattr(dsse, "_RIGHT", Remembered(dsse.MAX_RIGHT))
    return lambda: count


@pytest.fixture
def local_engine(tmp_path: Path) -> Iterator[LocalEngine]:
    """A local engine in a folder of its own."""
    engine = LocalEngine(tmp_path / "engine")
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def ipfs_program() -> Path:
    """The ``ipfs`` program, found as the product finds it. Without one: a skip, or a failure if CI is set."""
    try:
        return find_ipfs()
    except EngineError as error:
        if os.environ.get("CI"):
            pytest.fail(f"CI is set, so the Kubo tests may not be skipped: {error}")
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def kubo_nodes(ipfs_program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[KuboNode, KuboNode]]:
    """Two private nodes of one network. The test connects them."""
    key = bytes(range(32))
    with (
        KuboNode(tmp_path_factory.mktemp("kubo-one"), key) as one,
        KuboNode(tmp_path_factory.mktemp("kubo-two"), key) as two,
    ):
        yield one, two
