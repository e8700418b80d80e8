"""``peer trace``: find the run, round and federation of a model file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from peer.attest.model_trace import ModelFile, NotTraced, Traced, model_file_named, not_found, trace
from peer.base.terminal import put, say
from peer.cli.attest.attestation_output import model_in_words
from peer.cli.options import JsonOption, RunOptions, TrustOption, grouped, new_app
from peer.cli.output import good, put_fields, put_json
from peer.cli.reading.audit_output import put_root
from peer.home.home import Home
from peer.home.journal import Journal
from protocol.visible import named

app = new_app()


@app.command("trace")
@grouped
def trace_command(
    file: Annotated[
        str,
        typer.Argument(metavar="FILE|SHA256", help="A .safetensors, .npz or .pt file, or the hash of one (slower)."),
    ],
    *,
    within: Annotated[
        list[str] | None,
        typer.Option(
            "--in",
            metavar="RUN|FILE.car",
            help="Look in this run. Repeatable.",
            show_default="the runs of this home",
        ),
    ] = None,
    options: RunOptions,
    federation: TrustOption = None,
    json: JsonOption = False,
) -> None:
    """Find the run, round and federation of a model file.

    What the file says of itself does not count. The recorded models are written to files again, as `peer model` and
    `peer start --save-path` do, and one has to be the same byte for byte. If none is, the arrays are compared, because
    somebody may have converted the file. The run's chain is verified first, but not replayed (peer audit --replay).

    The exit code is 0 if the model is found, and 3 if it is in none of the runs. It is 1 if the run that the file names
    is closed, can be read here, and does not have the model.
    """
    model = model_file_named(file)
    runs = within or _runs(options, model)
    result = trace(model, runs, options.lookup(), federation=federation)
    if isinstance(result, NotTraced):
        for note in result.notes:
            say(f"note: {note}")
        raise not_found(model, result)
    if json:
        put_json(_value(model, result))
        return
    put_root(result.report)
    put_fields(_fields(model, result))
    put("this shows where the numbers are from, not that they are good, nor that the server computed them correctly")
    put(good(_line(result)))


def _runs(options: RunOptions, model: ModelFile) -> list[str]:
    """The runs of the home. The one that the file names comes first."""
    journal = Home(options.home).journal
    if not journal.exists():
        return []
    with Journal(journal) as opened:
        runs = [str(head.run) for head in opened.heads()]
    return sorted(runs, key=lambda run: run != model.claims.get("run"))


def _fields(model: ModelFile, traced: Traced) -> Iterator[tuple[str, str]]:
    report, found = traced.report, traced.found.model
    yield "file", f"sha256 {model.sha256}"
    yield "is", model_in_words(found.of, found.round)
    yield "content", str(found.content)
    yield "run", str(report.run)
    yield "head", f"{report.head}, height {report.height}"
    yield "federation", f"{named(report.federation_name or str(report.federation))}, {report.members} members"
    yield "app", named(report.app) if report.app else "encrypted, and not for this home"
    yield "leader", named(report.leader)


def _line(traced: Traced) -> str:
    what = model_in_words(traced.found.model.of, traced.found.model.round)
    if traced.found.exact:
        return f"found: byte for byte {what} of a run in which every record keeps every rule"
    return f"found: another file with the same arrays as {what} of a run in which every record keeps every rule"


def _value(model: ModelFile, traced: Traced) -> dict[str, Any]:
    report = traced.report
    return {
        "sha256": model.sha256,
        "exact": traced.found.exact,
        **traced.found.model.value(),
        "run": str(report.run),
        "head": str(report.head),
        "height": report.height,
        "federation": {
            "id": str(report.federation),
            "name": report.federation_name,
            "root": None if report.root is None else report.root.value,
        },
        "chain": report.verdict.value,
    }
