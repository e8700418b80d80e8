"""Runs in a federation that encrypts: who can read them, and what an outsider finds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from federation import APPS, Federation
from safetensors.numpy import load_file

from strategy.apps.bundling import bundle_folder

APP = APPS / "numpy_fedavg"
SECRETS = ("hospital-one", "trial", "num-server-rounds", "FedMedian", "server-round", "num-examples", "float64")
"""Names of a member, the federation and settings; a setting's value; a round, a metric, an array's type."""
OF_THE_APP = (
    "numpy_fedavg/server_app.py",
    "size = 4",
    "def main(grid: Grid",
    *(block.cid for block in bundle_folder(APP)[1]),
)
"""A file's name, a default setting, code, and the CIDs that the plain app and its files would have."""


pytestmark = pytest.mark.xdist_group("encrypted")  # one run for all of them


def ran(root: Path, *, encrypted: bool) -> Iterator[Federation]:
    """A federation whose members' names are not found by chance, after its run; what still runs later is killed."""
    made = Federation(root, f"local:{root / 'engine'}", encrypted)
    made.add("hospital-one", "hospital-two")
    config = ("--run-config", 'num-server-rounds=2 strategy="FedMedian"')
    try:
        server = made.server(APP, "--save-path", root / "model.safetensors", *config)
        clients = [made.client(name, APP) for name in made.names]
        assert [peer.code() for peer in (server, *clients)] == [0, 0, 0], server.said
        yield made
    finally:
        made.end()


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    yield from ran(tmp_path_factory.mktemp("hospitals"), encrypted=True)


def test_a_client_reads_the_models_and_no_update_of_another(
    hospitals: Federation, capsys: pytest.CaptureFixture[str]
) -> None:
    head = str(hospitals.head("server").head)

    def model(whose: str, *which: str, code: int = 0) -> None:
        hospitals.done(whose, "model", head, *which, "-o", hospitals.root / f"{whose}.safetensors", code=code)

    def bytes_of(whose: str) -> dict[str, bytes]:
        return {name: array.tobytes() for name, array in load_file(hospitals.root / f"{whose}.safetensors").items()}

    for which in (("--round", "1"), ()):  # sent to it, and the final one, which the close record links
        for whose in ("server", "hospital-one"):
            model(whose, *which)
        assert bytes_of("server") == bytes_of("hospital-one")
    for other in hospitals.names:
        model("hospital-one", "--of", other, code=3)
        assert f"what {other} answered in round 2 is encrypted for servers and auditors" in capsys.readouterr().err


def test_a_file_that_a_client_cannot_compare_is_not_denied_by_it(
    hospitals: Federation, capsys: pytest.CaptureFixture[str]
) -> None:
    file = hospitals.root / "update.npz"
    hospitals.done("server", "model", str(hospitals.head("server").head), "--of", "hospital-two", "-o", file)
    hospitals.done("server", "trace", file)
    hospitals.done("hospital-one", "trace", file, code=3)
    assert "is encrypted for servers and auditors" in capsys.readouterr().err


def captured(federation: Federation) -> bytes:
    """All that an outsider with the engine's directory has: blocks, announcements and what they are called."""
    files = [path for path in (federation.root / "engine").rglob("*") if path.is_file()]
    return b"".join(part for path in files for part in (path.name.encode(), path.read_bytes()))


def secrets(federation: Federation) -> list[bytes]:
    """What only the members of ``federation`` may find after its run."""
    model = load_file(federation.root / "model.safetensors")
    return [
        *(str(text).encode() for text in (*SECRETS, *OF_THE_APP)),
        *(array.tobytes()[:32] for array in model.values()),
    ]


def test_an_outsider_finds_no_model_metric_setting_name_or_app(hospitals: Federation) -> None:
    everything = captured(hospitals)
    assert [secret for secret in secrets(hospitals) if secret in everything] == []


@pytest.mark.all
def test_what_is_searched_for_is_there_if_nothing_is_encrypted(tmp_path: Path) -> None:
    (plain,) = ran(tmp_path, encrypted=False)
    everything = captured(plain)
    assert [secret for secret in secrets(plain) if secret not in everything] == []


def test_an_auditor_that_came_after_the_run_replays_it_from_a_car_alone(hospitals: Federation) -> None:
    auditor = ("--home", str(hospitals.home("auditor").path))
    public = hospitals.identity("auditor").public_for(bytes(hospitals.stored.id))
    assert hospitals.replay(hospitals.exported(), APP, *auditor)[0] == 3
    hospitals.done("server", "federation", "add", public.key_text(), "--name", "auditor", "--role", "auditor")
    hospitals.done("server", "federation", "grant", "auditor")
    car = hospitals.exported()
    engine = hospitals.root / "engine"
    engine.rename(hospitals.root / "away")

    code, report = hospitals.replay(car, APP, *auditor)

    engine.with_name("away").rename(engine)

    assert (code, report["verdict"], report["rounds"]) == (0, "verified", 2), report["findings"]
    assert report["replay"]["mismatches"] == 0
    assert sorted(report["participants"]) == sorted(hospitals.names)
