"""The KEY text: what a newcomer sends to an admin."""

from __future__ import annotations

import base64

import cbrrr
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto import dsse
from crypto.errors import BadKeyText, BadName, BadSignature
from crypto.identity import KEY_TYPE, Identity, PublicIdentity, check_first_keys
from crypto.keys import DecryptionKey, SigningKey

ALICE = Identity("alice", SigningKey.from_seed(b"a" * 32), DecryptionKey.from_seed(b"A" * 32))
BOB = Identity("bob", SigningKey.from_seed(b"b" * 32), DecryptionKey.from_seed(b"B" * 32))
KEY = ALICE.public.key_text()


def written(body: cbrrr.DagCborTypes, proof: bytes) -> str:
    return "pollen-key-1." + base64.urlsafe_b64encode(cbrrr.encode_dag_cbor(body) + proof).rstrip(b"=").decode()


def body_of(identity: Identity) -> dict[str, cbrrr.DagCborTypes]:
    public = identity.public
    suite = str(public.encryption.suite)
    return {"encryption": public.encryption.raw, "federation": b"", "signing": public.signing.raw, "suite": suite}


def test_a_key_text_is_read_back() -> None:
    assert PublicIdentity.parse_key_text(KEY) == ALICE.public


def test_a_key_text_is_one_word_that_no_shell_or_terminal_breaks() -> None:
    assert KEY.startswith("pollen-key-1.")
    assert set(KEY) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
    assert len(KEY) < 4096  # a terminal's longest line


def test_a_key_text_is_made_as_the_readme_says() -> None:
    body = body_of(ALICE)
    assert written(body, dsse.sign(ALICE.signing, KEY_TYPE, cbrrr.encode_dag_cbor(body))) == KEY


def test_a_key_text_for_one_federation_is_none_for_another() -> None:
    here, there = b"f" * 36, b"g" * 36
    public = ALICE.public_for(here)
    assert PublicIdentity.parse_key_text(public.key_text()) == public
    assert public.federation == here
    assert public.proof != ALICE.public.proof
    suite, encryption = str(public.encryption.suite), public.encryption.raw
    with pytest.raises(BadSignature):
        check_first_keys(public.signing, suite, encryption, there, public.proof)


def test_the_id_is_the_signing_key() -> None:
    assert ALICE.id == ALICE.public.id == ALICE.signing.verify_key.raw


def test_space_around_a_key_text_does_no_harm() -> None:
    assert PublicIdentity.parse_key_text(f"  {KEY}\r\n") == ALICE.public


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "begins with"),
        (ALICE.public.signing.did, "begins with"),
        (KEY[:900] + "\n" + KEY[900:], "a space or a line break"),
        (KEY[:900], "cut short"),
        (KEY[:-1], "cut short"),
        (KEY[:900] + "é" + KEY[901:], "characters that no KEY has"),
        (KEY[:900] + "=" + KEY[901:], "characters that no KEY has|changed"),
        (KEY + KEY, "cut short or changed|characters that no KEY has"),
        (KEY + "A" * 8192, "at most 8192"),
    ],
)
def test_a_bad_paste_is_named(text: str, why: str) -> None:
    with pytest.raises(BadKeyText, match=why):
        PublicIdentity.parse_key_text(text)


@given(st.integers(13, len(KEY) - 1), st.sampled_from("AQgw_-9"))
def test_one_changed_character_is_noticed(at: int, character: str) -> None:
    changed = KEY[:at] + character + KEY[at + 1 :]
    if changed != KEY:
        with pytest.raises(BadKeyText):
            PublicIdentity.parse_key_text(changed)


def test_nobody_can_put_their_encryption_key_beside_anothers_signing_key() -> None:
    body = body_of(ALICE) | {"encryption": BOB.public.encryption.raw}
    for proof in (ALICE.public.proof, dsse.sign(BOB.signing, KEY_TYPE, cbrrr.encode_dag_cbor(body))):
        with pytest.raises(BadKeyText, match="not signed by its owner"):
            PublicIdentity.parse_key_text(written(body, proof))


@pytest.mark.parametrize(
    "change",
    [{"more": 1}, {"suite": None}, {"signing": "text"}, {"signing": base64.b64encode(ALICE.id).decode()}],
    ids=str,
)
def test_a_signed_body_of_another_shape_is_refused(change: dict[str, cbrrr.DagCborTypes]) -> None:
    body = body_of(ALICE) | change
    with pytest.raises(BadKeyText):
        PublicIdentity.parse_key_text(written(body, dsse.sign(ALICE.signing, KEY_TYPE, cbrrr.encode_dag_cbor(body))))


def test_a_key_text_has_one_spelling() -> None:
    """Comparing texts must compare keys: neither base64's other alphabet nor look-alike types pass."""
    other_alphabet = "pollen-key-1." + KEY.removeprefix("pollen-key-1.").replace("-", "+").replace("_", "/")
    text_for_bytes = written(body_of(ALICE) | {"signing": base64.b64encode(ALICE.id).decode()}, ALICE.public.proof)
    for text in (other_alphabet, text_for_bytes):
        with pytest.raises(BadKeyText, match="changed"):
            PublicIdentity.parse_key_text(text)


def test_a_key_of_a_suite_that_is_not_known_says_so() -> None:
    body = body_of(ALICE) | {"suite": "rot13"}
    with pytest.raises(BadKeyText, match="suite 'rot13' is not known"):
        PublicIdentity.parse_key_text(written(body, dsse.sign(ALICE.signing, KEY_TYPE, cbrrr.encode_dag_cbor(body))))


def test_a_small_order_signing_key_is_refused() -> None:
    body = body_of(ALICE) | {"signing": bytes(32)}
    with pytest.raises(BadKeyText, match="small order"):
        PublicIdentity.parse_key_text(written(body, bytes(64)))


@given(st.text() | st.binary().map(lambda data: "pollen-key-1." + base64.urlsafe_b64encode(data).rstrip(b"=").decode()))
def test_any_other_text_is_a_bad_key_text(text: str) -> None:
    with pytest.raises(BadKeyText):
        PublicIdentity.parse_key_text(text)


CBOR = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["signing", "suite", "encryption", "x"]), inner),
)


@given(CBOR)
def test_any_dag_cbor_in_a_key_text_is_a_bad_key_text(value: cbrrr.DagCborTypes) -> None:
    with pytest.raises(BadKeyText):
        PublicIdentity.parse_key_text(written(value, bytes(64)))


def test_deeply_nested_bytes_in_a_key_text_are_a_bad_key_text() -> None:
    text = "pollen-key-1." + base64.urlsafe_b64encode(b"\x81" * 6000).decode()
    with pytest.raises(BadKeyText):
        PublicIdentity.parse_key_text(text)


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "-rf", "a/b", "a b", "a\n", "ä", "x" * 65, "a\0"])
def test_a_name_that_could_be_another_file_is_refused(name: str) -> None:
    with pytest.raises(BadName):
        Identity.generate(name)


def test_an_identity_shows_its_public_part_only() -> None:
    assert repr(ALICE) == f"Identity('alice', {ALICE.public.signing.did})"
