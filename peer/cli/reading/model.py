"""``peer model``: write a model of a run to a file."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from peer.audit.run_models import SERVER, FoundModel, RunModels
from peer.base.errors import ExitCode, PeerError
from peer.base.terminal import put
from peer.cli.options import HeadArgument, JsonOption, RunOptions, grouped, new_app
from peer.cli.output import put_json, size
from peer.cli.reading.model_file import model_file
from peer.history.scratch import Scratch
from protocol.blocks.cid import MissingBlock
from protocol.visible import named

if TYPE_CHECKING:
    from crypto.identity import Identity
    from peer.audit.audit import Audit

app = new_app()


@app.command("model")
@grouped
def model(
    head: HeadArgument,
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="FILE", help="A .safetensors, .npz or .pt file. It is replaced."),
    ],
    round: Annotated[
        int | None,
        typer.Option("--round", metavar="N", help="The round; 0 is before the first.", show_default="the last"),
    ] = None,
    of: Annotated[
        str, typer.Option("--of", metavar="server|NAME", help="The global model, or this client's update.")
    ] = SERVER,
    best: Annotated[
        bool, typer.Option("--best", help="The best global model, by the metric that the run names.")
    ] = False,
    sign: Annotated[
        bool, typer.Option("--sign", help="Sign it with this identity too; the OpenSSF's model_signing verifies it.")
    ] = False,
    *,
    options: RunOptions,
    json: JsonOption = False,
) -> None:
    """Write the global model or a client's update of any round to a file, after verifying the run's chain.

    The global model of round N is the first that the server sent after it had collected round N. If it sent no more, it
    is the final model. The file's metadata has the run, the round and the content's CID.

    With --best, it is the model that was sent in the exchange whose answers have the best mean of the metric that the
    run names (peer run --best).

    With --sign, three files more are written: FILE.sig and FILE.pub are for `model_signing verify key FILE`, and in
    FILE.intoto.json the identity vouches for FILE and FILE.pub (peer attest verify).
    """
    from strategy.models.model_files import NoModel, save_model

    if best and (round is not None or of != SERVER):
        raise PeerError("--best is one of the global models", fix="leave out --round and --of")
    path = model_file("--output", output)
    lookup = options.lookup()
    identity = lookup.reader.unlocked(lookup.home.path) if sign else None
    with Scratch() as scratch, lookup.reading(head, scratch) as audit:
        models = RunModels(audit, scratch)
        with _told_if_missing(audit):
            found = models.best() if best else models.find(of, round)
        try:
            with _told_if_missing(audit):
                count = save_model(found.content, audit.source, found.key, path, found.metadata())
        except NoModel as error:
            raise PeerError(
                f"no file was written: {error}",
                fix=f"try another format, or see what is in it: peer show {found.content}",
                code=ExitCode.UNFINISHED,
            ) from error
        signed = [] if identity is None else _signed(path, found, audit, identity)
    if json:
        about = {"file": str(path), "bytes": count, "content": str(found.content), "head": str(found.head)}
        put_json({**about, **found.metadata(), "round": found.round, "signed": list(map(str, signed))})
        return
    whose = "the global model" if found.of == SERVER else f"the update of {named(found.of)}"
    put(f"{path}: {whose} of round {found.round}, {size(count)}, content {found.content}")
    if signed:
        put(f"signed: {', '.join(each.name for each in signed)}; peer attest verify {signed[-1].name} checks it")


@contextlib.contextmanager
def _told_if_missing(audit: Audit) -> Iterator[None]:
    """Say of a content that is not here that its run does not keep everything, if that is so."""
    try:
        yield
    except MissingBlock as error:
        keep = audit.report.keep
        why = f", and of this run stays {keep}: it may be one that is not kept by policy" if keep else ""
        raise PeerError(
            f"no file was written: the model is not here ({error}){why}",
            fix=f"peer audit {audit.report.head} tells what is missing from what is not kept by policy",
            code=ExitCode.UNFINISHED,
        ) from error


def _signed(path: Path, found: FoundModel, audit: Audit, identity: Identity) -> list[Path]:
    """The files that sign the model in ``path``."""
    from peer.attest.model_signing import sign_model_file

    files = sign_model_file(path, found, audit, identity, at=time.time())
    return [files.signature, files.key, files.attestation]
