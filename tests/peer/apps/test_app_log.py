"""`peer.apps.app_log`: what apps print is kept by run, with the time, and fills no disk."""

from __future__ import annotations

from pathlib import Path

from peer.apps.app_log import LONGEST_LINE, AppLog, FollowedLog, before

AT = "2026-01-01T00:00:00.000+00:00"


def app_log(file: Path, limit: int = 1 << 20) -> AppLog:
    return AppLog(file, limit, clock=lambda: 1_767_225_600.0)


def test_each_line_is_kept_with_the_time(tmp_path: Path) -> None:
    log = app_log(tmp_path / "app.log")
    for part in (b"one\ntw", b"o\n10%\r20%\r\n", b"no end"):
        log.write(part)
    log.close()
    lines = (tmp_path / "app.log").read_text().splitlines()
    assert lines == [f"{AT} {text}" for text in ("one", "two", "10%", "20%", "no end")]
    assert log.last == "no end"


def test_colours_are_left_out_and_other_controls_stay(tmp_path: Path) -> None:
    log = app_log(tmp_path / "app.log")
    for part in (b"\x1b[92mINFO \x1b[", b"0m:  round 1\x1b[2J\n"):
        log.write(part)
    assert (tmp_path / "app.log").read_bytes() == f"{AT} INFO :  round 1\x1b[2J\n".encode()
    assert log.last == "INFO :  round 1\x1b[2J"


def test_a_run_has_a_log_of_its_own_with_what_its_app_printed_before_it_began(tmp_path: Path) -> None:
    log = app_log(tmp_path / "app.log")
    log.write(b"imports\n")
    log.begin(tmp_path / "run.log")
    log.write(b"round 1\n")
    log.close()
    whole = f"{AT} imports\n{AT} round 1\n"
    assert ((tmp_path / "run.log").read_text(), (tmp_path / "app.log").read_text()) == (whole, whole)


def test_a_line_without_an_end_is_broken(tmp_path: Path) -> None:
    log = app_log(tmp_path / "app.log")
    log.write(b"x" * (3 * LONGEST_LINE))
    log.close()
    assert [len(line) - len(AT) - 1 for line in (tmp_path / "app.log").read_text().splitlines()] == [LONGEST_LINE] * 3


def test_an_app_that_prints_without_end_fills_no_disk(tmp_path: Path) -> None:
    file = tmp_path / "app.log"
    log = app_log(file, limit=1000)
    for number in range(1000):
        log.write(f"line {number}\n".encode())
    kept = [line.rpartition(" ")[2] for part in (before(file), file) for line in part.read_text().splitlines()]
    assert kept == [str(number) for number in range(1000 - len(kept), 1000)]
    assert sum(part.stat().st_size for part in tmp_path.iterdir()) < 2200


def test_a_log_is_followed_through_a_change_of_files_without_losing_a_line(tmp_path: Path) -> None:
    file = tmp_path / "app.log"
    log, followed, seen = app_log(file, limit=1000), FollowedLog(file), list[str]()
    for number in range(100):
        log.write(f"{number}\n".encode())
        if number % 7 == 0:
            seen += followed.lines()
    seen += followed.lines()
    assert [line.rpartition(" ")[2] for line in seen] == [str(number) for number in range(100)]


def test_a_disk_that_takes_nothing_stops_nobody(tmp_path: Path) -> None:
    log = app_log(tmp_path / "missing" / "app.log")
    log.write(b"a line\n")
    assert log.last == "a line"
