"""``peer keys``: make and show identities, and change their passphrases. `backup` and `rotation` have the rest.

What imports slowly is imported when a command runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from peer.base.terminal import say, says_to_a_person
from peer.cli.keys import backup, rotation
from peer.cli.options import (
    DEFAULT_HOME,
    FullOption,
    HomeOption,
    JsonOption,
    KeyOptions,
    NameArgument,
    NewPassphraseFileOption,
    NoPassphraseOption,
    grouped,
    new_app,
)
from peer.cli.output import here, put_result

if TYPE_CHECKING:
    from crypto.keyfile import KeyFile
    from protocol.blocks.cid import CID

app = new_app("keys", "Make, show and keep identities. An identity is who you are in a federation.")


@app.command("init")
@grouped
def init(
    options: KeyOptions,
    name: Annotated[str, typer.Option("--name", help="Its name: letters, digits, '-', '_', '.'.")],
    no_passphrase: NoPassphraseOption = False,
    json: JsonOption = False,
) -> None:
    """Make an identity in a locked file. It has a signing key and an encryption key."""
    from crypto.identity import Identity

    store, passphrases = options.opened()
    store.refuse_taken(name)  # fail before a person types a passphrase
    passphrase = None if no_passphrase else passphrases.new(name)
    path = store.add(Identity.generate(name), passphrase)
    found = store.public(name)
    put_result(
        _value(found) | {"file": str(path)},
        json,
        f"{name} is {found.public.signing.did}",
        f"its keys are in {path}{', unlocked' if no_passphrase else ''}",
        here("next: peer federation init FEDERATION, or give an admin your KEY: peer keys show --federation ID"),
    )


@app.command("list")
def list_identities(
    full: FullOption = False,  # noqa: ARG001  # its callback does what it says
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> None:
    """List the identities in this home."""
    store, _ = KeyOptions(home=home).opened()
    found = [store.public(name) for name in store.names()]
    width = max((len(one.name) for one in found), default=0)
    lines = [f"{one.name:{width}}  {one.public.signing.did}{'' if one.locked else '  (unlocked)'}" for one in found]
    put_result({"keys": [_value(one) for one in found]}, json, *(lines or ["none yet: peer keys init --name NAME"]))


@app.command("show")
@grouped
def show(
    options: KeyOptions,
    name: NameArgument = None,
    federation: Annotated[
        str | None,
        typer.Option("--federation", metavar="ID", help="The only federation for which the KEY is valid."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Print the KEY of an identity. An admin needs it to add you to a federation. It holds no secret.

    An admin finds the federation's ID with `peer federation show`.
    """
    store, passphrases = options.opened()
    found = store.public(name)
    public = found.public
    if federation is not None:
        public = store.load(name, passphrases).public_for(bytes(_federation_id(options.home, federation)))
    put_result(_value(found) | {"key": public.key_text()}, json, public.key_text())
    if says_to_a_person() and not json:
        say(f"{found.name}  {found.public.signing.did}  {found.public.encryption.suite}")
        if federation is None:
            say("this KEY is valid for any federation; for a single one: peer keys show --federation ID")


@app.command("passwd")
@grouped
def passwd(
    options: KeyOptions,
    name: NameArgument = None,
    no_passphrase: NoPassphraseOption = False,
    new_passphrase_file: NewPassphraseFileOption = None,
    json: JsonOption = False,
) -> None:
    """Change the passphrase of an identity. Older copies keep the old one."""
    store, passphrases = options.opened()
    opened = store.opened(name, passphrases)
    identity = opened.identity
    new = None if no_passphrase else passphrases.another(new_passphrase_file).new(identity.name)
    store.replace(identity, new, opened)
    state = "has no passphrase any more" if no_passphrase else "has a new passphrase"
    put_result(_value(store.public(identity.name)), json, f"{identity.name} {state}")


app.command("backup")(grouped(backup.backup))
app.command("restore")(grouped(backup.restore))
app.command("rotate")(grouped(rotation.rotate))
app.command("revoke")(grouped(rotation.revoke))


def _federation_id(home: Path, text: str) -> CID:
    """The federation with the id ``text``, or the one in this home with that name."""
    from peer.home.federations import FederationStore
    from peer.home.home import Home
    from protocol.blocks.cid import CID, BlockError

    try:
        return CID.parse(text)
    except BlockError:
        return FederationStore(Home(home)).current(text).id


def _value(found: KeyFile) -> dict[str, object]:
    return {
        "name": found.name,
        "did": found.public.signing.did,
        "suite": found.public.encryption.suite.value,
        "key": found.public.key_text(),
        "locked": found.locked,
    }
