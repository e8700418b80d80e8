"""Running a ServerApp in the app process."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path

from flwr.app import ArrayRecord, Context, RecordDict
from flwr.serverapp import ServerApp

from protocol.app.calls import Diverged, Finished, Progress, Replayed, Start
from protocol.blocks.cid import CID
from protocol.blocks.content import ContentKey
from protocol.replay.differences import Cause
from strategy.apps.config import read_app
from strategy.contents.arrays import as_it_is
from strategy.contents.codec import DEFAULT_LIMITS, ContentStore, ContentWriter, Limits, decode
from strategy.contents.difference import difference
from strategy.contents.kept_replies import KeptReplies
from strategy.contents.sent_arrays import SentArrays
from strategy.flower_compat import load_app, log, run_number, server_run, strategy_hooks, take_identity
from strategy.grid import PollenGrid
from strategy.grid_answers import LiveAnswers, RunStopped, ServerPipe
from strategy.hosting.app_error_fixes import fix_for
from strategy.hosting.column_blocks import column_blocks
from strategy.hosting.host import GuardedStore, describe, out_of_sight, set_aside, sleeping_only_if, working_in
from strategy.hosting.legacy_shim import install_legacy_shim
from strategy.hosting.paged_distances import paged_distances
from strategy.hosting.seeds import seed_generators
from strategy.models.initial_model import initial_state
from strategy.models.outgoing_model import SpoiledModel
from strategy.replay.anchoring import Anchoring
from strategy.replay.another_place import another_place
from strategy.replay.own_code import FlowersCode
from strategy.replay.scripted_answers import Divergence, ScriptedAnswers, ScriptOver
from strategy.replies.sent_layouts import SentLayouts
from strategy.replies.strategies_in_use import StrategiesInUse

FINAL_MODEL: str = "arrays"
"""The one record of a final model's content."""


def run_server_app(
    app_dir: Path,
    start: Start,
    pipe: ServerPipe,
    store: ContentStore,
    scratch: Path,
    limits: Limits = DEFAULT_LIMITS,
    kept: KeptReplies | None = None,
    layouts: SentLayouts | None = None,
) -> Finished | Diverged | Replayed:
    """Run the ServerApp of an app's folder to its end. `strategy.hosting.host.prepare` comes first.

    The `Finished` says what the app raised; the traceback is in Flower's log. ``scratch`` is the folder for the app's
    own files, and begins empty. ``kept`` holds replies that were examined, and ``layouts`` gets what they are compared
    with. A scripted run that differs from its script gives a `Diverged`, whatever the app does next. One that reaches
    the end of a script that does not go on gives a `Replayed`.

    Raises:
        RunStopped: if the peer or its engine is gone. The run is unfinished.
    """
    guarded = GuardedStore(store)
    models: list[ArrayRecord] = []
    number = run_number(start.run)
    sent = SentArrays(scratch.absolute())
    live = LiveAnswers(pipe, start.key, any_model=start.any_model)
    strategies = StrategiesInUse()
    script = ScriptedAnswers(pipe, live, start.may_differ) if start.scripted else None

    may_differ = start.may_differ is not Cause.NOTHING or start.changes_environment
    anchoring = Anchoring(script, guarded, limits) if script is not None and may_differ else None

    @contextmanager
    def using(strategy: object, arguments: Mapping[str, object]) -> Iterator[None]:
        with strategies.using(strategy), anchoring.watching(strategy, arguments) if anchoring else nullcontext():
            yield

    def ended(model: ArrayRecord) -> None:
        models[:] = [as_it_is(model)]  # what the app does to it later has no part in it

    def tell(line: str) -> None:
        if script is None or script.is_over:
            pipe.send(Progress(line))

    with (
        out_of_sight(),
        working_in(set_aside(scratch)),
        strategy_hooks(ended, using),
        sleeping_only_if(lambda: script is None or script.is_over),
        paged_distances(scratch.absolute(), lambda: sent.hides),
        column_blocks(),
        another_place() if start.elsewhere else nullcontext(),
    ):
        install_legacy_shim()
        take_identity(number, start.node)
        answers = script or live
        grid = PollenGrid(
            server_run(number), answers, guarded, limits, kept, tell, strategies, anchoring, sent, layouts
        )
        context = _context(start, number, initial_state(start.initial_model, guarded, limits))
        if anchoring is not None:
            anchoring.look_at(FlowersCode(grid, app_dir))
        seed_generators(start.seed)
        try:
            error = _run(app_dir, grid, context)
            if fault := grid.spoiled or ("" if error else grid.fault(models[-1] if models else None)):
                log(logging.ERROR, "%s", fault)
                error = fault
                models.clear()
            if script is not None:
                _compare_end(script, models, guarded, error, anchoring)
        except Divergence as divergence:
            divergence.tell()
            return divergence.verdict()
        except ScriptOver:
            guarded.check()
            return Replayed()
        guarded.check()
        return _finish(live, models, guarded, error)


def _run(app_dir: Path, grid: PollenGrid, context: Context) -> str:
    """Run the app. Returns what it raised; empty if it returned."""
    try:
        _load(app_dir)(grid, context)
    except (RunStopped, Divergence, ScriptOver):
        raise
    except SpoiledModel:
        return ""  # the Grid remembers
    except BaseException as raised:  # noqa: BLE001  # whatever the app raises is its own, a KeyboardInterrupt too
        log(logging.ERROR, "The ServerApp raised an exception", exc_info=raised)
        return describe(raised, fix_for(raised))
    return ""


def _finish(live: LiveAnswers, models: list[ArrayRecord], store: ContentStore, error: str) -> Finished:
    """Tell the peer how the app ended. The final model is written again if another epoch has begun meanwhile."""
    while True:
        key = live.key()
        answer = live.finish(_store_model(models, store, key), error, key)
        if isinstance(answer, Finished):
            return answer


def _compare_end(
    script: ScriptedAnswers, models: list[ArrayRecord], store: GuardedStore, error: str, anchoring: Anchoring | None
) -> None:
    """Raise Divergence if the app, or its final model, did not come to the recorded end."""
    key = script.key()
    model = _store_model(models, store, key)
    recorded = script.finish(model, error)
    if recorded is not None:
        was = decode(recorded, store.open(recorded), key)
        ours = RecordDict({FINAL_MODEL: models[-1]})
        if anchoring is None:
            script.differs(difference(was, ours), model)
        else:
            found, goes_on = anchoring.of_final_model(was, ours)
            script.differs(found, model, goes_on=goes_on)


def _load(app_dir: Path) -> ServerApp:
    reference = read_app(app_dir).server
    app = load_app(reference, ImportError, app_dir)
    if not isinstance(app, ServerApp):
        raise TypeError(f"{reference} is a {type(app).__name__}, not a ServerApp")
    return app


def _context(start: Start, number: int, state: RecordDict) -> Context:
    return Context(
        run_id=number,
        node_id=start.node,
        node_config=dict(start.node_config),
        state=state,
        run_config=dict(start.run_config),
    )


def _store_model(models: list[ArrayRecord], store: ContentStore, key: ContentKey | None) -> CID | None:
    if not models:
        return None
    return ContentWriter(store).write(RecordDict({FINAL_MODEL: models[-1]}), key)
