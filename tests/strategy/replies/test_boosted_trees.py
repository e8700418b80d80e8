"""Which bytes are boosted trees, compared with what Flower's own code makes of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from flwr.server.strategy.fedxgb_bagging import aggregate as older_aggregate
from flwr.serverapp.strategy.strategy_utils import aggregate_bagging

from strategy.replies import boosted_trees as trees
from strategy.replies.boosted_trees import are_trees

Spoil = Callable[[dict[str, Any]], object]


def model(count: int = 2) -> dict[str, Any]:
    """As much of a model of XGBoost as Flower reads, and something that it does not."""
    one = {"id": 0, "left_children": [1, -1, -1], "split_conditions": [0.5, 0.1, -0.1]}
    booster = {
        "gbtree_model_param": {"num_trees": str(count), "num_parallel_tree": "1"},
        "iteration_indptr": list(range(count + 1)),
        "tree_info": [0] * count,
        "trees": [{**one, "id": number} for number in range(count)],
    }
    return {"learner": {"gradient_booster": {"model": booster, "name": "gbtree"}}, "version": [2, 0, 0]}


def saved(model: object) -> bytes:
    return json.dumps(model).encode()


def raises(first: bytes, added: bytes) -> bool:
    """Whether Flower takes them, in both of its machineries."""
    found = []
    for aggregate in (aggregate_bagging, older_aggregate):
        try:
            aggregate(first, added)
            found.append(False)
        except Exception:  # noqa: BLE001  # the question is whether there is any
            found.append(True)
    assert len(set(found)) == 1
    return found[0]


def booster_of(model: dict[str, Any]) -> dict[str, Any]:
    booster: dict[str, Any] = model["learner"]["gradient_booster"]["model"]
    return booster


def without(name: str) -> Spoil:
    return lambda model: booster_of(model).pop(name)


def parameter(name: str, value: object) -> Spoil:
    return lambda model: booster_of(model)["gbtree_model_param"].update({name: value})


def part(name: str, value: object) -> Spoil:
    return lambda model: booster_of(model).update({name: value})


ODD: dict[str, Spoil] = {
    "no learner": lambda model: model.pop("learner"),
    "a list for the learner": lambda model: model.update(learner=[]),
    **{f"no {name}": without(name) for name in ("gbtree_model_param", "trees", "tree_info", "iteration_indptr")},
    "no number of trees": parameter("num_trees", "many"),
    "an infinite number of trees": parameter("num_trees", float("inf")),
    "a number of trees that Python does not write": parameter("num_trees", "9" * 4300),
    "a number of trees that Python does not read": parameter("num_trees", "9" * 4301),
    "more parallel trees than there are": parameter("num_parallel_tree", "3"),
    "trees that are none": part("trees", [1, 2]),
    "trees by name": part("trees", {"0": {}}),
    "no start": part("iteration_indptr", []),
    "a start that is a text": part("iteration_indptr", ["0"]),
    "a text for the info": part("tree_info", "00"),
}


def test_a_model_of_xgboost_is_taken() -> None:
    assert not raises(saved(model()), saved(model(3)))
    assert are_trees(saved(model()))


@pytest.mark.parametrize("name", ODD)
def test_what_flower_would_raise_on_is_none(name: str) -> None:
    odd = model()
    ODD[name](odd)

    assert raises(saved(model()), saved(odd)) or raises(saved(odd), saved(model()))
    assert not are_trees(saved(odd))


@pytest.mark.parametrize(
    "data", [b"", b"no JSON", b"{", b"[]", b"{}", b"\x93NUMPY", b'{"learner": "\xff"}', b"{" * 9999]
)
def test_bytes_that_are_no_json_of_a_model_are_none(data: bytes) -> None:
    assert raises(saved(model()), data)
    assert not are_trees(data)


def test_what_nests_too_deep_is_none() -> None:
    """Flower reads it from a deeper stack than we do, and writes it again."""
    for depth, taken in ((trees.MAX_DEPTH // 2, True), (trees.MAX_DEPTH, False), (2_000, False)):
        nested = saved(model()).replace(b"[2, 0, 0]", b"[" * depth + b"]" * depth)
        assert are_trees(nested) is taken


@pytest.mark.parametrize("much", [b"[],", b"{},", b"1,"])
def test_more_than_the_limits_is_not_read(much: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(data: bytes) -> None:
        raise AssertionError(f"{len(data)} bytes were read")

    monkeypatch.setattr(json, "loads", read)
    more = 1 + (trees.MAX_VALUES if much == b"1," else trees.MAX_PARTS)
    assert not are_trees(b'{"learner": [' + much * more + b"1]}")
