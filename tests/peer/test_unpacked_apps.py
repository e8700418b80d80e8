"""Apps unpacked in a home."""

from __future__ import annotations

import contextlib
from pathlib import Path

from peer.engine import open_engine
from peer.home import Home
from peer.unpacked_apps import UnpackedApps
from strategy.bundle import bundle_folder


def test_what_an_app_wrote_beside_its_sources_is_not_there_when_it_is_started_again(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "server.py").write_text("honest = True")
    with contextlib.closing(open_engine(f"local:{tmp_path / 'engine'}")) as engine:
        bundle, blocks = bundle_folder(tmp_path / "app")
        engine.put_content(bundle, blocks)
        apps = UnpackedApps(Home(tmp_path / "home").create(), engine)
        apps.unpack(bundle)
        running = apps.to_run(bundle)
        (running / "best.json").write_text("0.9")
        (running / "server.py").write_text("honest = False")

        again = apps.to_run(bundle)

    assert [path.name for path in again.iterdir()] == ["server.py"]
    assert (again / "server.py").read_text() == "honest = True"
