"""Clients whose owners named no app: they wait for approval, and run nothing before."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from federation import APPS, Federation, PeerProcess

from peer.base.errors import ExitCode
from strategy.apps.bundling import bundle_folder

MARKING = APPS / "marking"
"""An app whose import leaves a mark."""
BUNDLE = str(bundle_folder(MARKING)[0])


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Federation]:
    """A server and one client; whatever still runs at the end is killed."""
    made = Federation(tmp_path, f"local:{tmp_path / 'engine'}")
    made.add("one")
    yield made
    made.end()


def command(federation: Federation, *arguments: str) -> PeerProcess:
    """A ``peer app`` command in the client's home."""
    process = federation.run("one", "app", *arguments, "--home", federation.home("one").path)
    assert process.code() == ExitCode.DONE, process.said
    return process


def test_a_client_waits_for_approval_and_runs_nothing_before(alone: Federation, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    server = alone.server(MARKING, clients=1, MARK=str(tmp_path / "servers"))
    client = alone.start("one", "--role", "client", "--once", MARK=str(mark))

    waits = client.wait_for("app-unapproved")
    refused = server.wait_for("run-refused", name="one")
    listed = command(alone, "list", "--json").json["apps"]
    shown = command(alone, "show", BUNDLE, "--file", "marking/client_app.py", "--json").json

    assert (waits["app"], waits["name"]) == (BUNDLE, "marking 1.0.0")
    assert f"peer app approve {BUNDLE}" in refused["why"]
    assert [(app["app"], app["approved"], app["run"]) for app in listed] == [(BUNDLE, False, waits["run"])]
    assert (MARKING / "marking" / "client_app.py").read_text() in [file.get("text") for file in shown["files"]]
    assert not (alone.home("one").path / "apps" / BUNDLE).exists()
    assert not mark.exists()

    command(alone, "approve", BUNDLE)

    assert [client.code(), server.code()] == [ExitCode.DONE, ExitCode.DONE], client.said + server.said
    assert client.events("run-followed")
    assert mark.exists()
    assert alone.audit()["verdict"] == "verified"


@pytest.mark.all
def test_a_client_of_an_edited_copy_and_its_server_are_told_what_differs(alone: Federation, tmp_path: Path) -> None:
    copy = shutil.copytree(MARKING, tmp_path / "copy")
    (copy / "marking" / "client_app.py").write_text("app = 1\n")
    (copy / "site.py").write_text("")
    server = alone.server(MARKING, clients=1, MARK=str(tmp_path / "servers"))
    client = alone.client("one", copy, MARK=str(tmp_path / "mark"))

    here, there = client.wait_for("run-refused", count=2), server.wait_for("run-refused", count=2)

    assert here["why"].endswith("other bytes in marking/client_app.py; here alone: site.py")
    assert there["why"].endswith("other bytes in marking/client_app.py; 1 here alone")


@pytest.mark.all
def test_what_was_approved_before_needs_no_waiting(alone: Federation, tmp_path: Path) -> None:
    server = alone.server(MARKING, clients=1, MARK=str(tmp_path / "servers"))
    client = alone.start("one", "--role", "client", "--once", "--approve-app", BUNDLE, MARK=str(tmp_path / "mark"))

    assert [client.code(), server.code()] == [ExitCode.DONE, ExitCode.DONE], client.said + server.said
    assert not client.events("app-unapproved")
