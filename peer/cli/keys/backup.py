"""``peer keys backup`` and ``peer keys restore``: write an identity to a locked file or as words, and read it back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from peer.base.errors import PeerError
from peer.base.terminal import put, say
from peer.cli.options import JsonOption, KeyOptions, NewPassphraseFileOption, NoPassphraseOption
from peer.cli.output import here, put_json, put_result

if TYPE_CHECKING:
    from crypto.identity import Identity
    from peer.home.keystore import KeyStore
    from peer.home.passphrase import Passphrases

_WORDS_IN_A_LINE = 8


def backup(
    options: KeyOptions,
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME] FILE", help="The identity, and a new file."),
    ] = None,
    words: Annotated[bool, typer.Option("--words", help="Print words to write down, instead of a file.")] = False,
    new_passphrase_file: NewPassphraseFileOption = None,
    json: JsonOption = False,
) -> None:
    """Write an identity to a file, or as words. It includes old keys. The file has its own passphrase."""
    from peer.home.keystore import locked_copy, write_new

    name, file = _named(arguments or [], words)
    store, passphrases = options.opened()
    identity = store.load(name, passphrases)
    if file is None:
        _put_words(identity, json)
        return
    # the passphrase in the environment is not used: a backup with the same passphrase would be lost with it
    own = passphrases.another(new_passphrase_file).new(f"the backup of {identity.name}")
    write_new(file, locked_copy(identity, own))
    put_result(
        {"name": identity.name, "did": identity.public.signing.did, "file": str(file)},
        json,
        f"{identity.name} is in {file}, locked with the backup's own passphrase",
        f"to restore it, here or elsewhere: peer keys restore {file.name}",
    )


def restore(
    options: KeyOptions,
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="What `peer keys backup` wrote.")] = None,
    words: Annotated[bool, typer.Option("--words", help="Ask for the words, or read them from stdin.")] = False,
    name: Annotated[str | None, typer.Option("--name", help="With --words: the identity's name.")] = None,
    no_passphrase: NoPassphraseOption = False,
    json: JsonOption = False,
) -> None:
    """Restore an identity from its backup. A file keeps its name and passphrase; one that has none is taken with
    --no-passphrase."""
    store, passphrases = options.opened()
    if words and name is not None and file is None:
        identity = _from_words(store, name, passphrases, locked=not no_passphrase)
    elif file is not None and not words and name is None:
        identity = store.restore_file(file, passphrases, unlocked_too=no_passphrase)
    else:
        raise PeerError(
            "a backup is either a file, or words and a name",
            fix="peer keys restore FILE, or peer keys restore --words --name NAME",
        )
    path = store.path(identity.name)
    put_result(
        {"name": identity.name, "did": identity.public.signing.did, "file": str(path)},
        json,
        f"{identity.name} is {identity.public.signing.did}",
        f"its keys are in {path}; use them in one home only, because two homes sign what contradicts",
        here("next: peer federation join FILE, with a file that an admin exports now"),
    )


def _named(arguments: list[str], words: bool) -> tuple[str | None, Path | None]:
    """The identity's name, if it was given, and the file, unless words are printed."""
    match arguments:
        case [] if words:
            return None, None
        case [name] if words:
            return name, None
        case [file] if not words:
            return None, Path(file)
        case [name, file] if not words:
            return name, Path(file)
    raise PeerError(
        "a backup goes either to one file, or is printed as words",
        fix="peer keys backup [NAME] FILE, or peer keys backup [NAME] --words",
    )


def _put_words(identity: Identity, json: bool) -> None:
    from crypto.words import to_words
    from peer.home.keystore import translated

    with translated(""):
        words = to_words(identity.secret_bytes())
    if json:
        put_json({"name": identity.name, "did": identity.public.signing.did, "words": " ".join(words)})
        return
    say(f"anybody who has these {len(words)} words can act as {identity.name}; to restore it:")
    say(f"peer keys restore --words --name {identity.name}")
    for start in range(0, len(words), _WORDS_IN_A_LINE):
        put(" ".join(words[start : start + _WORDS_IN_A_LINE]))


def _from_words(store: KeyStore, name: str, passphrases: Passphrases, *, locked: bool) -> Identity:
    from crypto.identity import Identity
    from crypto.words import from_words
    from peer.home.keystore import translated

    store.refuse_taken(name)
    with translated(""):
        identity = Identity.from_secret_bytes(name, from_words(_typed()))
    store.add(identity, passphrases.new(name) if locked else None)
    return identity


def _typed() -> str:
    """The text on standard input; on a terminal, up to an empty line."""
    if not sys.stdin.isatty():
        return sys.stdin.read()
    say("type the words, in as many lines as you like, then an empty line:")
    lines: list[str] = []
    while line := sys.stdin.readline().strip():
        lines.append(line)
    return " ".join(lines)
