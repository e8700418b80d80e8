"""`peer metrics`: the numbers of a run, read back with the readers of the tools that they are for."""

from __future__ import annotations

import csv
import io
import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from chains import ALICE
from command_line import Outcome, Peer
from flwr.app import MetricRecord, RecordDict
from inspected_runs import WrittenRun, finished_run

from peer.base.errors import ExitCode
from peer.engine.local.engine import LocalEngine
from peer.home.home import Home
from peer.home.journal import Journal, RunHead
from protocol.records.bodies import Role

MetricsOf = Callable[..., Outcome]


@pytest.fixture
def store(tmp_path: Path) -> Callable[[WrittenRun], str]:
    """Puts a run into an engine; its address."""

    def put(written: WrittenRun) -> str:
        engine = LocalEngine(tmp_path / "engine")
        engine.put(written.blocks)
        engine.close()
        return engine.address

    return put


@pytest.fixture
def metrics_of(peers: Callable[[str], Peer], store: Callable[[WrittenRun], str]) -> MetricsOf:
    peer = peers("peer")

    def run(written: WrittenRun, *options: str | Path) -> Outcome:
        return peer("metrics", str(written.head), "--ipfs", store(written), *options)

    return run


def rows(outcome: Outcome) -> list[dict[str, str]]:
    assert outcome.code == ExitCode.DONE, outcome.err
    return list(csv.DictReader(io.StringIO(outcome.out)))


def test_csv_has_the_mean_of_each_round_and_each_clients_own(metrics_of: MetricsOf) -> None:
    found = rows(metrics_of(finished_run(), "--csv"))
    assert [(row["round"], row["participant"], row["value"]) for row in found if row["metric"] == "loss"] == [
        ("1", "", "0.625"),  # alice has 30 examples, bob 10
        ("1", "alice", "0.5"),
        ("1", "bob", "1.0"),
        ("2", "", "0.5"),
        ("2", "alice", "0.5"),
    ]


def test_a_metric_that_tries_to_be_a_formula_is_text_in_a_spreadsheet(metrics_of: MetricsOf) -> None:
    hostile = finished_run_with('=HYPERLINK("http://evil")')
    assert {row["metric"][:2] for row in rows(metrics_of(hostile, "--csv"))} == {"'="}


def finished_run_with(metric: str) -> WrittenRun:
    written = WrittenRun()
    scribe = written.scribe
    answer = written.store(RecordDict({"metrics": MetricRecord({metric: 0.5})}))
    scribe.add(scribe.dispatch(scribe.group(ALICE, content=written.model(1))))
    scribe.add(scribe.collect(scribe.taken(ALICE, content=answer)))
    scribe.add(scribe.close())
    return written


def test_json_is_one_object_with_every_exchange(metrics_of: MetricsOf) -> None:
    written = finished_run()
    told = metrics_of(written, "--json").json
    assert (told["run"], told["closed"]) == (str(written.run), True)
    assert [exchange["metrics"] for exchange in told["exchanges"]] == [{"loss": 0.625}, {"loss": 0.5}]


@pytest.mark.parametrize("options", [[], ["--csv", "--json"]])
def test_one_place_for_the_numbers_has_to_be_named(options: list[str], metrics_of: MetricsOf) -> None:
    outcome = metrics_of(finished_run(), *options)
    assert outcome.code == ExitCode.WRONG_USE
    assert "exchange" not in outcome.out


def test_what_no_home_knows_cannot_be_followed(metrics_of: MetricsOf) -> None:
    written = WrittenRun()
    written.exchange(1)
    outcome = metrics_of(written, "--csv", "--follow")
    assert (outcome.code, "leave out --follow" in outcome.err) == (ExitCode.WRONG_USE, True)


def test_a_run_is_followed_until_it_is_closed(
    peers: Callable[[str], Peer], store: Callable[[WrittenRun], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("peer.metrics.followed.EVERY", 0.01)
    peer, written = peers("peer"), WrittenRun()
    written.exchange(1)
    engine = store(written)
    with Journal(Home(peer.home).create().journal) as journal:
        journal.keep_head(head_of(written))
        before = written.run
        written.exchange(2)
        written.scribe.add(written.scribe.close())
        store(written)
        goes_on = threading.Timer(0.2, lambda: journal.keep_head(head_of(written)))
        goes_on.start()
        outcome = peer("metrics", str(before), "--ipfs", engine, "--json", "--follow")
        goes_on.join()
    lines = [json.loads(line) for line in outcome.out.splitlines()]
    assert [line["exchange"]["round"] for line in lines] == [1, 2]


def head_of(written: WrittenRun) -> RunHead:
    chain = written.scribe.chain
    return RunHead(
        chain.run, chain.federation, written.head, chain.height, 1, chain.closed, Role.SERVER, "", time.time()
    )


def test_tensorboard_reads_what_was_written(metrics_of: MetricsOf, tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX", reason="the extra tensorboard is not installed")
    reader: Any = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="TensorBoard is not installed"
    )
    assert metrics_of(finished_run(), "--tensorboard", tmp_path / "events").code == ExitCode.DONE
    read = {}
    for folder in (tmp_path / "events").iterdir():
        events = reader.EventAccumulator(str(folder)).Reload()
        read[folder.name.partition("-")[0]] = [(each.step, each.value) for each in events.Scalars("train/loss")]
    assert read == {"mean": [(1, 0.625), (2, 0.5)], "alice": [(1, 0.5), (2, 0.5)], "bob": [(1, 1.0)]}
    outcome = metrics_of(finished_run(), "--tensorboard", tmp_path / "events")
    assert (outcome.code, "holds something already" in outcome.err) == (ExitCode.WRONG_USE, True)


def test_mlflow_reads_what_was_logged_and_has_it_once(metrics_of: MetricsOf, tmp_path: Path) -> None:
    tracking: Any = pytest.importorskip("mlflow.tracking", reason="the extra mlflow is not installed")
    uri, written = f"sqlite:///{tmp_path}/mlflow.db", finished_run()
    for _ in range(2):
        outcome = metrics_of(written, "--mlflow", uri)
        assert outcome.code == ExitCode.DONE, outcome.err
    client = tracking.MlflowClient(tracking_uri=uri)
    (experiment,) = [each for each in client.search_experiments() if each.name.startswith("pollen")]
    (logged,) = client.search_runs([experiment.experiment_id])
    history = client.get_metric_history(logged.info.run_id, "train/loss")
    assert [(each.step, each.value) for each in history] == [(1, 0.625), (2, 0.5)]
    assert logged.data.tags["pollen.run"] == str(written.run)


@pytest.mark.parametrize(("option", "value"), [("--tensorboard", "events"), ("--mlflow", "sqlite:///x.db")])
def test_an_extra_that_is_not_installed_is_named(
    option: str, value: str, metrics_of: MetricsOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("tensorboardX", "mlflow"):
        monkeypatch.setitem(sys.modules, module, None)
    outcome = metrics_of(finished_run(), option, value)
    assert (outcome.code, "pip install 'pollen-fl[" in outcome.err) == (ExitCode.WRONG_USE, True)
