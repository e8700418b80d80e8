"""Each private name of Flower that Pollen relies on, so that a new Flower shows at once which one moved."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest
from flwr.app import ArrayRecord, Message, Metadata, RecordDict

from strategy import flower_compat

USED: list[object] = []


@contextmanager
def used(strategy: object, _: Mapping[str, object]) -> Iterator[None]:
    """Keep which strategies run."""
    USED.append(strategy)
    yield
    USED.append(None)


NAMES = [
    "flwr.app.message:make_message",
    "flwr.common.config:flatten_dict",
    "flwr.common.config:fuse_dicts",
    "flwr.common.config:get_project_config",
    "flwr.common.config:parse_config_args",
    "flwr.common.constant:MessageTypeLegacy.GET_PARAMETERS",
    "flwr.common.constant:SUPERLINK_NODE_ID",
    "flwr.common.constant:ErrorCode.LOAD_CLIENT_APP_EXCEPTION",
    "flwr.common.constant:ErrorCode.CLIENT_APP_RAISED_EXCEPTION",
    "flwr.common.constant:ErrorCode.MESSAGE_UNAVAILABLE",
    "flwr.common.constant:ErrorCode.REPLY_MESSAGE_UNAVAILABLE",
    "flwr.common.constant:ErrorCode.NODE_UNAVAILABLE",
    "flwr.common.constant:ErrorCode.CLIENT_APP_CRASHED",
    "flwr.common.secure_aggregation.secaggplus_constants:RECORD_KEY_CONFIGS",
    "flwr.common.typing:Code.OK",
    "flwr.compat.common.recorddict_compat:parameters_to_arrayrecord",
    "flwr.compat.common.recorddict_compat:fitins_to_recorddict",
    "flwr.compat.common.recorddict_compat:EMPTY_TENSOR_KEY",
    "flwr.compat.common.recorddict_compat:recorddict_to_fitres",
    "flwr.compat.common.recorddict_compat:recorddict_to_getparametersres",
    "flwr.server.strategy:FaultTolerantFedAvg.aggregate_fit",
    "flwr.serverapp.strategy:FedAvg._check_and_log_replies",
    "flwr.serverapp.strategy:FedAvg.aggregate_train",
    "flwr.serverapp.strategy.fedopt:FedOpt",
    "flwr.serverapp.strategy.strategy_utils:aggregate_metricrecords",
    "flwr.supercore.differential_privacy:KEY_CLIPPING_NORM",
    "flwr.supercore.differential_privacy:KEY_NORM_BIT",
    "flwr.compat.common.recorddict_compat:evaluateins_to_recorddict",
    "flwr.compat.common.recorddict_compat:recorddict_to_evaluateres",
    "flwr.proto.node_pb2:NodeInfo",
    "flwr.server.client_manager:ClientManager",
    "flwr.server.client_proxy:ClientProxy",
    "flwr.server.compat.app:run_fl",
    "flwr.server.compat.app_utils:_update_client_manager",
    "flwr.server.compat.grid_client_proxy:GridClientProxy",
    "flwr.server.server:fit_clients",
    "flwr.server.server:evaluate_clients",
    "flwr.server.workflow:DefaultWorkflow.__call__",
    "flwr.server.workflow.constant:MAIN_PARAMS_RECORD",
    "flwr.serverapp.strategy:Strategy.start",
    "flwr.supercore:log",
    "flwr.supercore.date:now",
    "flwr.supercore.object_ref:load_app",
    "flwr.supercore.run:Run.create_empty",
    "flwr.supercore.task_identity:TaskIdentity",
]


@pytest.mark.parametrize("name", NAMES)
def test_flower_has_the_name(name: str) -> None:
    module, _, attributes = name.partition(":")
    found: object = importlib.import_module(module)
    for attribute in attributes.split("."):
        assert hasattr(found, attribute), f"this Flower has no {name}: see strategy/flower_compat.py"
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
