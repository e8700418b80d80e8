"""``peer audit --attest`` and ``peer attest verify``: what is vouched for, by whom, and what others' tools say."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import google.protobuf.json_format
import pytest
from chains import SECOND, SERVER, begun
from command_line import Outcome, Peer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from in_toto_attestation.v1.statement import Statement
from in_toto_attestation.v1.statement_pb2 import Statement as Message
from inspected_runs import WrittenRun, finished_run
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey

from crypto.envelope import open_envelope, sign_envelope
from peer.attest.audit_signing import audit_statement
from peer.audit.audit import Audit
from peer.base.errors import ExitCode
from peer.history.run_sources import CarSource
from peer.history.scratch import Scratch
from peer.home.keystore import KeyStore
from peer.home.passphrase import Passphrases
from peer.replay.replay import RecordedEnvironment, Replay
from protocol.attestations.audit_predicate import AuditPredicate
from protocol.attestations.statement import PAYLOAD_TYPE
from protocol.blocks.car import write_car
from protocol.blocks.cid import Block
from protocol.records.bodies import Close
from protocol.records.signed_records import parse_record
from protocol.replay.differences import Cause

ROOT = Path(__file__).parents[3]
Peers = Callable[[str], Peer]


@pytest.fixture(scope="module")
def run() -> WrittenRun:
    return finished_run()


@pytest.fixture
def car(tmp_path: Path, run: WrittenRun) -> Path:
    return car_of(run, tmp_path / "run.car")


def car_of(run: WrittenRun, path: Path, blocks: list[Block] | None = None) -> Path:
    path.write_bytes(b"".join(write_car([run.head], run.blocks if blocks is None else blocks)))
    return path


@pytest.fixture
def auditor(peers: Peers) -> Peer:
    """A home with an identity, in no federation."""
    return peers("auditor").named("carol")


@pytest.fixture
def stranger(peers: Peers) -> Peer:
    """A third home, which knows nobody."""
    return peers("stranger")


@pytest.fixture
def attested(auditor: Peer, car: Path) -> Path:
    """What the auditor signed of the run."""
    return attest(auditor, car, car.with_name("attestation.json"))


def attest(peer: Peer, car: Path, file: Path, code: ExitCode = ExitCode.DONE) -> Path:
    assert peer("audit", car, "--attest", file).code == code
    return file


def did(peer: Peer) -> str:
    return KeyStore(peer.home).public().public.signing.did


@contextlib.contextmanager
def audited(folder: Path, *, encrypted: bool = False) -> Iterator[Audit]:
    """An audit of a run that has begun."""
    scribe = begun(encrypted=encrypted)
    head, blocks = scribe.chain.head, [Block(cid, data) for cid, data in scribe.source.items()]
    assert head is not None
    (folder / "run.car").write_bytes(b"".join(write_car([head], blocks)))
    with contextlib.closing(CarSource(folder / "run.car")) as car, Scratch() as scratch:
        audit = Audit(head, car, scratch, with_contents=False)
        audit.run()
        yield audit


def said(file: Path) -> Any:
    """The statement in an envelope."""
    return json.loads(base64.b64decode(json.loads(file.read_text())["payload"]))


# -- what is signed ------------------------------------------------------------------------------------------------


def test_it_is_about_the_head_and_the_final_model_by_the_digests_of_their_blocks(
    attested: Path, run: WrittenRun
) -> None:
    subjects = {each["name"]: (each["uri"], each["digest"]) for each in said(attested)["subject"]}
    model = said(attested)["predicate"]["run"]["finalModel"]
    assert subjects["head"] == (f"ipfs://{run.head}", {"sha256": run.head.digest.hex()})
    assert subjects["final model"][0] == f"ipfs://{model}"


def test_it_says_what_was_compared_and_what_was_not(attested: Path, run: WrittenRun) -> None:
    found = said(attested)["predicate"]
    assert found["verdict"] == "verified"
    assert found["rootOfTrust"] == {"basis": "run", "federation": str(run.scribe.first.cid)}
    assert found["compared"] == {"records": 6, "exchanges": 2, "contents": True, "replay": None}
    told = ["the app was not run again", "no member's ack was at hand", "a client's training is run by nobody again"]
    assert all(words in line for words, line in zip(told, found["notCompared"], strict=True))
    assert found["app"] == {"id": str(run.app), "name": "app", "version": "1.0"}
    assert found["environment"]["recorded"]["flwr"] == "1.41.0"


def test_it_names_each_leader_of_a_run_by_its_key(auditor: Peer, attested: Path, tmp_path: Path) -> None:
    assert "leaders" not in said(attested)["predicate"]["run"], "one server led all of it"
    run = WrittenRun()
    run.exchange(1)
    run.scribe.lead(leader=SECOND)
    file = attest(auditor, car_of(run, tmp_path / "led.car"), tmp_path / "a.json")
    first, second = said(file)["predicate"]["run"]["leaders"]
    assert first == {"term": 1, "leader": SERVER.verify_key.did, "since": 0, "cause": None, "votes": 0, "voters": 0}
    assert (second["leader"], second["cause"], second["votes"], second["voters"]) == (
        SECOND.verify_key.did,
        "silence",
        3,
        5,
    )


def test_a_failed_audit_is_attested_too(auditor: Peer, stranger: Peer, tmp_path: Path) -> None:
    run = finished_run()
    spoiled = [block for block in run.blocks if block.cid != run.sent[1]]
    file = attest(auditor, car_of(run, tmp_path / "less.car", spoiled), tmp_path / "a.json", ExitCode.UNFINISHED)
    found = said(file)["predicate"]
    assert [each["rule"] for each in found["findings"]] == ["missing-block"]
    assert found["compared"] == {"records": 6, "exchanges": 2, "contents": False, "replay": None}
    checked = stranger("attest", "verify", file, "--by", did(auditor))
    assert (checked.code, checked.out.splitlines()[-1][-10:]) == (ExitCode.UNFINISHED, "incomplete")


def test_nothing_of_an_encrypted_run_is_told_that_is_encrypted(auditor: Peer, tmp_path: Path) -> None:
    scribe = begun(encrypted=True)
    path = tmp_path / "secret.car"
    blocks = [Block(cid, data) for cid, data in scribe.source.items()]
    assert scribe.chain.head is not None
    path.write_bytes(b"".join(write_car([scribe.chain.head], blocks)))
    auditor("audit", path, "--attest", tmp_path / "a.json")
    found = said(tmp_path / "a.json")["predicate"]
    assert (found["run"]["encrypted"], found["app"], found["environment"]["recorded"]) == (True, None, None)
    assert all(each["message"] is None for each in found["findings"])
    assert any("the auditor had no key" in line for line in found["notCompared"])


def test_records_that_were_found_and_not_verified_are_not_counted(auditor: Peer, tmp_path: Path) -> None:
    run = finished_run()
    end = parse_record(Block(run.head, run.scribe.source[run.head])).body
    assert isinstance(end, Close)
    spoiled = [block for block in run.blocks if block.cid != end.prev]
    file = attest(auditor, car_of(run, tmp_path / "less.car", spoiled), tmp_path / "a.json", ExitCode.UNFINISHED)
    found = said(file)["predicate"]["compared"]
    assert (found["records"], found["exchanges"], found["contents"]) == (0, 0, False)


@pytest.mark.parametrize("encrypted", [False, True])
def test_what_differs_here_is_named_unless_the_run_is_encrypted(tmp_path: Path, encrypted: bool) -> None:
    """The name of a package says what the app needs."""
    with audited(tmp_path, encrypted=encrypted) as audit:
        audit.report.replay = Replay(
            environments=[RecordedEnvironment(0, {"xgboost": ("2.1", "3.0")}, Cause.ANYTHING, "")]
        )
        predicate = audit_statement(audit, at=0.0).predicate
    assert isinstance(predicate, AuditPredicate)
    assert predicate.environment.differing == (() if encrypted else ("xgboost",))


def test_a_replay_that_did_not_end_is_not_told_as_a_whole_one(tmp_path: Path) -> None:
    with audited(tmp_path) as audit:
        audit.report.replay = Replay(exchanges=1, unfinished="the app raised")
        predicate = audit_statement(audit, at=0.0).predicate
    assert isinstance(predicate, AuditPredicate)
    assert any("the replay did not end" in line for line in predicate.not_compared)


def test_what_was_not_kept_is_in_the_line_that_says_what_was_compared(
    attested: Path, auditor: Peer, stranger: Peer
) -> None:
    """The sentences are the signer's, who may leave them out; these numbers are its claim."""

    def not_kept(value: Any) -> None:
        replay = {"outcome": "equal", "exchanges": 1, "messages": 2, "undecided": 0, "settling": None, "not_kept": 1}
        value["predicate"]["compared"] |= {"contents": False, "not_kept": 3, "replay": replay}
        value["predicate"]["notCompared"] = []

    printed = stranger("attest", "verify", resigned(auditor, attested, not_kept), "--by", did(auditor)).out
    assert "and what they link, but for 3 contents that are not kept by policy" in printed
    assert "1 exchanges, 2 messages equal; 1 could not be compared, as replies before them are not kept" in printed


