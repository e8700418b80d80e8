"""`peer.apps.app_log`: an app that prints without end fills no disk."""

from __future__ import annotations

from pathlib import Path

from peer.apps.app_log import keep_short


def test_the_newest_lines_of_a_log_over_the_limit_are_kept(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    log.write_text("".join(f"line {number}\n" for number in range(1000)))

    assert keep_short(log, limit=1000, kept=100)

    first, *others = log.read_text().splitlines()
    assert "was taken out" in first
    assert others[-1] == "line 999"
    assert others == [f"line {number}" for number in range(1000 - len(others), 1000)]
    assert log.stat().st_size < 200


def test_whoever_appends_goes_on_at_the_new_end(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    with log.open("ab", buffering=0) as app:
        app.write(b"a line\n" * 1000)
        assert keep_short(log, limit=1000, kept=100)
        app.write(b"the last\n")
    assert b"\0" not in log.read_bytes()
    assert log.read_bytes().endswith(b"a line\nthe last\n")


def test_a_log_within_the_limit_is_left_alone(tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    assert not keep_short(log)
    log.write_text("a line\n")
    assert not keep_short(log, limit=7)
    assert log.read_text() == "a line\n"
