"""``peer diff``: how two models differ, tensor by tensor."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from peer.audit.named_model import NamedModel, named_model
from peer.base.errors import PeerError
from peer.base.terminal import put, put_table
from peer.cli.options import JsonOption, RunOptions, grouped, new_app
from peer.cli.output import bad, good, put_json
from protocol.visible import named
from strategy.contents.summary import to_json

if TYPE_CHECKING:
    from strategy.models.model_difference import Layout, TensorDifference

app = new_app()

MODEL = "A model file, HEAD[:ROUND[:NAME]], FILE.car[:ROUND[:NAME]], or a content's CID."


@app.command("diff")
@grouped
def diff(
    a: Annotated[str, typer.Argument(metavar="A", help=MODEL)],
    b: Annotated[str, typer.Argument(metavar="B", help=MODEL)],
    *,
    options: RunOptions,
    json: JsonOption = False,
) -> None:
    """Show how two models differ, tensor by tensor. The exit code is 0 whether they differ or not.

    A and B are each a file (.safetensors, .npz, .pt), a content's CID, or a model of a run. HEAD means the global model
    of the last round, HEAD:3 that of round 3 (0 is the initial model), HEAD:3:alice the update of alice in round 3, and
    HEAD::alice her update in the last round. A CAR file can stand for HEAD. In the table, relative is the L2 norm of
    A - B, divided by that of A.
    """
    from strategy.models.model_difference import tensor_differences
    from strategy.models.model_files import NoModel

    lookup = options.lookup()
    try:
        with contextlib.ExitStack() as stack:
            opened = [stack.enter_context(named_model(text, lookup)) for text in (a, b)]
            differences = list(tensor_differences(opened[0].tensors, opened[1].tensors))
    except NoModel as error:
        raise PeerError(str(error), fix="see what A and B can be: peer diff --help") from error
    if json:
        put_json(_value(opened[0].about, opened[1].about, differences))
        return
    put(f"A: {_label(opened[0])}")
    put(f"B: {_label(opened[1])}")
    _put(differences)


# -- showing -------------------------------------------------------------------------------------------------------


def _label(model: NamedModel) -> str:
    return ", ".join(f"{name} {named(str(value))}" for name, value in model.about.items())


def _put(differences: Iterable[TensorDifference]) -> None:
    rows = [_row(each) for each in differences]
    put_table("tensors", ["tensor", "A", "B", "largest", "mean", "relative", "not finite", ""], rows)
    unequal = sum(row[-1] != _EQUAL for row in rows)
    line = f"{unequal} of {len(rows)} tensors differ" if unequal else f"{len(rows)} tensors, equal bit for bit"
    put(bad(line) if unequal else good(line))


_EQUAL = "equal bits"


def _row(each: TensorDifference) -> list[str]:
    numbers = ["" if number is None else f"{number:.4g}" for number in (each.largest, each.mean, each.relative)]
    layouts = ["" if layout is None else str(layout) for layout in (each.a, each.b)]
    return [named(each.name), *layouts, *numbers, str(each.not_finite or ""), _verdict(each)]


def _verdict(each: TensorDifference) -> str:
    match each.a, each.b:
        case None, _:
            return "only in B"
        case _, None:
            return "only in A"
        case a, b if a.shape != b.shape:
            return "another shape"
        case a, b if a.dtype != b.dtype:
            return "another dtype"
    return _EQUAL if each.equal else "differs"


def _value(a: dict[str, Any], b: dict[str, Any], differences: list[TensorDifference]) -> dict[str, Any]:
    return {
        "a": a,
        "b": b,
        "equal": all(each.equal for each in differences),
        "tensors": [
            {
                "name": each.name,
                "a": _layout_value(each.a),
                "b": _layout_value(each.b),
                "equal": each.equal,
                "largest": _number(each.largest),
                "mean": _number(each.mean),
                "relative": _number(each.relative),
                "not_finite": each.not_finite,
            }
            for each in differences
        ],
    }


def _layout_value(layout: Layout | None) -> dict[str, Any] | None:
    return None if layout is None else {"dtype": layout.dtype, "shape": list(layout.shape)}


def _number(number: float | None) -> object:
    return None if number is None else to_json(number)
