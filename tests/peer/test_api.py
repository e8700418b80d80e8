"""The public Python API: what a script may rely on. Only names of `peer.api` are used to read a run."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from chains import ALICE, SERVER, Scribe, decryption_key, reader_of
from inspected_runs import BUNDLE, WrittenRun, finished_run

from crypto.identity import Identity
from peer import api
from peer.engine.local.engine import LocalEngine
from peer.home.keystore import KeyStore
from protocol.blocks.bundle import write_bundle
from protocol.blocks.car import write_car
from protocol.blocks.cid import CID, Block, raw_block
from protocol.blocks.content import ContentForm
from protocol.roles.leader.run_plan import first_content_key


@pytest.fixture(scope="module")
def written() -> WrittenRun:
    """A run of two rounds. Alice answers in both, Bob in the first."""
    return finished_run()


@pytest.fixture
def car(written: WrittenRun, tmp_path: Path) -> Path:
    return write(tmp_path / "run.car", written.head, written.blocks)


def write(path: Path, head: CID, blocks: Iterable[Block]) -> Path:
    path.write_bytes(b"".join(write_car([head], blocks)))
    return path


def test_a_whole_run_is_verified(car: Path, written: WrittenRun) -> None:
    with api.open_run(car) as run:
        report = run.verify()
    assert (report.verdict, report.findings, report.exit_code) == (api.Verdict.VERIFIED, (), 0)
    assert (report.run, report.head, report.closed) == (str(written.run), str(written.head), True)


def test_a_verdict_is_signed_and_checked(car: Path, written: WrittenRun, tmp_path: Path) -> None:
    identity = Identity.generate("carol")
    KeyStore(tmp_path / "home").add(identity, None)
    with api.open_run(car, home=tmp_path / "home") as run:
        run.model(1).save(tmp_path / "m.npz")
        run.attest(tmp_path / "a.json", model=tmp_path / "m.npz")
    did = identity.public.signing.did
    found = api.verify_attestation(tmp_path / "a.json", by=did, run=car, about=[tmp_path / "m.npz"])
    assert (found.signer, found.names, found.doubt, found.verdict) == (did, (), "", api.Verdict.VERIFIED)
    assert found.statement["predicate"]["run"]["head"] == str(written.head)
    assert "anybody may have signed" in api.verify_attestation(tmp_path / "a.json").doubt
    with pytest.raises(api.PeerError, match="not about"):
        api.verify_attestation(tmp_path / "a.json", by=did, about=[car])


def test_what_was_not_read_is_not_vouched_for(car: Path, tmp_path: Path) -> None:
    KeyStore(tmp_path / "home").add(Identity.generate("carol"), None)
    with api.open_run(car, home=tmp_path / "home", contents=False) as run:
        run.attest(tmp_path / "a.json")
    predicate = api.verify_attestation(tmp_path / "a.json").statement["predicate"]
    assert not predicate["compared"]["contents"]
    assert "the contents that the records link" in predicate["notCompared"]


def test_a_model_file_is_traced(car: Path, tmp_path: Path) -> None:
    with api.open_run(car) as run:
        run.model(1).save(tmp_path / "m.npz")
        traced = run.trace(tmp_path / "m.npz")
        assert run.trace("0" * 64) is None
    assert traced is not None
    assert (traced.round, traced.of, traced.exact) == (1, api.SERVER, True)


def test_a_run_in_an_engine_is_verified(written: WrittenRun, tmp_path: Path) -> None:
    engine = LocalEngine(tmp_path / "engine")
    engine.put(written.blocks)
    engine.close()
    with api.open_run(str(written.head), engine=f"local:{tmp_path / 'engine'}") as run:
        assert run.verify().verdict is api.Verdict.VERIFIED


def test_without_a_root_of_trust_the_runs_own_word_is_taken(car: Path) -> None:
    with api.open_run(car) as run:
        assert run.verify().root is api.Root.RUN


def test_a_run_of_the_trusted_federation_is_verified(car: Path) -> None:
    with api.open_run(car) as run:
        federation = run.verify().federation
    with api.open_run(car, federation=federation) as run:
        report = run.verify()
    assert (report.verdict, report.root) == (api.Verdict.VERIFIED, api.Root.GIVEN)


def test_a_run_of_another_federation_is_not_verified(car: Path, written: WrittenRun) -> None:
    with api.open_run(car, federation=str(written.app)) as run:
        report = run.verify()
    assert report.verdict is api.Verdict.FAILED
    assert [finding.rule for finding in report.findings] == ["other-federation"]


def test_what_is_missing_is_found(written: WrittenRun, tmp_path: Path) -> None:
    blocks = [block for block in written.blocks if block.cid != written.sent[0]]
    with api.open_run(write(tmp_path / "run.car", written.head, blocks)) as run:
        report = run.verify()
    assert report.verdict is api.Verdict.INCOMPLETE
    assert [finding.rule for finding in report.findings] == ["missing-block"]


def test_exchanges_say_who_was_asked_and_what_came_back(car: Path) -> None:
    with api.open_run(car) as run:
        first, second = run.exchanges()
    assert (first.round, first.types, first.participants) == (1, ("train",), ("alice", "bob"))
    assert first.metrics["loss"] == pytest.approx((0.5 * 30 + 1.0 * 10) / 40)
    assert [(answer.name, answer.code is None) for answer in second.answers] == [("alice", True), ("bob", False)]


def test_participants_are_counted(car: Path) -> None:
    with api.open_run(car) as run:
        alice, bob = run.verify().participants
    assert (alice.name, alice.asked, alice.answered, alice.errors) == ("alice", 2, 2, 0)
    assert (bob.name, bob.asked, bob.answered, bob.errors) == ("bob", 2, 1, 1)


def test_the_model_of_a_round_is_numpy_arrays(car: Path, written: WrittenRun) -> None:
    with api.open_run(car) as run:
        model = run.model(round=1)
        weight = model.arrays()["weight"]
    assert (model.round, model.of, model.content) == (1, api.SERVER, str(written.sent[1]))
    np.testing.assert_array_equal(weight, np.full(300_000, 2, np.float32))


def test_a_report_is_written_to_a_file(car: Path, tmp_path: Path) -> None:
    with api.open_run(car) as run:
        size = run.write_report(tmp_path / "report.md")
    assert (tmp_path / "report.md").stat().st_size == size
    assert "**verified**" in (tmp_path / "report.md").read_text()


def test_the_rounds_that_have_a_model_are_listed(car: Path) -> None:
    with api.open_run(car) as run:
        assert run.rounds() == [0, 1, 2]


def test_a_model_is_a_state_dict_of_torchs(car: Path) -> None:
    with api.open_run(car) as run:
        state = run.model(round=0).state_dict()
    assert tuple(state["weight"].shape) == (300_000,)


def test_a_model_is_written_to_a_file(car: Path, tmp_path: Path) -> None:
    with api.open_run(car) as run:
        size = run.model().save(tmp_path / "model.safetensors")
    assert (tmp_path / "model.safetensors").stat().st_size == size


def test_a_round_that_there_is_not_is_said(car: Path) -> None:
    with api.open_run(car) as run, pytest.raises(api.NoSuchModel, match="no round 9"):
        run.model(round=9)


def test_a_model_of_a_run_that_is_not_verified_is_refused(car: Path, written: WrittenRun) -> None:
    with api.open_run(car, federation=str(written.app)) as run, pytest.raises(api.NotVerified):
        run.model()


def test_a_replay_of_a_run_that_is_not_verified_is_refused(car: Path, written: WrittenRun) -> None:
    with api.open_run(car, federation=str(written.app)) as run, pytest.raises(api.NotVerified):
        run.replay()


def test_an_app_that_nobody_here_trusts_is_not_replayed(car: Path) -> None:
    with api.open_run(car) as run, pytest.raises(api.PeerError, match="not the built-in app"):
        run.replay()


def test_a_python_for_the_app_that_there_is_not_is_said(car: Path) -> None:
    with api.open_run(car) as run, pytest.raises(api.PeerError, match="no program no-such-python"):
        run.replay(app_python="no-such-python")


@pytest.mark.parametrize("named", ["no-such-file", "bafyreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"])
def test_what_is_no_run_is_said_before_any_home_is_looked_at(named: str) -> None:
    with pytest.raises(api.NoSuchRun), api.open_run(named):
        pass


def test_a_block_that_is_no_head_is_no_run(written: WrittenRun, tmp_path: Path) -> None:
    with (
        api.open_run(write(tmp_path / "run.car", written.sent[0], written.blocks)) as run,
        pytest.raises(api.NoSuchRun),
    ):
        run.verify()


@pytest.fixture
def encrypted(tmp_path: Path) -> Path:
    """A run whose names, app and models are for members."""
    scribe = Scribe(encrypted=True, reader=reader_of(SERVER))
    made = scribe.keys()
    assert made.epoch.model is not None
    form = ContentForm(first_content_key(made.epoch.model, scribe.first.cid, made.body.by))
    app, _ = write_bundle(BUNDLE)
    bundle, blocks = write_bundle(BUNDLE, form)
    seed = raw_block(b"s" * 32)
    scribe.source.add(*blocks, seed)
    scribe.add(scribe.run(made, app, bundle=bundle, seed=seed.cid))
    scribe.add(scribe.close(model=None))
    assert scribe.chain.head is not None
    return write(tmp_path / "run.car", scribe.chain.head, [Block(cid, data) for cid, data in scribe.source.items()])


def test_an_encrypted_run_is_verified_without_a_key(encrypted: Path) -> None:
    with api.open_run(encrypted) as run:
        report = run.verify()
    assert (report.verdict, report.app) == (api.Verdict.VERIFIED, "")


def test_a_members_home_reads_an_encrypted_run(encrypted: Path, tmp_path: Path) -> None:
    KeyStore(tmp_path / "home").add(Identity("alice", ALICE, decryption_key(ALICE)), None)
    with api.open_run(encrypted, home=tmp_path / "home") as run:
        assert run.verify().app != ""


def test_what_a_member_reads_is_not_in_what_it_signs_for_others(encrypted: Path, tmp_path: Path) -> None:
    KeyStore(tmp_path / "home").add(Identity("alice", ALICE, decryption_key(ALICE)), None)
    with api.open_run(encrypted, home=tmp_path / "home") as run:
        assert run.verify().app != ""
        run.attest(tmp_path / "a.json")
    predicate = api.verify_attestation(tmp_path / "a.json").statement["predicate"]
    assert (predicate["app"], predicate["environment"]["recorded"]) == (None, None)


def test_a_model_that_is_encrypted_for_others_is_refused(encrypted: Path) -> None:
    with api.open_run(encrypted) as run, pytest.raises(api.NotReadable):
        run.model()


def test_results_are_frozen(car: Path) -> None:
    with api.open_run(car) as run:
        report = run.verify()
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.verdict = api.Verdict.FAILED  # type: ignore[misc]


def test_nothing_is_printed_and_no_torch_imported_until_it_is_asked_for(car: Path) -> None:
    code = (
        "import sys; from peer import api\n"
        f"with api.open_run({str(car)!r}) as run:\n"
        "    run.verify(); list(run.exchanges()); run.model().arrays()\n"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_public_name_is_there() -> None:
    assert [name for name in api.__all__ if not hasattr(api, name)] == []
