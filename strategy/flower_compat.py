"""Every name of Flower 1.41 that its public API does not promise, in one place.

The rest of ``strategy`` imports from ``flwr.app``, ``flwr.serverapp``, ``flwr.clientapp`` and here. A Flower release
that moves one of these names fails in ``tests/strategy/test_flower_compat.py``, which says which.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, Final

from flwr.app import ArrayRecord, Context, Error, Message, Metadata, RecordDict
from flwr.app.message import make_message
from flwr.common.config import get_project_config
from flwr.common.constant import FAB_CONFIG_FILE, SUPERLINK_NODE_ID, MessageTypeLegacy
from flwr.common.secure_aggregation.secaggplus_constants import RECORD_KEY_CONFIGS as SECAGG_RECORD
from flwr.common.typing import Code
from flwr.compat.common import recorddict_compat
from flwr.compat.common.recorddict_compat import EMPTY_TENSOR_KEY as NO_PARAMETERS
from flwr.proto.node_pb2 import NodeInfo
from flwr.server import server as legacy_server
from flwr.server import strategy as older_strategies
from flwr.server.client_manager import ClientManager
from flwr.server.client_proxy import ClientProxy
from flwr.server.compat import app as legacy_app
from flwr.server.compat import app_utils as legacy_app_utils
from flwr.server.compat.grid_client_proxy import GridClientProxy
from flwr.server.strategy import FedAvg as OlderFedAvg
from flwr.server.strategy import Strategy as OlderStrategy
from flwr.server.workflow import DefaultWorkflow
from flwr.server.workflow.constant import MAIN_PARAMS_RECORD
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result, Strategy
from flwr.serverapp.strategy.fedopt import FedOpt
from flwr.serverapp.strategy.strategy_utils import aggregate_bagging, aggregate_metricrecords
from flwr.supercore import log
from flwr.supercore.date import now
from flwr.supercore.differential_privacy import KEY_CLIPPING_NORM as CLIPPING_NORM
from flwr.supercore.differential_privacy import KEY_NORM_BIT as NORM_BIT
from flwr.supercore.object_ref import load_app
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from protocol.blocks.cid import CID

__all__ = [
    "CLIPPING_NORM",
    "GET_PARAMETERS",
    "NORM_BIT",
    "NO_PARAMETERS",
    "SECAGG_RECORD",
    "SUPERLINK_NODE_ID",
    "ClientManager",
    "ClientProxy",
    "Code",
    "FedOpt",
    "GridClientProxy",
    "NodeInfo",
    "OlderFedAvg",
    "OlderStrategy",
    "Run",
    "adds_up",
    "aggregate_metricrecords",
    "check_project_config",
    "fab_paths",
    "load_app",
    "log",
    "older_strategies",
    "read_older",
    "received_message",
    "recorddict_compat",
    "replace_legacy_machinery",
    "run_number",
    "says_it_failed",
    "server_run",
    "set_message_id",
    "source_hash",
    "strategy_hooks",
    "take_identity",
    "timestamp",
]

GET_PARAMETERS: Final = MessageTypeLegacy.GET_PARAMETERS
"""The type of the message that asks a client of an older app for the first model."""

Exchange = Callable[..., tuple[list[Any], list[Any]]]


def source_hash(*functions: Callable[..., object]) -> str:
    """SHA-256 of the sources of Flower's functions: whoever computes as they do in their place knows those it has
    read."""
    return hashlib.sha256("".join(map(inspect.getsource, functions)).encode()).hexdigest()


# -- messages ------------------------------------------------------------------------------------------------------


def run_number(run: CID) -> int:
    """Flower's integer run id for the run of that run record."""
    return int.from_bytes(run.digest[:8], "big") & (2**63 - 1)


def server_run(number: int) -> Run:
    """The run as a Grid tells it. Flower's other fields are about its SuperLink."""
    return Run.create_empty(number)


def timestamp() -> float:
    """The time as Flower writes it into a reply's metadata."""
    return now().timestamp()


def take_identity(run: int, node: int) -> None:
    """Set who this process is. ``Message(...)`` reads it when the app makes one."""
    TaskIdentity.task_id = 1
    TaskIdentity.run_id = run
    TaskIdentity.node_id = node


def set_message_id(message: Message, message_id: str) -> None:
    """Give a message its id, as Flower's own Grid does on pushing it."""
    message.metadata.__dict__["_message_id"] = message_id


def received_message(metadata: Metadata, content: RecordDict | Error) -> Message:
    """A message as it arrives, with its metadata."""
    if isinstance(content, Error):
        return make_message(metadata=metadata, error=content)
    return make_message(metadata=metadata, content=content)


# -- apps and their configs ----------------------------------------------------------------------------------------


def check_project_config(app_dir: Path) -> None:
    """Check that an app's ``pyproject.toml`` has the fields that Flower requires.

    Raises:
        ValueError: if it lacks one; the message says which.
    """
    try:
        get_project_config(app_dir)
    except (OSError, RecursionError) as error:
        raise ValueError(f"{FAB_CONFIG_FILE} cannot be read: {error}") from error


