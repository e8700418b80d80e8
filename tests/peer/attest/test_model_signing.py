"""``peer model --sign``: the OpenSSF's own tool verifies the file, and the identity vouches for the key."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import model_signing.verifying
import pytest
from command_line import Peer
from inspected_runs import finished_run

from peer.base.errors import ExitCode
from protocol.blocks.car import write_car

Peers = Callable[[str], Peer]


@pytest.fixture
def signer(peers: Peers) -> Peer:
    return peers("signer").named("carol")


@pytest.fixture
def model(signer: Peer, tmp_path: Path) -> Path:
    """A signed model file."""
    run = finished_run()
    (tmp_path / "run.car").write_bytes(b"".join(write_car([run.head], run.blocks)))
    path = tmp_path / "m.safetensors"
    assert signer("model", tmp_path / "run.car", "-o", path, "--sign").code == ExitCode.DONE
    return path


def beside(model: Path, suffix: str) -> Path:
    return model.with_name(model.name + suffix)


def verified_by_their_library(model: Path) -> None:
    config = model_signing.verifying.Config().use_elliptic_key_verifier(public_key=beside(model, ".pub"))
    config.verify(model, beside(model, ".sig"))


def test_the_openssfs_tool_verifies_it(model: Path) -> None:
    files = ("--signature", beside(model, ".sig"), "--public_key", beside(model, ".pub"))
    command = [sys.executable, "-m", "model_signing", "verify", "key", model, *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "Verification succeeded\n"), done.stderr


def test_their_library_refuses_a_changed_file(model: Path) -> None:
    verified_by_their_library(model)
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match="Signature mismatch"):
        verified_by_their_library(model)


def test_their_library_refuses_the_key_of_another_identity(model: Path, peers: Peers) -> None:
    other = peers("other").named("mallory")
    second = model.with_name("n.safetensors")
    assert other("model", model.with_name("run.car"), "-o", second, "--sign").code == ExitCode.DONE
    beside(model, ".pub").write_bytes(beside(second, ".pub").read_bytes())
    with pytest.raises(ValueError, match="Key mismatch"):
        verified_by_their_library(model)


def test_the_identity_vouches_for_the_file_and_for_the_key(model: Path, signer: Peer, peers: Peers) -> None:
    stranger, attestation = peers("stranger"), beside(model, ".intoto.json")
    for about in (model, beside(model, ".pub")):
        checked = stranger("attest", "verify", attestation, "--by", signer.key, "--about", about)
        assert (checked.code, "the global model of round 2" in checked.out) == (ExitCode.DONE, True)
    refused = stranger("attest", "verify", attestation, "--by", signer.key, "--about", beside(model, ".sig"))
    assert refused.code == ExitCode.VERIFICATION_FAILED


def test_it_says_of_which_run(model: Path, signer: Peer, peers: Peers) -> None:
    attestation, car = beside(model, ".intoto.json"), model.with_name("run.car")
    checked = peers("stranger")("attest", "verify", attestation, "--by", signer.key, "--run", car, "--json")
    assert checked.code == ExitCode.DONE
    assert checked.json["statement"]["predicateType"] == "https://pollen-fl/model/v1"


def test_all_of_it_is_for_others_to_read(model: Path) -> None:
    assert {beside(model, suffix).stat().st_mode & 0o777 for suffix in (".sig", ".pub", ".intoto.json")} == {0o644}


def test_the_same_model_has_the_same_signature_each_time(model: Path, signer: Peer) -> None:
    before = beside(model, ".sig").read_bytes()
    assert signer("model", model.with_name("run.car"), "-o", model, "--sign").code == ExitCode.DONE
    assert beside(model, ".sig").read_bytes() == before


def test_without_an_identity_no_file_is_written(model: Path, peers: Peers) -> None:
    path = model.with_name("n.npz")
    outcome = peers("nobody")("model", model.with_name("run.car"), "-o", path, "--sign")
    assert (outcome.code, path.exists()) == (ExitCode.WRONG_USE, False)


def test_json_names_the_files(model: Path, signer: Peer) -> None:
    told = signer("model", model.with_name("run.car"), "-o", model, "--sign", "--json").json
    assert [Path(each).suffix for each in told["signed"]] == [".sig", ".pub", ".json"]
    assert json.loads(beside(model, ".sig").read_text())["mediaType"].endswith("bundle.v0.3+json")
