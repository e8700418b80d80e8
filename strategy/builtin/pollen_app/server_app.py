"""The server's half of the app."""

from __future__ import annotations

from collections.abc import Callable

from flwr.app import ArrayRecord, ConfigRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp
from torch import nn

from .datasets import SHAPES, Split, load
from .initial import initial_arrays
from .models import build_model
from .partitions import as_examples
from .settings import ServerSettings, server_settings
from .strategies import build_strategy
from .training import evaluate

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Train a model, new or given, over the run's rounds."""
    settings = server_settings(context.run_config, context.node_config)
    strategy = build_strategy(str(context.run_config["strategy"]), context.run_config)
    model = build_model(settings.model, SHAPES[settings.dataset])
    strategy.start(
        grid=grid,
        initial_arrays=initial_arrays(model, context.state),
        num_rounds=settings.rounds,
        timeout=settings.round_timeout,
        train_config=ConfigRecord({"lr": settings.lr}),
        evaluate_fn=_central_evaluation(settings, model) if settings.central_evaluation else None,
    )


def _central_evaluation(settings: ServerSettings, model: nn.Module) -> Callable[[int, ArrayRecord], MetricRecord]:
    """An evaluation, in ``model``, on the dataset's test set, which no client trains on. Draws nothing at random."""
    test = as_examples(load(settings.dataset, Split.TEST, settings.data_dir))

    def evaluate_round(_round: int, arrays: ArrayRecord) -> MetricRecord:
        model.load_state_dict(arrays.to_torch_state_dict())
        loss, accuracy = evaluate(model, test)
        return MetricRecord({"loss": loss, "accuracy": accuracy, "num-examples": len(test[1])})

    return evaluate_round
