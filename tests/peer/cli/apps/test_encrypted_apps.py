"""The app of an encrypted run: who reads it, by which names, and what others are told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from chains import ALICE, SERVER, STRANGER, Scribe, decryption_key, reader_of
from command_line import Peer

from crypto.identity import Identity
from crypto.keys import SigningKey
from peer.base.errors import ExitCode
from peer.engine import open_engine
from peer.home.keystore import KeyStore
from protocol.blocks.bundle import write_bundle
from protocol.blocks.car import write_car
from protocol.blocks.cid import CID, Block, raw_block
from protocol.blocks.content import ContentForm
from protocol.roles.leader.run_plan import first_content_key

Peers = Callable[[str], Peer]
FILES = [("pyproject.toml", b"[project]"), ("a.py", b"print('ours')")]
APP = write_bundle(FILES)[0]
ANOTHER = write_bundle([("a.py", b"print('theirs')")])[0]


@dataclass(frozen=True)
class EncryptedRun:
    """A closed run, its app's bundle encrypted, in an engine and in a file."""

    run: CID
    head: CID
    bundle: CID
    ipfs: str
    car: Path


def written(folder: Path, named: CID) -> EncryptedRun:
    """Such a run, whose record says that its app is the one ``named``."""
    scribe = Scribe(encrypted=True, reader=reader_of(SERVER))
    made = scribe.keys()
    assert made.epoch.model is not None
    key = first_content_key(made.epoch.model, scribe.first.cid, made.body.by)
    bundle, blocks = write_bundle(FILES, ContentForm(key))
    seed = raw_block(b"s" * 32)
    scribe.source.add(*blocks, seed)
    scribe.add(scribe.run(made, named, bundle=bundle, seed=seed.cid))
    scribe.add(scribe.close(model=None))
    assert scribe.chain.head is not None
    everything = [Block(cid, data) for cid, data in scribe.source.items()]
    engine = open_engine(ipfs := f"local:{folder / 'engine'}")
    engine.put(everything)
    engine.close()
    car = folder / "run.car"
    car.write_bytes(b"".join(write_car([scribe.chain.head], everything)))
    return EncryptedRun(scribe.chain.run, scribe.chain.head, bundle, ipfs, car)


@pytest.fixture
def run(tmp_path: Path) -> EncryptedRun:
    return written(tmp_path, APP)


def home_of(peers: Peers, key: SigningKey) -> Peer:
    """The home of the identity with this first key."""
    peer = peers("owner")
    KeyStore(peer.home).add(Identity("owner", key, decryption_key(key)), None)
    return peer


def test_a_client_reads_the_app_by_its_run_its_head_or_a_file(run: EncryptedRun, peers: Peers) -> None:
    alice = home_of(peers, ALICE)
    for named in (str(run.run), str(run.head), str(run.car)):
        shown = alice("app", "show", named, "--ipfs", run.ipfs, "--json").json
        assert (shown["app"], [file["text"] for file in shown["files"]]) == (str(APP), ["print('ours')", "[project]"])


@pytest.mark.parametrize(
    ("key", "code", "told"),
    [
        (None, ExitCode.WRONG_USE, "has no identity that can read it"),
        (STRANGER, ExitCode.UNFINISHED, "peer federation grant NAME"),
    ],
)
def test_an_identity_that_is_no_member_is_told_what_fixes_it(
    key: SigningKey | None, code: ExitCode, told: str, run: EncryptedRun, peers: Peers
) -> None:
    refused = (peers("owner") if key is None else home_of(peers, key))("app", "show", run.car)
    assert (refused.code, told in refused.err) == (code, True), refused.err


def test_the_cid_of_an_encrypted_bundle_leads_to_the_name_that_its_app_has(run: EncryptedRun, peers: Peers) -> None:
    refused = home_of(peers, ALICE)("app", "show", str(run.bundle), "--ipfs", run.ipfs)
    assert (refused.code, "peer app show RUN" in refused.err) == (ExitCode.WRONG_USE, True), refused.err


def test_an_app_that_only_a_run_could_lead_to_is_told_how(run: EncryptedRun, peers: Peers) -> None:
    refused = home_of(peers, ALICE)("app", "show", str(APP), "--ipfs", run.ipfs)
    assert (refused.code, "peer app show RUN" in refused.err) == (ExitCode.UNFINISHED, True), refused.err


def test_no_owner_is_shown_one_app_under_the_name_of_another(tmp_path: Path, peers: Peers) -> None:
    refused = home_of(peers, ALICE)("app", "show", written(tmp_path, ANOTHER).car)
    assert (refused.code, f"holds the app {APP}" in refused.err) == (ExitCode.WRONG_USE, True), refused.err


def test_an_audit_by_a_member_finds_a_bundle_of_another_app_than_is_named(tmp_path: Path, peers: Peers) -> None:
    lying = written(tmp_path, ANOTHER)
    audited = home_of(peers, ALICE)("audit", lying.car, "--json")
    findings = [(finding["rule"], finding["cid"]) for finding in audited.json["findings"]]
    assert (audited.code, findings) == (ExitCode.VERIFICATION_FAILED, [("app-bundle", str(lying.bundle))])


def test_verifying_takes_no_key(run: EncryptedRun, peers: Peers) -> None:
    assert peers("owner")("audit", run.car, "--json").json["verdict"] == "verified"


def test_a_replay_says_which_app_it_takes_and_how_to_read_it(run: EncryptedRun, peers: Peers) -> None:
    refused = home_of(peers, SERVER)("audit", run.car, "--replay")
    assert refused.code == ExitCode.WRONG_USE
    assert f"peer app show {run.car}" in refused.err
    assert f"peer app approve {APP}" in refused.err