def test_the_file_needs_a_place(auditor: Peer, car: Path) -> None:
    outcome = auditor("audit", car, "--attest", car.with_name("nowhere") / "a.json")
    assert (outcome.code, "there is no folder" in outcome.err) == (ExitCode.WRONG_USE, True)


@pytest.mark.parametrize("named", ["run.car", "m.npz"])
def test_what_is_attested_is_not_replaced_by_it(auditor: Peer, car: Path, named: str) -> None:
    model, before = car.with_name("m.npz"), car.read_bytes()
    assert auditor("model", car, "-o", model).code == ExitCode.DONE
    outcome = auditor("audit", car, "--attest", car.with_name(named), "--attest-model", model)
    assert (outcome.code, "would replace" in outcome.err) == (ExitCode.WRONG_USE, True)
    assert (car.read_bytes(), model.read_bytes()[:2]) == (before, b"PK")


def test_without_an_identity_nothing_is_audited(stranger: Peer, car: Path) -> None:
    outcome = stranger("audit", car, "--attest", car.with_name("a.json"))
    assert (outcome.code, outcome.out) == (ExitCode.WRONG_USE, "")
    assert "peer keys init" in outcome.err


# -- with the tools of others --------------------------------------------------------------------------------------


def test_in_totos_own_library_takes_the_statement(attested: Path) -> None:
    message = google.protobuf.json_format.Parse(json.dumps(said(attested)), Message())
    Statement.copy_from_pb(message).validate()
    assert message.subject[0].name == "head"


