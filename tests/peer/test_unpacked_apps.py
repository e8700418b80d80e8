"""Apps unpacked in a home."""

from __future__ import annotations

from pathlib import Path

from peer.home import Home
from peer.unpacked_apps import UnpackedApps


def test_what_an_app_wrote_beside_its_sources_is_not_there_when_it_is_started_again(tmp_path: Path) -> None:
    apps = UnpackedApps(Home(tmp_path / "home").create())
    app = apps.take([("server.py", b"honest = True")])
    running = apps.to_run(app)
    (running / "best.json").write_text("0.9")
    (running / "server.py").write_text("honest = False")

    again = apps.to_run(app)

    assert [path.name for path in again.iterdir()] == ["server.py"]
    assert (again / "server.py").read_text() == "honest = True"
