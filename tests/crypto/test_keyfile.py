"""The key file: what opens it, and how each kind of damage is told apart."""

from __future__ import annotations

import base64
import json
import threading
from typing import Any

import cbrrr
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from hypothesis import given
from hypothesis import strategies as st

from crypto import dsse, keyfile
from crypto.errors import BadPassphrase, KeyFileDamaged, KeyFileError, KeyFileUnsupported, WrongPassphrase
from crypto.identity import Identity
from crypto.keyfile import FILE_TYPE, MAX_COST, Cost, lock, read_public, unlock, write_unlocked
from crypto.keys import DecryptionKey, SigningKey

ALICE = Identity("alice", SigningKey.from_seed(b"a" * 32), DecryptionKey.from_seed(b"A" * 32))
BOB = Identity("bob", SigningKey.from_seed(b"b" * 32), DecryptionKey.from_seed(b"B" * 32))
SALT, NONCE = b"s" * 16, b"n" * 12
CHEAP = Cost(memory_kib=64, iterations=1, lanes=1)
FILE = lock(ALICE, "open sesame", salt=SALT, nonce=NONCE, cost=CHEAP)
UNLOCKED = write_unlocked(ALICE)


def changed(**fields: object) -> bytes:
    """`FILE` with other values in it, and the old signature."""
    return json.dumps(json.loads(FILE) | fields).encode()


def signed(by: Identity = ALICE, **fields: object) -> bytes:
    """The same, signed anew: what only the owner of the key could write."""
    value: dict[str, Any] = json.loads(changed(**fields))
    del value["signature"]
    signature = dsse.sign(by.signing, FILE_TYPE, cbrrr.encode_dag_cbor(value))
    return json.dumps(value | {"signature": base64.b64encode(signature).decode()}).encode()


def test_the_passphrase_opens_it() -> None:
    opened = unlock(FILE, "open sesame")
    assert (opened.name, opened.public) == ("alice", ALICE.public)
    assert opened.signing.secret_bytes() == b"a" * 32
    assert opened.decryption.secret_bytes() == b"A" * 32


@given(st.text(min_size=1, max_size=40))
def test_any_passphrase_that_is_not_empty_will_do(passphrase: str) -> None:
    data = lock(ALICE, passphrase, salt=SALT, nonce=NONCE, cost=CHEAP)
    assert unlock(data, passphrase).public == ALICE.public


def test_a_passphrase_that_is_not_utf8_stays_the_bytes_it_was() -> None:
    typed = b"caf\xe9".decode("utf-8", "surrogateescape")  # as os.environ holds it
    assert unlock(lock(ALICE, typed, salt=SALT, nonce=NONCE, cost=CHEAP), typed).public == ALICE.public


def test_a_passphrase_typed_on_another_system_is_the_same() -> None:
    data = lock(ALICE, "caf\u00e9", salt=SALT, nonce=NONCE, cost=CHEAP)
    assert unlock(data, "cafe\u0301").public == ALICE.public


def test_an_empty_passphrase_locks_nothing() -> None:
    with pytest.raises(BadPassphrase):
        lock(ALICE, "", salt=SALT, nonce=NONCE)


@pytest.mark.parametrize("passphrase", ["open sesam", "", "Open sesame", None])
def test_a_wrong_passphrase_is_named_as_that(passphrase: str | None) -> None:
    with pytest.raises(WrongPassphrase, match="alice"):
        unlock(FILE, passphrase)


def test_the_public_part_needs_no_passphrase() -> None:
    assert read_public(FILE) == keyfile.KeyFile("alice", ALICE.public, locked=True, lacks_decryption=False)


def test_an_unlocked_file_says_so_and_opens_without_a_passphrase() -> None:
    assert json.loads(UNLOCKED)["kdf"] == {"name": "none"}
    assert read_public(UNLOCKED) == keyfile.KeyFile("alice", ALICE.public, locked=False, lacks_decryption=False)
    assert unlock(UNLOCKED).public == ALICE.public


def test_a_locked_file_does_not_hold_the_secrets_in_the_clear() -> None:
    for secret in (b"a" * 32, b"A" * 32):
        assert base64.b64encode(secret)[:40] not in FILE
        assert secret not in base64.b64decode(json.loads(FILE)["secret"])


def test_the_file_is_written_as_the_readme_says() -> None:
    """A second reader, from the README alone."""
    value = json.loads(FILE)
    header = cbrrr.encode_dag_cbor({k: v for k, v in value.items() if k not in ("secret", "signature")})
    kdf = Argon2id(salt=SALT, length=32, iterations=1, lanes=1, memory_cost=64)
    secret = AESGCM(kdf.derive(b"open sesame")).decrypt(
        base64.b64decode(value["nonce"]), base64.b64decode(value["secret"]), header
    )
    assert secret == b"a" * 32 + b"A" * 32


def test_two_threads_open_files_at_once() -> None:
    file, opened = lock(ALICE, "open sesame", salt=SALT, nonce=NONCE), list[Identity]()
    threads = [threading.Thread(target=lambda: opened.append(unlock(file, "open sesame"))) for _ in range(2)]
    for thread in threads:
        thread.daemon = True
        thread.start()
    for thread in threads:
        thread.join(60)  # without the lock, OpenSSL lets both wait for ever
    assert [identity.public for identity in opened] == [ALICE.public, ALICE.public]


def test_the_default_cost_is_rfc_9106s_second_choice() -> None:
    kdf = json.loads(lock(ALICE, "x", salt=SALT, nonce=NONCE))["kdf"]
    assert (kdf["name"], kdf["memory_kib"], kdf["iterations"], kdf["lanes"]) == ("argon2id", 65536, 3, 4)


