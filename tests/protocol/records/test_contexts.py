"""Each thing opens in its own place alone (docs/protocol.md, section 13), and no code can leave that out."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import replace as replaced
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest
from msgspec import Struct
from msgspec.structs import fields, replace

from crypto.errors import CannotDecrypt
from crypto.keys import DecryptionKey
from crypto.symmetric import ChunkNonce, SymmetricKey
from protocol.blocks.cid import CID, cbor_block
from protocol.blocks.content import ContentKey
from protocol.records import contexts
from protocol.records.bodies import RecordType
from protocol.records.contexts import (
    AnnouncementForAll,
    AnnouncementSeal,
    AnnouncementTag,
    AskingMessage,
    AskingSide,
    BoundState,
    CipherContext,
    ContentContext,
    Context,
    EpochKeyWrap,
    EpochSecret,
    ErasureMessage,
    InvitationTag,
    JobAnswerSeal,
    JoinMessage,
    JoinSide,
    KeptReport,
    ManifestKeyWrap,
    ManifestPrivate,
    OwnKeySeal,
    RecordPrivate,
    ReplyContent,
    ReplyPrivate,
    RunPlace,
    SealContext,
    SecretBefore,
    SeedSeal,
    SentContent,
    StateContent,
    TicketRoot,
    VersionPlace,
    content_key,
    context_bytes,
    decrypt,
    encrypt,
    seal_for,
    state_keys,
    unseal,
)

ROOT = Path(__file__).parents[3]
FEDERATION, RUN = cbor_block("federation").cid, cbor_block("run").cid
MEMBER, MESSAGE = b"m" * 32, b"i" * 32
VERSION = VersionPlace(b"v" * 32)
PLACE = RunPlace(FEDERATION, b"l" * 32, b"k" * 32)
CONTEXTS: list[Context] = [
    ManifestKeyWrap(VERSION, MEMBER),
    EpochKeyWrap(PLACE, 1, EpochSecret.MODEL, MEMBER),
    OwnKeySeal(RUN, 1, MEMBER),
    SeedSeal(PLACE, 1),
    AnnouncementSeal(FEDERATION, MEMBER),
    JobAnswerSeal(FEDERATION, MEMBER),
    KeptReport(RUN, MEMBER),
    ManifestPrivate(VERSION),
    RecordPrivate(PLACE, 1, RecordType.DISPATCH, 7),
    ReplyPrivate(RUN, 1, MEMBER, MESSAGE),
    SecretBefore(PLACE, 2, EpochSecret.MODEL),
    AnnouncementForAll(FEDERATION, 1),
    JoinMessage(FEDERATION, JoinSide.NEWCOMER),
    AskingMessage(FEDERATION, MEMBER, AskingSide.ASKING),
    ErasureMessage(FEDERATION),
    SentContent(PLACE, 1),
    ReplyContent(RUN, 1, MEMBER),
    StateContent(RUN, MEMBER),
    BoundState(RUN, MEMBER, b"o" * 32),
    InvitationTag(FEDERATION),
    AnnouncementTag(FEDERATION, 1),
    TicketRoot(FEDERATION),
]
"""One of each."""
KEY, READER = SymmetricKey(b"s" * 32), DecryptionKey.from_seed(b"d" * 32)


def elsewhere(context: object) -> Iterator[object]:
    """``context`` with one thing in it another: federation, version, run, epoch, type, height, member, message."""
    for field in fields(context):  # type: ignore[arg-type]  # a dataclass, as all of them are
        match getattr(context, field.name):
            case VersionPlace() | RunPlace() as place:
                others = list(elsewhere(place))
            case CID():
                others = [cbor_block("another").cid]
            case StrEnum() as value:
                others = [each for each in type(value) if each is not value]
            case int(number):
                others = [number + 1]
            case bytes(value):
                others = [hashlib.sha256(value).digest()]
        yield from (replace(context, **{field.name: other}) for other in others)  # type: ignore[type-var]


def moves(*kinds: type) -> list[tuple[Context, Context]]:
    """Each context of these kinds, with each place that it may be moved to."""
    everywhere = [context for context in CONTEXTS if isinstance(context, kinds)]
    return [
        (context, other) for context in everywhere for other in (*elsewhere(context), *everywhere) if other != context
    ]  # type: ignore[misc]  # `elsewhere` gives contexts of the same type


def name(context: object) -> str:
    return f"{type(context).__name__}-{hashlib.sha256(repr(context).encode()).hexdigest()[:6]}"


@pytest.mark.parametrize(("context", "other"), moves(*get_args(SealContext)), ids=name)
def test_what_is_sealed_opens_in_its_own_place_alone(context: SealContext, other: SealContext) -> None:
    sealed = seal_for(READER.public, b"a secret", context)
    assert unseal(READER, sealed, context) == b"a secret"
    with pytest.raises(CannotDecrypt):
        unseal(READER, sealed, other)


@pytest.mark.parametrize(("context", "other"), moves(*get_args(CipherContext)), ids=name)
def test_what_is_encrypted_opens_in_its_own_place_alone(context: CipherContext, other: CipherContext) -> None:
    ciphertext = encrypt(KEY, b"a private part", context)
    assert decrypt(KEY, ciphertext, context) == b"a private part"
    with pytest.raises(CannotDecrypt):
        decrypt(KEY, ciphertext, other)


def key_of(context: ContentContext) -> ContentKey:
    if isinstance(context, SentContent | ReplyContent):
        return content_key(KEY, context, ChunkNonce.GMAC)
    return contexts._state_key(KEY, context)


@pytest.mark.parametrize(("context", "other"), moves(*get_args(ContentContext)), ids=name)
def test_contents_of_another_place_have_another_key(context: ContentContext, other: ContentContext) -> None:
    assert key_of(context) == key_of(context)
    assert key_of(context).key != key_of(other).key


@pytest.mark.parametrize("how", ChunkNonce)
def test_the_nonce_of_chunks_is_the_epochs_and_the_key_is_the_same(how: ChunkNonce) -> None:
    """All contents of before there was a choice have to open."""
    assert content_key(KEY, SentContent(PLACE, 1), how) == replaced(key_of(SentContent(PLACE, 1)), chunk_nonce=how)


def test_no_two_contexts_are_written_alike() -> None:
    everywhere = sorted(context_bytes(each) for context in CONTEXTS for each in (context, *elsewhere(context)))  # type: ignore[arg-type]
    assert all(first != second for first, second in pairwise(everywhere))


def _tag(kind: type) -> object:
    return kind.__struct_config__.tag if issubclass(kind, Struct) else None


def test_every_context_there_is_names_its_federation_version_or_run() -> None:
    """Every context of the module is here, and each is bound to something."""
    there_are = {each for each in vars(contexts).values() if isinstance(each, type) and _tag(each)} - {
        contexts._Context
    }
    assert there_are == {type(context) for context in CONTEXTS} == set(get_args(Context))
    for kind in there_are:
        assert {"federation", "version", "run"} & {field.name for field in fields(kind)}, kind
    assert len({_tag(kind) for kind in there_are}) == len(there_are)


# -- nobody seals or encrypts but through a context -----------------------------------------------------------------

ELSEWHERE = {
    ("protocol/blocks/content.py", "encrypt"): "under a `ContentKey`, which `content_key` made for one place",
    ("protocol/blocks/content.py", "decrypt"): "the same",
    ("protocol/joining/messages.py", "encrypt"): "`TicketKeys.encrypt`, which names the federation and the side",
    ("protocol/joining/messages.py", "decrypt"): "the same",
}
"""The calls outside `protocol.records.contexts` of what is called like a method of `SymmetricKey`, and why they are
bound."""


METHODS = ("encrypt", "decrypt", "derive")


def sources(*words: str) -> Iterator[tuple[str, ast.Module]]:
    """The modules with one of these words in them. The others are not parsed: there are hundreds."""
    for package in ("protocol", "strategy", "peer"):
        for path in sorted((ROOT / package).rglob("*.py")):
            text = path.read_text("utf-8")
            if any(word in text for word in words):
                yield path.relative_to(ROOT).as_posix(), ast.parse(text)


def test_keys_are_used_through_contexts_alone() -> None:
    called = {
        (path, node.func.attr)
        for path, tree in sources(*METHODS)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in METHODS
        and path != "protocol/records/contexts.py"
    }
    assert called == set(ELSEWHERE)


def test_nobody_else_seals() -> None:
    imports = {
        path
        for path, tree in sources("sealing")
        for node in ast.walk(tree)
        if (isinstance(node, ast.ImportFrom) and node.module == "crypto.sealing")
        or (isinstance(node, ast.ImportFrom) and node.module == "crypto" and "sealing" in {n.name for n in node.names})
        or (isinstance(node, ast.Import) and any(each.name == "crypto.sealing" for each in node.names))
    }
    assert imports == {"protocol/records/contexts.py"}


def test_a_state_takes_the_members_secret_and_the_runs_key() -> None:
    secret, model, other = SymmetricKey(b"s" * 32), SymmetricKey(b"m" * 32), SymmetricKey(b"o" * 32)
    now, before = state_keys(secret, model, RUN, MEMBER)
    assert (now.epoch, before.epoch) == (1, 0)
    others = [state_keys(*pair, RUN, MEMBER)[0] for pair in ((other, model), (secret, other))]
    assert {now.chunk_nonce, before.chunk_nonce} == {ChunkNonce.HMAC}, "what is kept already opens"
    assert len({now.key, before.key, *(each.key for each in others)}) == 4
    assert before == contexts._state_key(secret, StateContent(RUN, MEMBER)), "what earlier releases wrote opens"