def fab_paths(files: Mapping[str, Path], config: dict[str, Any]) -> list[str]:
    """Which of a folder's files, by their paths in it, `flwr build` and `flwr run` take besides ``pyproject.toml``,
    which says ``config``: by ``.gitignore``, ``fab-include``, ``fab-exclude`` and Flower's own patterns. The steps of
    ``flwr.cli.build.build_fab_from_files``.

    Raises:
        ValueError: if Flower makes no bundle of the folder; the message says why.
        OSError: if a file cannot be read.
    """
    from flwr.cli.build import get_filtered_fab_paths  # imports a web framework, and few processes come here
    from flwr.cli.utils import filter_paths_for_publish

    published = filter_paths_for_publish(files)
    if FAB_CONFIG_FILE not in published:
        raise ValueError(f"there is no {FAB_CONFIG_FILE}, or its .gitignore names it")
    return get_filtered_fab_paths(published, config)


def says_it_failed(reply: RecordDict) -> bool:
    """Whether it is an older app's answer to a training message that says that the client failed."""
    status = reply.config_records.get("fitres.status")
    return status is not None and status.get("code") != Code.OK.value


def adds_up(data: bytes) -> bool:
    """Whether these bytes are boosted trees that ``FedXgbBagging`` can add to others, and others to them."""
    try:
        aggregate_bagging(data, data)
    except Exception:  # noqa: BLE001  # whatever Flower raises on them, it would raise in the app
        return False
    return bool(data)


def read_older(begin: str, records: RecordDict) -> Any:
    """A client's answer to Flower's older machinery, with a ``status``. The names of its records begin with ``begin``.

    Raises:
        Exception: of any kind, as Flower does if a record or a value in it is missing.
    """
    match begin:
        case "fitres":
            return recorddict_compat.recorddict_to_fitres(records, keep_input=True)
        case "evaluateres":
            return recorddict_compat.recorddict_to_evaluateres(records)
    return recorddict_compat.recorddict_to_getparametersres(records, keep_input=True)


# -- the older server_fn machinery ---------------------------------------------------------------------------------


def replace_legacy_machinery(
    update_client_manager: Callable[..., None], fit_clients: Exchange, evaluate_clients: Exchange
) -> None:
    """Replace Flower's own by these. Flower looks all three up when it calls them."""
    legacy_app_utils._update_client_manager = update_client_manager
    legacy_server.fit_clients = fit_clients
    legacy_server.evaluate_clients = evaluate_clients


Using = Callable[[object, Mapping[str, object]], AbstractContextManager[None]]
"""Entered while a strategy runs, with what its ``start`` was given, by the names that Flower's has for it. Nothing, if
another way runs it."""


@contextmanager
def strategy_hooks(report: Callable[[ArrayRecord], None], using: Using) -> Iterator[None]:
    """Enter ``using`` while a strategy runs, and call ``report`` with its final model, in all three of Flower's ways to
    run a training loop.

    The final model need not pass through the Grid: after a last round without evaluation, nothing sends it.
    """
    workflow = DefaultWorkflow.__call__
    run_fl = legacy_app.run_fl  # type: ignore[attr-defined]  # its global, which it calls

    @wraps(run_fl)
    def hooked_run_fl(server: legacy_server.Server, config: Any) -> Any:
        with using(server.strategy, {}):
            history = run_fl(server, config)
        report(recorddict_compat.parameters_to_arrayrecord(server.parameters, keep_input=True))
        return history

    @wraps(workflow)
    def hooked_workflow(self: DefaultWorkflow, grid: Grid, context: Context) -> None:
        with using(getattr(context, "strategy", None), {}):
            workflow(self, grid, context)
        report(context.state.array_records[MAIN_PARAMS_RECORD])

    legacy_app.run_fl = hooked_run_fl  # type: ignore[attr-defined]  # as above
    DefaultWorkflow.__call__ = hooked_workflow  # type: ignore[method-assign]
    try:
        with _hooked_starts(report, using):
            yield
    finally:
        legacy_app.run_fl = run_fl  # type: ignore[attr-defined]  # as above
        DefaultWorkflow.__call__ = workflow  # type: ignore[method-assign]


@contextmanager
def _hooked_starts(report: Callable[[ArrayRecord], None], using: Using) -> Iterator[None]:
    """The same for ``Strategy.start``, even if an app's own strategy has another ``start``."""
    plain = Strategy.start

    def hooked(start: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(start)
        def hooked_start(self: Strategy, *args: Any, **kwargs: Any) -> Any:
            with using(self, _arguments(plain, args, kwargs)):
                result = start(self, *args, **kwargs)
            if isinstance(result, Result):  # an app's own ``start`` may return anything
                report(result.arrays)
            return result

        return hooked_start

    def wrap_own(strategy: type[Strategy], /, **options: Any) -> None:
        super(Strategy, strategy).__init_subclass__(**options)
        owner = next(base for base in strategy.__mro__ if "start" in vars(base))
        if owner is strategy or not issubclass(owner, Strategy):  # a mixin's
            strategy.start = hooked(strategy.start)  # type: ignore[method-assign]

    Strategy.start = hooked(plain)  # type: ignore[method-assign]
    Strategy.__init_subclass__ = classmethod(wrap_own)  # type: ignore[assignment]
    try:
        yield
    finally:
        Strategy.start = plain  # type: ignore[method-assign]
        del Strategy.__init_subclass__


def _arguments(start: Callable[..., Any], args: Sequence[object], kwargs: Mapping[str, object]) -> dict[str, object]:
    """What ``start`` is given, by the names of its parameters; as much as has one, if it is for another ``start``."""
    names = list(inspect.signature(start).parameters)[1:]
    return dict(zip(names, args, strict=False)) | dict(kwargs)