@given(st.integers(0, len(FILE) - 2))
def test_a_file_cut_short_is_damaged_whatever_the_passphrase(length: int) -> None:
    with pytest.raises(KeyFileDamaged):
        unlock(FILE[:length], "open sesame")


@pytest.mark.parametrize("data", [FILE, UNLOCKED], ids=["locked", "unlocked"])
@given(st.data())
def test_any_bit_changed_is_noticed_before_the_passphrase(data: bytes, draw: st.DataObject) -> None:
    bit = draw.draw(st.integers(0, 8 * len(data) - 1))
    flipped = bytearray(data)
    flipped[bit // 8] ^= 1 << bit % 8
    try:
        found = read_public(bytes(flipped))
    except (KeyFileDamaged, KeyFileUnsupported):  # Unsupported: the version's own digit
        return
    assert json.loads(flipped) == json.loads(data)  # white space between the values
    assert found.public == ALICE.public


@pytest.mark.parametrize(
    "change",
    [
        {"name": "mallory"},
        {"public": BOB.public.key_text()},
        {"nonce": base64.b64encode(b"x" * 12).decode()},
        {"secret": base64.b64encode(bytes(80)).decode()},
        {
            "kdf": {
                "name": "argon2id",
                "salt": "c3Nzc3Nzc3Nzc3Nzc3Nzcw==",
                "memory_kib": 64,
                "iterations": 2,
                "lanes": 1,
            }
        },
        {"kdf": {"name": "none"}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_changed_value_is_damage_and_no_wrong_passphrase(change: dict[str, object]) -> None:
    with pytest.raises(KeyFileDamaged, match="changed"):
        unlock(changed(**change), "open sesame")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not JSON"),
        (b"[]", "does not say"),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----", "not JSON"),
        (b"{" * 10_000, "not JSON"),
        (b"[" * 10_000, "not JSON"),
        (b'"' + b"x" * 20_000 + b'"', "20002 bytes are more than"),
        (changed(more=1), "unknown field `more`"),
        (changed(nonce=None), r"\$.nonce"),
        (
            json.dumps({k: v for k, v in json.loads(FILE).items() if k != "kdf"}).encode(),
            "missing required field `kdf`",
        ),
        (signed(secret=""), "WrongPassphrase|wrong"),
    ],
    ids=range(10),
)
def test_what_is_no_key_file_is_named(data: bytes, why: str) -> None:
    with pytest.raises(KeyFileError, match=why):
        unlock(data, "open sesame")


@pytest.mark.parametrize("version", [4, 0, "1", None, True])
def test_another_version_is_unsupported(version: object) -> None:
    with pytest.raises(KeyFileUnsupported, match="version"):
        read_public(signed(version=version))


@pytest.mark.parametrize(
    ("memory_kib", "iterations", "lanes"),
    [
        (MAX_COST.memory_kib + 1, 1, 1),
        (2**63, 1, 1),
        (64, MAX_COST.iterations + 1, 1),
        (1024, 1, MAX_COST.lanes + 1),
        (7, 1, 1),
        (64, 0, 1),
        (64, 1, 0),
        (-64, 1, 1),
    ],
)
def test_a_hostile_file_cannot_ask_for_more_memory_or_time(memory_kib: int, iterations: int, lanes: int) -> None:
    """Refused by `read_public`, which never runs the KDF, so nothing was allocated."""
    kdf = {"name": "argon2id", "salt": base64.b64encode(SALT).decode()}
    cost = {"memory_kib": memory_kib, "iterations": iterations, "lanes": lanes}
    with pytest.raises(KeyFileUnsupported, match="not allowed"):
        read_public(signed(kdf=kdf | cost))


def test_a_salt_or_nonce_of_another_length_is_damage() -> None:
    with pytest.raises(KeyFileDamaged, match="salt or nonce"):
        read_public(signed(nonce="AAAA"))


def test_base64_spelt_in_another_way_is_damage() -> None:
    kdf = json.loads(FILE)["kdf"]
    assert kdf["salt"].endswith("w==")
    with pytest.raises(KeyFileDamaged, match="not written as Pollen writes it"):
        read_public(changed(kdf=kdf | {"salt": kdf["salt"].replace("w==", "x==")}))


def test_an_unlocked_file_with_a_nonce_is_damage() -> None:
    with pytest.raises(KeyFileDamaged, match="not encrypted"):
        read_public(signed(kdf={"name": "none"}))


def test_a_name_that_is_a_path_is_damage_even_when_it_is_signed() -> None:
    with pytest.raises(KeyFileDamaged, match="name of an identity"):
        read_public(signed(name="../../etc/passwd"))


def test_secrets_of_another_identity_are_damage_even_when_they_are_signed() -> None:
    secret = base64.b64encode(b"b" * 32 + b"B" * 32).decode()
    with pytest.raises(KeyFileDamaged, match="do not belong together"):
        unlock(signed(kdf={"name": "none"}, nonce="", secret=secret))


def test_an_error_about_an_unlocked_file_does_not_show_its_secret() -> None:
    value = json.loads(UNLOCKED)
    for broken in (UNLOCKED[:-5], json.dumps(value | {"nonce": value["secret"]}).encode()):
        with pytest.raises(KeyFileDamaged) as caught:
            unlock(broken)
        assert value["secret"][:12] not in str(caught.value)


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_are_damaged(data: bytes) -> None:
    with pytest.raises(KeyFileDamaged):
        read_public(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(json.loads(FILE))), JSON)
def test_any_json_in_any_field_is_a_key_file_error(field: str, value: object) -> None:
    with pytest.raises(KeyFileError):
        read_public(changed(**{field: value}))
