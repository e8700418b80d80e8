"""What a client does with a model that it was sent."""

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from . import data, model

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """Train the model on this client's examples, and send it back."""
    batches, _ = data.load(int(context.node_config["partition-id"]))
    net = received(message)
    epochs, rate = int(context.run_config["local-epochs"]), float(context.run_config["learning-rate"])
    loss = model.train(net, batches, epochs, rate)
    metrics = MetricRecord({"num-examples": examples_in(batches), "train-loss": loss})
    return Message(RecordDict({"arrays": ArrayRecord(net.state_dict()), "metrics": metrics}), reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Say how good the model is on examples that this client does not train on."""
    _, batches = data.load(int(context.node_config["partition-id"]))
    loss, accuracy = model.evaluate(received(message), batches)
    metrics = MetricRecord({"num-examples": examples_in(batches), "loss": loss, "accuracy": accuracy})
    return Message(RecordDict({"metrics": metrics}), reply_to=message)


def received(message: Message) -> model.Net:
    """The model that the message brings."""
    net = model.Net()
    net.load_state_dict(message.content.array_records["arrays"].to_torch_state_dict())
    return net


def examples_in(batches: data.Batches) -> int:
    """How many examples there are, by which Flower weights what a client sends."""
    return sum(len(labels) for _, labels in batches)
