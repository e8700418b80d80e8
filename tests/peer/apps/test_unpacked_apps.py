"""Apps unpacked in a home."""

from __future__ import annotations

import shutil
from pathlib import Path

from peer.apps.taken_apps import take_app, tell_what_goes_along
from peer.apps.unpacked_apps import UnpackedApps
from peer.home.home import Home
from peer.run.narrator import line_of
from protocol.records.bodies import Role
from protocol.roles.effects import Report


def test_what_an_app_wrote_beside_its_sources_is_not_there_when_it_is_started_again(tmp_path: Path) -> None:
    apps = UnpackedApps(Home(tmp_path / "home").create())
    app = apps.take([("server.py", b"honest = True")])
    running = apps.to_run(app)
    (running / "best.json").write_text("0.9")
    (running / "server.py").write_text("honest = False")

    again = apps.to_run(app)

    assert [path.name for path in again.iterdir()] == ["server.py"]
    assert (again / "server.py").read_text() == "honest = True"


APP = Path(__file__).parents[2] / "apps" / "polling"


def test_a_start_says_what_of_the_folder_goes_along_and_what_stays(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(APP, tmp_path / "app"))
    (folder / "model.pt").write_bytes(b"weights")
    (folder / "train.csv").write_bytes(b"patients")
    (folder / "patients.json").write_bytes(b"{}")
    reports: list[Report] = []

    app = take_app(Home(tmp_path / "home").create(), folder)
    tell_what_goes_along(app, Role.SERVER, reports.append)
    (folder / "polling" / "client_app.py").write_text("app = 1")  # while the run begins

    goes, stays = map(line_of, reports)
    assert goes.startswith("the app polling has 5 files with ")
    assert ", patients.json among them: all members of a run get them" in goes
    assert stays.startswith("2 files of the app's folder stay here")
    assert ": model.pt, train.csv; " in stays
    assert dict(app.bundled.files)["polling/client_app.py"] == (APP / "polling" / "client_app.py").read_bytes()
