"""``peer keys``: make, show and relock identities; `backup` and `rotation` have the other commands.

Imports what is slow only when a command runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from peer.base.terminal import say, says_to_a_person
from peer.cli.keys import backup, rotation
from peer.cli.options import (
    DEFAULT_HOME,
    HomeOption,
    JsonOption,
    NameArgument,
    NewPassphraseFileOption,
    PassphraseFileOption,
    grouped,
    new_app,
)
from peer.cli.output import put_result

if TYPE_CHECKING:
    from crypto.keyfile import KeyFile
    from protocol.blocks.cid import CID

app = new_app("keys", "Make, show and keep identities: who you are in a federation.")

NoPassphrase = Annotated[
    bool, typer.Option("--no-passphrase", help="Store the keys unlocked: whoever reads the file is you.")
]


@app.command("init")
def init(
    name: Annotated[str, typer.Option("--name", help="What to call it: letters, digits, '-', '_', '.'.")],
    no_passphrase: NoPassphrase = False,
    passphrase_file: PassphraseFileOption = None,
    home: HomeOption = DEFAULT_HOME,
    json_output: JsonOption = False,
) -> None:
    """Make a new identity: a signing key and an encryption key in one locked file."""
    from crypto.identity import Identity
    from peer.home.keystore import KeyStore
    from peer.home.passphrase import Passphrases

    store = KeyStore(home)
    store.refuse_taken(name)  # before a person has typed a passphrase in vain
    passphrase = None if no_passphrase else Passphrases.of_process(passphrase_file).new(name)
    path = store.add(Identity.generate(name), passphrase)
    put_result(
        _facts(store.public(name)) | {"file": str(path)},
        json_output,
        f"{name} is {store.public(name).public.signing.did}",
        f"its keys are in {path}{', unlocked' if no_passphrase else ''}",
        "next: peer federation init FEDERATION, or give an admin your KEY: peer keys show --federation ID",
    )


@app.command("list")
def list_identities(home: HomeOption = DEFAULT_HOME, json_output: JsonOption = False) -> None:
    """List the identities in this home."""
    from peer.home.keystore import KeyStore

    store = KeyStore(home)
    found = [store.public(name) for name in store.names()]
    width = max((len(one.name) for one in found), default=0)
    lines = [f"{one.name:{width}}  {one.public.signing.did}{'' if one.locked else '  (unlocked)'}" for one in found]
    if not found:
        lines = ["no identity yet: peer keys init --name NAME"]
    put_result({"keys": [_facts(one) for one in found]}, json_output, *lines)


@app.command("show")
def show(
    name: NameArgument = None,
    federation: Annotated[
        str | None,
        typer.Option(
            "--federation", metavar="ID", help="The federation that it may be listed in, as its admin says it."
        ),
    ] = None,
    passphrase_file: PassphraseFileOption = None,
    home: HomeOption = DEFAULT_HOME,
    json_output: JsonOption = False,
) -> None:
    """Print the KEY of an identity: what an admin needs to add it. With --federation, it is good for that one alone.

    It holds no secret. An admin's `peer federation show` says the federation's ID.
    """
    from peer.home.keystore import KeyStore
    from peer.home.passphrase import Passphrases

    store = KeyStore(home)
    found, public = store.public(name), store.public(name).public
    if federation is not None:
        identity = store.load(name, Passphrases.of_process(passphrase_file))
        public = identity.public_for(bytes(_federation_id(home, federation)))
    put_result(_facts(found) | {"key": public.key_text()}, json_output, public.key_text())
    if says_to_a_person() and not json_output:
        say(f"{found.name}  {found.public.signing.did}  {found.public.encryption.suite}")
        if federation is None:
            say("this KEY may be listed in any federation; for one alone: peer keys show --federation ID")


@app.command("passwd")
def passwd(
    name: NameArgument = None,
    no_passphrase: NoPassphrase = False,
    passphrase_file: PassphraseFileOption = None,
    new_passphrase_file: NewPassphraseFileOption = None,
    home: HomeOption = DEFAULT_HOME,
    json_output: JsonOption = False,
) -> None:
    """Change the passphrase of an identity. Copies made before keep the old one."""
    from peer.home.keystore import KeyStore
    from peer.home.passphrase import Passphrases

    store = KeyStore(home)
    process = Passphrases.of_process(passphrase_file)
    identity = store.load(name, process)
    # what the environment holds is the old passphrase
    new = None if no_passphrase else process.another(new_passphrase_file).new(identity.name)
    store.replace(identity, new)
    state = "has no passphrase any more" if no_passphrase else "has a new passphrase"
    put_result(_facts(store.public(identity.name)), json_output, f"{identity.name} {state}")


app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
app.command("rotate")(rotation.rotate)
app.command("revoke")(grouped(rotation.revoke))


def _federation_id(home: Path, text: str) -> CID:
    """The id in ``text``, or that of the home's federation with this name."""
    from peer.home.federations import FederationStore
    from peer.home.home import Home
    from protocol.blocks.cid import CID, BlockError

    try:
        return CID.parse(text)
    except BlockError:
        return FederationStore(Home(home)).current(text).id


def _facts(found: KeyFile) -> dict[str, object]:
    """An identity as ``--json`` shows it."""
    return {
        "name": found.name,
        "did": found.public.signing.did,
        "suite": found.public.encryption.suite.value,
        "key": found.public.key_text(),
        "locked": found.locked,
    }
