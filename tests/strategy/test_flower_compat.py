"""Each private name of Flower that Pollen relies on, so that a new Flower shows at once which one moved."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata

import pytest
from flower_files import noted, relied_on
from flwr.app import ArrayRecord, Message, Metadata, RecordDict

from strategy import flower_compat

USED: list[object] = []


@contextmanager
def used(strategy: object, _: Mapping[str, object]) -> Iterator[None]:
    """Keep which strategies run."""
    USED.append(strategy)
    yield
    USED.append(None)


@pytest.mark.parametrize("path", sorted(relied_on()))
def test_a_file_of_flower_that_we_rely_on_is_as_it_was_read(path: str) -> None:
    """A new release fails here, with the files that it changed. Most changes are none to us; some move a strategy's
    arithmetic, which `strategy.replies` and `strategy.replay.flower_rounding` tell once more."""
    version, known = metadata.version("flwr"), noted().get(path, {})
    assert relied_on()[path] in known, (
        f"flwr {version} has another {path} than the releases that were read ({', '.join(known.values()) or 'none'}). "
        f"Read what changed; adapt strategy/flower_compat.py and what retells Flower; widen flwr in pyproject.toml; "
        f"then python tests/strategy/flower_files.py"
    )


def test_no_file_that_was_relied_on_is_gone() -> None:
    assert noted().keys() <= relied_on().keys()


@pytest.mark.parametrize(
    "name", ["flwr.serverapp.strategy:FedAvg._check_and_log_replies", "flwr.serverapp.strategy:FedAvg.aggregate_train"]
)
def test_flower_has_the_methods_whose_definer_is_looked_up_by_name(name: str) -> None:
    module, _, attributes = name.partition(":")
    found: object = importlib.import_module(module)
    for attribute in attributes.split("."):
        assert hasattr(found, attribute), f"this Flower has no {name}: see strategy/replies/strategies_in_use.py"
        found = getattr(found, attribute)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("flwr.server.compat.app_utils:_update_client_manager", ["grid", "client_manager", "f_stop", "c_done"]),
        ("flwr.server.server:fit_clients", ["client_instructions", "max_workers", "timeout", "group_id"]),
        ("flwr.server.server:evaluate_clients", ["client_instructions", "max_workers", "timeout", "group_id"]),
        ("flwr.server.compat.app:run_fl", ["server", "config"]),
        ("flwr.supercore.object_ref:load_app", ["module_attribute_str", "error_type", "project_dir"]),
    ],
)
def test_what_is_replaced_or_called_has_the_parameters_it_had(name: str, parameters: list[str]) -> None:
    module, _, attribute = name.partition(":")
    function = getattr(importlib.import_module(module), attribute)

    assert list(inspect.signature(function).parameters) == parameters


def test_our_error_codes_are_flowers() -> None:
    from flwr.common.constant import ErrorCode as Flowers

    from protocol.app.calls import ErrorCode

    assert {code.name: getattr(Flowers, code.name) for code in ErrorCode} == {code.name: code for code in ErrorCode}


def test_a_message_takes_its_id_and_its_metadata() -> None:
    metadata = Metadata(1, "id", 1, 2, "", "group", 3.0, 4.0, "train")
    message = flower_compat.received_message(metadata, RecordDict())
    flower_compat.set_message_id(message, "other")

    assert message.metadata.message_id == "other"
    assert (message.metadata.created_at, message.metadata.group_id, message.has_content()) == (3.0, "group", True)


def test_a_message_that_the_app_makes_has_the_processs_identity() -> None:
    flower_compat.take_identity(7, 1)

    metadata = Message(RecordDict(), 5, "train").metadata

    assert (metadata.run_id, metadata.src_node_id) == (7, 1)


def test_the_final_model_of_a_strategy_is_reported_and_the_hook_goes_away() -> None:
    from flwr.serverapp.strategy import FedAvg, Strategy

    models: list[ArrayRecord] = []
    before = Strategy.start
    with flower_compat.strategy_hooks(models.append, used):
        strategy = FedAvg()
        result = strategy.start(None, ArrayRecord(), num_rounds=0)  # type: ignore[arg-type]

    assert models == [result.arrays]
    assert USED[-2:] == [strategy, None]
    assert Strategy.start is before


def test_the_final_model_of_a_strategy_with_a_start_of_its_own_is_reported() -> None:
    from flwr.serverapp.strategy import FedAvg, Result

    final = ArrayRecord()
    models: list[ArrayRecord] = []
    with flower_compat.strategy_hooks(models.append, used):

        class Mixed:
            def start(self) -> Result:
                return Result(arrays=final)

        class Own(Mixed, FedAvg):  # type: ignore[misc]  # another signature than Flower's, as apps have it
            pass

        class Odd(FedAvg):
            def start(self) -> None:  # type: ignore[override]
                pass

        Own().start()
        Odd().start()

    assert [model is final for model in models] == [True]
