"""The client's half of the app."""

from __future__ import annotations

from collections.abc import Callable

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.clientapp.mod import adaptiveclipping_mod, fixedclipping_mod
from torch import nn

from .datasets import SHAPES
from .models import build_model
from .names import StrategyName
from .partitions import client_data
from .settings import MAX_FACTOR, ClientSettings, client_settings, learning_rate, real
from .strategies import EQUAL_WEIGHT
from .training import Examples
from .training import evaluate as evaluate_model
from .training import train as train_model

app = ClientApp()


def clip(message: Message, context: Context, answer: Callable[[Message, Context], Message]) -> Message:
    """Flower's client-side clipping, if the run's strategy needs it."""
    match context.run_config.get("strategy"):
        case StrategyName.DP_CLIENT_FIXED:
            return fixedclipping_mod(message, context, answer)
        case StrategyName.DP_CLIENT_ADAPTIVE:
            return adaptiveclipping_mod(message, context, answer)
        case _:
            return answer(message, context)


@app.train(mods=[clip])
def train(message: Message, context: Context) -> Message:
    """Train the server's model on this client's examples, and answer with the new weights."""
    settings = client_settings(context.run_config, context.node_config)
    examples = _on_device(client_data(settings.share).train, settings)
    model = _received_model(message, settings)
    config = message.content.config_records["config"]
    loss = train_model(
        model,
        examples,
        lr=learning_rate(config),
        momentum=settings.momentum,
        epochs=settings.local_epochs,
        batch_size=settings.batch_size,
        proximal_mu=real({"proximal-mu": 0.0, **config}, "proximal-mu", least=0.0, most=MAX_FACTOR),
    )
    weights = ArrayRecord({name: tensor.cpu() for name, tensor in model.state_dict().items()})
    metrics = _metrics(settings, examples, {"train_loss": loss})
    return Message(RecordDict({"arrays": weights, "metrics": metrics}), reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Evaluate the server's model on examples that this client never trains on."""
    settings = client_settings(context.run_config, context.node_config)
    examples = _on_device(client_data(settings.share).held_out, settings)
    loss, accuracy = evaluate_model(_received_model(message, settings), examples)
    metrics = _metrics(settings, examples, {"loss": loss, "accuracy": accuracy})
    return Message(RecordDict({"metrics": metrics}), reply_to=message)


def _received_model(message: Message, settings: ClientSettings) -> nn.Module:
    model = build_model(settings.model, SHAPES[settings.share.dataset])
    model.load_state_dict(message.content.array_records["arrays"].to_torch_state_dict())
    return model.to(settings.device)


def _on_device(examples: Examples, settings: ClientSettings) -> Examples:
    images, labels = examples
    return images.to(settings.device), labels.to(settings.device)


def _metrics(settings: ClientSettings, examples: Examples, values: dict[str, float]) -> MetricRecord:
    record = MetricRecord({**values, "num-examples": len(examples[1])})
    if settings.strategy.is_private:
        record[EQUAL_WEIGHT] = 1.0
    return record