def test_securesystemslib_verifies_the_envelope_by_the_raw_key(attested: Path, auditor: Peer) -> None:
    raw = KeyStore(auditor.home).public().public.signing.raw
    key = SSlibKey.from_crypto(Ed25519PublicKey.from_public_bytes(raw), keyid=did(auditor))
    envelope = Envelope.from_dict(json.loads(attested.read_text()))
    assert envelope.verify([key], 1) == {key.keyid: key}
    envelope.payload += b" "
    with pytest.raises(Exception, match="do not match threshold"):
        envelope.verify([key], 1)


def test_the_text_in_the_documents_checks_it_with_both(
    attested: Path, auditor: Peer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (ROOT / "docs" / "attestations.md").read_text().partition("## With other tools")[2]
    code = "\n".join(line[4:] for line in text.splitlines() if not line or line.startswith("    "))
    monkeypatch.chdir(attested.parent)
    attested.rename("audit.json")
    exec(code.replace("did:key:z6Mk...", did(auditor)), {})
    assert capsys.readouterr().out == "verified\n"


# -- verified in a third home --------------------------------------------------------------------------------------


def test_it_is_verified_by_all_that_know_the_signers_key(attested: Path, auditor: Peer, stranger: Peer) -> None:
    for by in (did(auditor), auditor.key):
        checked = stranger("attest", "verify", attested, "--by", by)
        assert checked.code == ExitCode.DONE
        assert checked.out.splitlines()[-1].endswith("the signer's verdict on the run is: verified")
    assert not stranger.home.exists()


def test_by_nobody_known_it_is_in_doubt(attested: Path, stranger: Peer) -> None:
    checked = stranger("attest", "verify", attested)
    assert (checked.code, "anybody may have signed" in checked.out) == (ExitCode.UNFINISHED, True)


def test_by_somebody_else_than_the_named_it_fails(attested: Path, peers: Peers, stranger: Peer) -> None:
    checked = stranger("attest", "verify", attested, "--by", did(peers("other").named("mallory")))
    assert (checked.code, "which is not a key of" in checked.err) == (ExitCode.VERIFICATION_FAILED, True)


@pytest.mark.parametrize("named", ["file", "head", "run"])
def test_it_is_of_the_run_that_is_named(
    attested: Path, auditor: Peer, stranger: Peer, run: WrittenRun, car: Path, named: str
) -> None:
    text = {"file": car, "head": run.head, "run": run.run}[named]
    assert stranger("attest", "verify", attested, "--by", did(auditor), "--run", str(text)).code == ExitCode.DONE


def test_it_fails_for_another_run_or_another_file(attested: Path, stranger: Peer, run: WrittenRun) -> None:
    for option in (("--run", str(run.app)), ("--about", attested)):
        assert stranger("attest", "verify", attested, *option).code == ExitCode.VERIFICATION_FAILED


def test_a_block_may_be_the_file_that_it_is_about(
    attested: Path, auditor: Peer, stranger: Peer, run: WrittenRun, tmp_path: Path
) -> None:
    (tmp_path / "head").write_bytes(run.scribe.source[run.head])
    options = ("--about", tmp_path / "head", "--by", did(auditor))
    assert stranger("attest", "verify", attested, *options).code == ExitCode.DONE


def test_json_has_the_whole_statement(attested: Path, auditor: Peer, stranger: Peer) -> None:
    found = stranger("attest", "verify", attested, "--json").json
    assert (found["signed_by"], found["statement"]) == (did(auditor), said(attested))


# -- whose key it is -----------------------------------------------------------------------------------------------


@pytest.fixture
def by_member(admin: Peer, auditor: Peer, car: Path) -> Path:
    """What an auditor of the admin's federation signed."""
    assert admin("federation", "add", auditor.key_for(admin), "--name", "carol", "--role", "auditor").code == 0
    return attest(auditor, car, car.with_name("b.json"))


def verified(peer: Peer, file: Path, *options: str) -> Outcome:
    return peer("attest", "verify", file, *options, "--json")


def standing(outcome: Outcome) -> tuple[int, str, list[str], str]:
    (known,) = outcome.json["known"]
    return outcome.code, known["name"], known["roles"], known["standing"]


def test_a_members_name_is_known_in_its_federation(admin: Peer, by_member: Path) -> None:
    for options in ((), ("--by", "carol")):
        assert standing(verified(admin, by_member, *options)) == (0, "carol", ["auditor"], "member")


def test_an_exported_federation_is_enough_to_know_it(
    admin: Peer, by_member: Path, auditor: Peer, stranger: Peer, tmp_path: Path
) -> None:
    assert admin("federation", "export", tmp_path / "file", "--address", "local:/engine").code == 0
    checked = verified(stranger, by_member, "--federation", str(tmp_path / "file"))
    assert standing(checked) == (0, did(auditor), ["auditor"], "member")  # names are for members


def test_names_that_are_encrypted_name_nobody(admin: Peer, by_member: Path, stranger: Peer, tmp_path: Path) -> None:
    assert admin("federation", "export", tmp_path / "file", "--address", "local:/engine").code == 0
    outcome = verified(stranger, by_member, "--federation", str(tmp_path / "file"), "--by", "carol")
    assert (outcome.code, "names are encrypted for its members" in outcome.err) == (ExitCode.WRONG_USE, True)


def test_a_key_that_was_rotated_since_is_still_the_members(admin: Peer, by_member: Path, auditor: Peer) -> None:
    auditor("keys", "rotate")
    assert admin("federation", "add", auditor.key_for(admin)).code == 0
    assert standing(verified(admin, by_member, "--by", "carol")) == (0, "carol", ["auditor"], "rotated")
    assert verified(admin, by_member, "--by", auditor.key).code == ExitCode.DONE


def test_it_says_if_the_member_was_removed_since(admin: Peer, by_member: Path) -> None:
    assert admin("federation", "remove", "carol").code == 0
    assert standing(verified(admin, by_member)) == (0, "carol", ["auditor"], "removed")


def test_nobody_can_tell_about_a_key_that_was_revoked_since(admin: Peer, by_member: Path, auditor: Peer) -> None:
    assert admin("keys", "revoke", "carol").code == 0
    outcome = verified(admin, by_member, "--by", did(auditor))
    assert standing(outcome) == (ExitCode.UNFINISHED, "carol", ["auditor"], "revoked")


def test_nobody_of_that_name_is_wrong_use(admin: Peer, by_member: Path) -> None:
    outcome = verified(admin, by_member, "--by", "dave")
    assert (outcome.code, "nobody is called 'dave'" in outcome.err) == (ExitCode.WRONG_USE, True)


@pytest.mark.parametrize("by", ["did:key:z6Mk", "did:web:example.org", "pollen-key-1.x", ""])
def test_what_names_nobody_is_wrong_use(attested: Path, stranger: Peer, by: str) -> None:
    assert stranger("attest", "verify", attested, "--by", by).code == ExitCode.WRONG_USE


# -- hostile files -------------------------------------------------------------------------------------------------


def resigned(peer: Peer, file: Path, change: Callable[[Any], object]) -> Path:
    """The same file with another statement, signed by the same peer."""
    identity = KeyStore(peer.home).load(None, Passphrases())
    value = json.loads(open_envelope(file.read_bytes(), PAYLOAD_TYPE).payload)
    change(value)
    file.write_bytes(sign_envelope(identity.signing, PAYLOAD_TYPE, json.dumps(value).encode()))
    return file


@pytest.mark.parametrize(
    ("change", "code", "why"),
    [
        (lambda value: value.update(predicateType="https://pollen-fl/audit/v9"), ExitCode.WRONG_USE, "audit/v9"),
        (lambda value: value["subject"].pop(0), ExitCode.VERIFICATION_FAILED, "speaks of the head"),
        (lambda value: value["predicate"].pop("verdict"), ExitCode.VERIFICATION_FAILED, "verdict"),
    ],
)
def test_what_is_signed_and_no_statement_of_ours_is_refused_by_name(
    attested: Path, auditor: Peer, stranger: Peer, change: Callable[[Any], object], code: ExitCode, why: str
) -> None:
    outcome = stranger("attest", "verify", resigned(auditor, attested, change), "--by", did(auditor))
    assert (outcome.code, why in outcome.err) == (code, True)


def test_one_changed_byte_fails(attested: Path, stranger: Peer) -> None:
    value = json.loads(attested.read_text())
    payload = base64.b64decode(value["payload"]).replace(b'"verified"', b'"inverted"')
    attested.write_text(json.dumps(value | {"payload": base64.b64encode(payload).decode()}))
    outcome = stranger("attest", "verify", attested)
    assert (outcome.code, "was not signed by did:key" in outcome.err) == (ExitCode.VERIFICATION_FAILED, True)


def test_a_file_that_is_none_is_wrong_use(car: Path, stranger: Peer) -> None:
    outcome = stranger("attest", "verify", car)
    assert (outcome.code, "is no attestation" in outcome.err) == (ExitCode.WRONG_USE, True)


def test_what_a_signer_writes_cannot_draw_lines(attested: Path, auditor: Peer, stranger: Peer) -> None:
    drawn = "fine\n\x1b[2Jthe signature is right, and the signer's verdict on the run is: verified"

    def draw(value: Any) -> None:
        value["predicate"].update(auditedAt=drawn, notCompared=[drawn])
        value["subject"].append({"name": drawn, "digest": {"sha256": "00" * 32}})

    outcome = stranger("attest", "verify", resigned(auditor, attested, draw), "--by", did(auditor))
    assert outcome.out.count("\nthe signature is right") == 1
    assert "\x1b" not in outcome.out
