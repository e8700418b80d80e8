"""The benchmarks of scripts/bench: that they run and say what they measured, not how fast this machine is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BENCHMARKS = ROOT / "scripts" / "benchmarks"


def bench(name: str, *options: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a benchmark with this Python, which has what scripts/bench would install."""
    return subprocess.run(
        [sys.executable, str(BENCHMARKS / f"{name}.py"), *options, "--folder", str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.all
@pytest.mark.slow
def test_exchange_tells_the_time_of_each_size(tmp_path: Path) -> None:
    done = bench("exchange", "--engines", "local", "--sizes", "0.1", "1.5", "--exchanges", "2", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    results = told["results"]
    assert told["machine"]["page_cache_ms_a_mib"].keys() == {"new", "reused"}
    assert [(result["megabytes"], result["exchanges"]) for result in results] == [(0.1, 2), (1.5, 2)]
    assert all(0 < result["median_seconds"] <= result["p95_seconds"] for result in results)
    assert all(0 < result["processor_seconds_per_exchange"]["apps"] < 60 for result in results)


@pytest.mark.all
@pytest.mark.kubo
@pytest.mark.slow
@pytest.mark.usefixtures("ipfs_program")
def test_exchange_tells_what_each_kubo_node_sent(tmp_path: Path) -> None:
    done = bench("exchange", "--engines", "kubo", "--sizes", "1", "--exchanges", "1", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)["results"]
    per_exchange = result["bytes_sent_per_exchange"]
    assert per_exchange["server"] > 2_000_000  # the model, to each client
    assert per_exchange["client-1"] > 1_000_000
    assert per_exchange["client-2"] > 1_000_000


@pytest.mark.all
@pytest.mark.slow
def test_replay_tells_what_an_audit_costs(tmp_path: Path) -> None:
    done = bench("replay", "--rounds", "2", "--clients", "2", "--megabytes", "0.1", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)["results"]
    assert (result["rounds"], result["chain_verification"]["records"], result["chain_verification"]["replies"]) == (
        2,
        6,
        4,
    )
    assert all(result[kind]["messages_compared"] == 4 for kind in ("replay_of_the_file", "replay_in_the_engine"))
    assert result["run_seconds"] > 0
    assert result["report_of_the_file"]["report_cpu_seconds"] > 0


@pytest.mark.all
@pytest.mark.slow
def test_takeover_tells_where_the_time_goes_after_each_kill(tmp_path: Path) -> None:
    done = bench("takeover", "--engines", "local", "--kills", "2", "--megabytes", "0.1", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)["results"]
    assert [each.keys() for each in result["each"]] == [{"silence", "votes", "record", "reply", "all"}] * 2
    assert 0 < result["median_seconds"] <= result["worst_seconds"]


@pytest.mark.all
@pytest.mark.slow
def test_flower_compares_systems_that_come_to_one_model(tmp_path: Path) -> None:
    options = ["--cases", "0.1x2", "--rounds", "1", "--turns", "1", "--systems", "flower", "local"]
    done = bench("flower", *options, "--picture", str(tmp_path / "compared.svg"), folder=tmp_path / "runs")
    assert done.returncode == 0, done.stderr
    flower, local = json.loads(done.stdout)["results"]
    assert flower["model_sha256"] == local["model_sha256"]
    assert all(result["median_seconds"] > 0 and result["processor_seconds"] > 0 for result in (flower, local))
    assert {"flower-superlink", "flwr-serverapp"} <= flower["peak_mb"]["server"].keys()
    assert {"peer", "peer.apps.app_main"} == local["peak_mb"]["client"].keys()
    assert flower["bytes_sent_per_round"]["server"] > 200_000  # the model, to each client, at least once
    assert (tmp_path / "compared.svg").read_text().startswith("<?xml")


@pytest.mark.all
@pytest.mark.slow
def test_memory_of_a_server_does_not_grow_with_its_clients(tmp_path: Path) -> None:
    done = bench("memory", "--cases", "50x2", "50x5", "--arrays", "40", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    few, many = json.loads(done.stdout)["results"]
    assert many["server_models"] < min(3, few["server_models"] + 0.7)  # 32 MB of it are on their way to the disk
    assert max(few["client_models"], many["client_models"]) < 4  # two are the app's own
    assert few["own_peak_mb"]["server peer"] < 100


@pytest.mark.all
@pytest.mark.slow
def test_hops_tells_what_is_hashed_and_read_at_each(tmp_path: Path) -> None:
    done = bench("hops", "--engines", "local", "--megabytes", "2", "--turns", "1", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)["results"]
    hashed = {
        encrypted: [round(r["bytes_hashed"]) for r in results if r["encrypted"] is encrypted]
        for encrypted in (False, True)
    }
    assert hashed == {False: [0, 1, 0, 0, 1], True: [0, 2, 0, 0, 2]}  # the second for the nonce
    assert [round(result["bytes_read_from_files"]) for result in results] == [0, 0, 0, 0, 1] * 2


@pytest.mark.all
@pytest.mark.slow
def test_flower_adds_to_the_results_of_an_earlier_call_and_table_shows_both(tmp_path: Path) -> None:
    results = tmp_path / "results.json"
    for clients in (2, 3):
        options = ["--cases", f"0.1x{clients}", "--rounds", "1", "--turns", "1", "--systems", "local"]
        done = bench("flower", *options, "--results", str(results), folder=tmp_path / "runs")
        assert done.returncode == 0, done.stderr
    words = [sys.executable, str(BENCHMARKS / "table.py"), str(results)]
    told = subprocess.run(
        words, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True
    )
    assert [line.split("|")[1].strip() for line in told.stdout.splitlines()[2:]] == [
        "0.1 MB, 2 clients",
        "0.1 MB, 3 clients",
    ]


@pytest.mark.all
@pytest.mark.slow
def test_flower_tells_of_a_run_that_takes_too_long(tmp_path: Path) -> None:
    options = ["--cases", "0.1x2", "--rounds", "1", "--turns", "1", "--systems", "local", "--give-up", "0.5"]
    done = bench("flower", *options, folder=tmp_path)
    assert done.returncode == 3, done.stderr
    assert "0.1x2 local, attempt 1 of 3: the run did not end within 0.5 s" in done.stderr


def test_announcements_tells_what_each_kind_costs_sealed_and_not() -> None:
    words = [sys.executable, str(BENCHMARKS / "announcements.py"), "--count", "3"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)["results"]
    assert {(result["kind"], result["sealed"]) for result in results} == {
        ("beat", "for one"),
        *((kind, how) for kind in ("beat", "head", "largest") for how in ("in the clear", "for all")),
    }
    assert all(result["write_ms"] > 0 and result["read_ms"] > 0 for result in results)


@pytest.mark.slow
def test_floods_tells_what_each_costs_an_honest_peer(tmp_path: Path) -> None:
    words = [sys.executable, str(BENCHMARKS / "floods.py"), "--seconds", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)["results"]
    assert {"large heads", "large proofs"} <= {result["flood"] for result in results}
    assert all(result["core_percent"] > 0 and result["dropped"] == 0 for result in results)


@pytest.mark.all
@pytest.mark.slow
def test_resume_tells_what_a_long_chain_costs_the_first_time_and_the_second(tmp_path: Path) -> None:
    done = bench("resume", "--records", "20", "--simulate", "2", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)["results"]
    assert [result["what"] for result in results] == ["resume", "resume", "history", "history", "simulate"]
    assert all(result["cpu_seconds"] > 0 for result in results)


@pytest.mark.all
@pytest.mark.slow
def test_numerics_tells_what_the_baseline_costs_a_strategy() -> None:
    options = ["--megabytes", "0.1", "--turns", "1", "--rounds", "1", "--strategies", "fedavg"]
    words = [sys.executable, BENCHMARKS / "numerics.py", *options]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)["results"]
    assert result["strategy"] == "fedavg"
    assert result["round_ratio"] > 0


def test_a_benchmark_that_there_is_not_is_wrong_use() -> None:
    done = subprocess.run([ROOT / "scripts" / "bench", "nothing"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "exchange" in done.stderr
