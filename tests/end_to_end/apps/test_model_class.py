"""A model class that the server names: it is imported only if the machine's owner named it too."""

from __future__ import annotations

from pathlib import Path

import pytest
from federation import Federation

from peer.base.errors import ExitCode

MODEL = "marked_models:Net"
SOURCE = """
import os, pathlib
from torch import nn
if mark := os.environ.get("MARK"):  # which a confined app does not have
    pathlib.Path(mark).touch()
class Net(nn.Sequential):
    def __init__(self, channels, height, width, classes):
        super().__init__(nn.Flatten(), nn.Linear(channels * height * width, classes))
"""


@pytest.mark.slow
@pytest.mark.parametrize("verifies", [False, pytest.param(True, marks=pytest.mark.all)])
def test_a_model_class_is_imported_only_if_the_owner_named_it(
    verifies: bool, federation: Federation, tmp_path: Path
) -> None:
    named, unnamed = str(tmp_path / "named"), tmp_path / "unnamed"
    (federation.root / "marked_models.py").write_text(SOURCE)  # where every peer of the test is started
    client = ("--role", "client", "--once", "--node-config")
    part = "partition-id={} num-partitions=2"

    settings = ("--model", MODEL, "--rounds", "1", "--min-clients", "1", "--run-config", "local-epochs=1")
    server = federation.start("server", "--role", "server", *settings, MARK=named)
    one = federation.start("one", *client, part.format(0), MARK=str(unnamed))
    declined = one.wait_for("run-refused")
    assert f"--model {MODEL}" in server.wait_for("run-refused", name="one")["why"]
    two = federation.start("two", *client, part.format(1), "--model", MODEL, MARK=named)

    assert [server.code(), two.code()] == [ExitCode.DONE] * 2, server.said
    one.kill()
    assert f"--model {MODEL}" in declined["why"]

    audit = ("audit", server.json["head"], "--replay", "--home", str(federation.home("server").path))
    refused = federation.run("auditor", *audit, MARK=str(unnamed))
    assert (refused.code(), unnamed.exists()) == (ExitCode.WRONG_USE, False)
    assert f"--replay --model {MODEL}" in refused.said
    if verifies:
        verified = federation.run("auditor", *audit, "--model", MODEL, "--json", MARK=named)
        assert (verified.code(), verified.json["verdict"]) == (ExitCode.DONE, "verified")
