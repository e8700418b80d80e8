"""The model that a run begins with: a new one, or arrays that the server's owner gave."""

from __future__ import annotations

from collections.abc import Mapping

from flwr.app import ArrayRecord, RecordDict
from torch import nn

RECORD = "initial-model"
"""The record of ``context.state`` with the arrays to begin with, if there are any."""

Shapes = Mapping[str, tuple[int, ...]]


def initial_arrays(model: nn.Module, state: RecordDict) -> ArrayRecord:
    """The weights of ``model``, after loading those in ``state`` into it, if there are any.

    Raises:
        ValueError: if they do not fit it.
    """
    given = state.array_records.get(RECORD)
    if given is not None:
        check_fit(model, {name: tuple(array.shape) for name, array in given.items()})
        model.load_state_dict(given.to_torch_state_dict())
    return ArrayRecord(model.state_dict())


def check_fit(model: nn.Module, given: Shapes) -> None:
    """Check that ``model`` takes arrays with these names and shapes.

    Raises:
        ValueError: if it does not; it names the first difference.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    for name, shape in wanted.items():
        if name not in given:
            raise ValueError(f"it lacks the tensor {name!r}, which the run's model has; it has {_some(given)}")
        if given[name] != shape:
            raise ValueError(f"its tensor {name!r} has the shape {given[name]}, in the run's model it has {shape}")
    if surplus := [name for name in given if name not in wanted]:
        raise ValueError(f"the run's model has no tensor {surplus[0]!r}; it has {_some(wanted)}")


def _some(shapes: Shapes) -> str:
    names = [repr(name) for name in shapes]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
