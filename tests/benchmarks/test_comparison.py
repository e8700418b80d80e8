"""What a comparison of systems keeps in its file, and what follows from the runs in it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from flower import TRIES, System, Turn, compare, turns
from measured.case import Case
from measured.comparison import Comparison, Failure, SystemRun
from measured.picture import draw
from measured.tables import flower_table

from peer.base.errors import PeerError

MACHINE: dict[str, object] = {"cpu": "a processor", "cores": 2, "memory_gb": 25.0, "platform": "Linux"}
CASE = Case(100.0, 2)


def taken(system: str = "flower", *seconds: float, case: Case = CASE, model: str = "m") -> SystemRun:
    """A run with rounds of so many seconds."""
    return SystemRun(
        system=system,
        megabytes=case.megabytes,
        clients=case.clients,
        seconds=seconds or (10.0,),
        processor_seconds=2 * sum(seconds or (10.0,)),
        processor_seconds_of={"server": {"peer": 1.0}},
        peak_mb={"server": {"peer": 300.0}, "client": {"peer": 200.0}},
        own_peak_mb={"server": {"peer": 100.0, "app": 250.0}, "client": {"peer": 50.0}},
        bytes_sent={"server": 400_000_000, "client-1": 100_000_000},
        model_sha256=model,
        last_loss=0.5,
        load_average=(1.0, 1.0, 1.0),
    )


def comparison(*runs: SystemRun, machine: dict[str, object] = MACHINE, filled: bool = False) -> Comparison:
    return Comparison(machine, filled, list(runs), [])


def test_a_comparison_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    written = comparison(taken("flower", 9.0, 11.0), taken("local", 1.0))
    written.write(tmp_path / "results.json")
    assert Comparison.read(tmp_path / "results.json") == written


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text('{"benchmark": "hops"}')
    with pytest.raises(PeerError, match="has no comparison"):
        Comparison.read(tmp_path / "results.json")


def test_runs_of_two_calls_make_one_result() -> None:
    joined = comparison(taken("local", 1.0, 2.0)).joined(comparison(taken("local", 6.0)))
    [result] = joined.results
    assert (result["rounds"], result["median_seconds"], result["processor_seconds"]) == (3, 2.0, 6.0)


def test_cases_stand_in_the_order_of_their_size() -> None:
    found = comparison(taken(case=Case(100, 8)), taken(case=Case(1, 2)), taken(case=Case(100, 2))).results
    assert [(result["megabytes"], result["clients"]) for result in found] == [(1, 2), (100, 2), (100, 8)]


def test_systems_stand_in_one_order_in_all_cases() -> None:
    small, large = Case(1, 2), Case(100, 2)
    runs = [taken("flower", case=large), taken("local", case=large), taken("local", case=small)]
    found = comparison(*runs, taken("flower", case=small)).results
    assert [result["system"] for result in found] == ["flower", "local"] * 2


def test_runs_of_two_machines_are_not_taken_together() -> None:
    with pytest.raises(PeerError, match="two machines: cores is 2 and 4"):
        comparison(taken()).joined(comparison(taken(), machine={**MACHINE, "cores": 4}))


def test_runs_with_memory_filled_and_not_are_not_taken_together() -> None:
    with pytest.raises(PeerError, match="filled for some"):
        comparison(taken()).joined(comparison(taken(), filled=True))


def test_two_models_in_one_case_are_told() -> None:
    with pytest.raises(PeerError, match="100x2 are not the same after 1 rounds: flower: a; local: b"):
        comparison(taken("flower", model="a"), taken("local", model="b")).raise_difference()


def test_other_cases_have_other_models() -> None:
    comparison(taken(model="a"), taken(case=Case(1, 2), model="b")).raise_difference()


def test_other_numbers_of_rounds_have_other_models() -> None:
    comparison(taken("flower", 1.0, model="a"), taken("flower", 1.0, 1.0, model="b")).raise_difference()


def test_every_second_turn_goes_the_other_way_round() -> None:
    planned = [turn.system for turn in turns([CASE], [System.FLOWER, System.LOCAL], 2)]
    assert planned == [System.FLOWER, System.LOCAL, System.LOCAL, System.FLOWER]


def test_a_run_that_fails_keeps_no_other_from_being_made() -> None:
    def run_turn(turn: Turn) -> SystemRun:
        if turn.system is System.FLOWER:
            raise PeerError("the database is locked")
        return taken(turn.system)

    done = compare(turns([CASE], [System.FLOWER, System.LOCAL], 1), comparison(), run_turn, lambda _: None)
    assert [run.system for run in done.runs] == ["local"]
    assert done.failures == [Failure("flower", 100.0, 2, "the database is locked")] * TRIES


def test_a_run_that_has_failed_is_made_again() -> None:
    ends = iter([PeerError("the database is locked"), taken("flower")])

    def run_turn(_: Turn) -> SystemRun:
        if isinstance(end := next(ends), PeerError):
            raise end
        return end

    done = compare(turns([CASE], [System.FLOWER], 1), comparison(), run_turn, lambda _: None)
    assert (len(done.runs), len(done.failures)) == (1, 1)


def test_all_runs_so_far_are_kept_after_each() -> None:
    kept: list[int] = []
    planned = turns([CASE], [System.FLOWER, System.LOCAL], 1)
    compare(planned, comparison(taken()), lambda turn: taken(turn.system), lambda each: kept.append(len(each.runs)))
    assert kept == [2, 3]


def test_a_table_tells_how_many_times_as_fast_as_flower_a_round_is() -> None:
    table = flower_table(comparison(taken("flower", 10.0), taken("local", 2.0)).results)
    assert [line.split("|")[-2].strip() for line in table.splitlines()[2:]] == ["1.00", "5.00"]


def test_a_table_tells_the_largest_process_and_who_sends_most() -> None:
    row = flower_table(comparison(taken()).results).splitlines()[2]
    assert [cell.strip() for cell in row.split("|")[6:10]] == ["250", "50", "400", "100"]


def test_the_columns_of_a_table_are_aligned() -> None:
    lines = flower_table(comparison(taken("flower", 10.0), taken("kubo-encrypted", 2.0)).results).splitlines()
    assert len({len(line) for line in lines}) == 1


def test_a_picture_is_drawn_of_cases_in_which_a_system_is_missing(tmp_path: Path) -> None:
    drawn = comparison(taken("flower"), taken("local"), dataclasses.replace(taken("local"), clients=8))
    draw(drawn.results, tmp_path / "compared.svg")
    assert (tmp_path / "compared.svg").read_text().startswith("<?xml")
