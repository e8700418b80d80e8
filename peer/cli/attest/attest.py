"""``peer attest``: check what others have signed about a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from peer.base.errors import ExitCode
from peer.cli.options import DEFAULT_HOME, HomeOption, JsonOption, new_app
from peer.cli.output import put_json
from peer.history.verdict import Verdict
from protocol.attestations.audit_predicate import AuditPredicate
from protocol.attestations.model_predicate import ModelPredicate

if TYPE_CHECKING:
    from peer.attest.attestation_check import CheckedAttestation

app = new_app("attest", "Check what others have signed about a run. To sign: peer audit --attest FILE.")


@app.callback()
def attest() -> None:
    """Check what others have signed about a run. To sign: peer audit --attest FILE."""


@app.command("verify")
def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The attestation.")],
    by: Annotated[
        str | None,
        typer.Option("--by", metavar="NAME|KEY|DID", help="The signer that you expect: a member, a KEY or a did:key."),
    ] = None,
    run: Annotated[
        str | None,
        typer.Option("--run", metavar="RUN|FILE.car", help="The run that you expect: its CID, its head or its file."),
    ] = None,
    about: Annotated[
        list[Path] | None,
        typer.Option("--about", metavar="FILE", help="A file that it has to be about, such as a model. Repeatable."),
    ] = None,
    federation: Annotated[
        str | None,
        typer.Option(
            "--federation",
            metavar="ID|FILE",
            help="The federation that lists the signer: its id or name, if this home is in it, or its file.",
            show_default="those that this home has joined",
        ),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    json: JsonOption = False,
) -> ExitCode:
    """Check an attestation: the signature, the signer and what it says. The run itself is not read.

    The exit code is that of the audit: 0 verified, 1 failed, 3 neither. It is also 1 if the signature is wrong or not
    by --by, and 3 if the signer's key is unknown or revoked.
    """
    from peer.attest.attestation_check import check_attestation
    from peer.audit.root_of_trust import trusted_federations
    from peer.cli.attest.attestation_output import attestation_value, put_attestation
    from peer.home.federations import FederationStore
    from peer.home.home import Home

    known = trusted_federations(federation, FederationStore(Home(home)).all())
    checked = check_attestation(file, known, by=by, run=run, files=about or ())
    if json:
        put_json(attestation_value(checked))
    else:
        put_attestation(checked)
    return exit_code(checked)


def exit_code(checked: CheckedAttestation) -> ExitCode:
    """The exit code of a command that checks an attestation."""
    if checked.doubt:
        return ExitCode.UNFINISHED
    match checked.attestation.statement.predicate:
        case AuditPredicate(verdict=verdict):
            return Verdict(verdict).exit_code
        case ModelPredicate():
            return ExitCode.DONE
