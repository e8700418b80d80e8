"""``peer keys backup`` and ``peer keys restore``: an identity in a locked file or in words, and back again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from peer.base.errors import PeerError
from peer.base.terminal import put, say
from peer.cli.options import DEFAULT_HOME, HomeOption, JsonOption, PassphraseFileOption
from peer.cli.output import put_json, put_result

if TYPE_CHECKING:
    from crypto.identity import Identity
    from peer.home.keystore import KeyStore
    from peer.home.passphrase import Passphrases

_IN_A_LINE = 8
"""Words."""


def backup(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME] FILE", help="Which identity, and the file to write; it must not exist."),
    ] = None,
    words: Annotated[bool, typer.Option("--words", help="Print words to write down, and no file.")] = False,
    passphrase_file: PassphraseFileOption = None,
    new_passphrase_file: Annotated[
        Path | None,
        typer.Option("--new-passphrase-file", help="Read the backup's own passphrase from this file's first line."),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    json_output: JsonOption = False,
) -> None:
    """Write all keys of an identity, retired ones too, to a file locked with a passphrase of its own, or as words."""
    from peer.home.keystore import KeyStore, locked_copy, write_new
    from peer.home.passphrase import Passphrases

    name, file = _named(arguments or [], words)
    store, process = KeyStore(home), Passphrases.of_process(passphrase_file)
    identity = store.load(name, process)
    if file is None:
        _put_words(identity, json_output)
        return
    # what the environment holds opens the identity: a backup that shared it would be lost with it
    own = process.another(new_passphrase_file).new(f"the backup of {identity.name}")
    write_new(file, locked_copy(identity, own))
    put_result(
        {"name": identity.name, "did": identity.public.signing.did, "file": str(file)},
        json_output,
        f"{identity.name} is in {file}, locked with the backup's own passphrase",
        f"to have it back, here or elsewhere: peer keys restore {file.name}",
    )


def restore(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="What `peer keys backup` wrote.")] = None,
    words: Annotated[bool, typer.Option("--words", help="Ask for the words, or read them from stdin.")] = False,
    name: Annotated[str | None, typer.Option("--name", help="With --words: what to call it.")] = None,
    no_passphrase: Annotated[
        bool, typer.Option("--no-passphrase", help="Take a file that is not locked; with --words, lock nothing.")
    ] = False,
    passphrase_file: PassphraseFileOption = None,
    home: HomeOption = DEFAULT_HOME,
    json_output: JsonOption = False,
) -> None:
    """Take an identity back from its backup. A file keeps its name and passphrase."""
    from peer.home.keystore import KeyStore
    from peer.home.passphrase import Passphrases

    store, process = KeyStore(home), Passphrases.of_process(passphrase_file)
    if words and name is not None and file is None:
        identity = _from_words(store, name, process, locked=not no_passphrase)
    elif file is not None and not words and name is None:
        identity = store.restore_file(file, process, unlocked_too=no_passphrase)
    else:
        raise PeerError(
            "a backup is a file, or words and a name",
            fix="peer keys restore FILE, or peer keys restore --words --name NAME",
        )
    path = store.path(identity.name)
    put_result(
        {"name": identity.name, "did": identity.public.signing.did, "file": str(path)},
        json_output,
        f"{identity.name} is {identity.public.signing.did}",
        f"its keys are in {path}; use them in one home only: two that sign as one member accuse it of lying",
        "next: peer federation join FILE, with a file that an admin exports now",
    )


def _named(arguments: list[str], words: bool) -> tuple[str | None, Path | None]:
    """The identity's name, where it was given, and the file, where there has to be one."""
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
        "a backup goes to one file, or is printed as words",
        fix="peer keys backup [NAME] FILE, or peer keys backup [NAME] --words",
    )


def _put_words(identity: Identity, json_output: bool) -> None:
    from crypto.words import to_words
    from peer.home.keystore import translated

    with translated(""):
        words = to_words(identity.secret_bytes())
    if json_output:
        put_json({"name": identity.name, "did": identity.public.signing.did, "words": " ".join(words)})
        return
    say(f"whoever has these {len(words)} words is {identity.name}; to have it back:")
    say(f"peer keys restore --words --name {identity.name}")
    for start in range(0, len(words), _IN_A_LINE):
        put(" ".join(words[start : start + _IN_A_LINE]))


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
    """What stands on standard input; on a terminal, up to an empty line."""
    if not sys.stdin.isatty():
        return sys.stdin.read()
    say("the words, in as many lines as you like, and then an empty one:")
    lines: list[str] = []
    while line := sys.stdin.readline().strip():
        lines.append(line)
    return " ".join(lines)
