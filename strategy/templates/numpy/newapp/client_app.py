"""What a client does with a model that it was sent."""

from flwr.app import Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from . import data, model

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """Train the model on this client's examples, and send it back."""
    examples, _ = data.load(int(context.node_config["partition-id"]))
    mine = model.from_record(message.content.array_records["arrays"])
    for _epoch in range(int(context.run_config["local-epochs"])):
        mine = model.train(mine, examples, float(context.run_config["learning-rate"]))
    loss, _ = model.evaluate(mine, examples)
    metrics = MetricRecord({"num-examples": len(examples[1]), "train-loss": loss})
    return Message(RecordDict({"arrays": model.to_record(mine), "metrics": metrics}), reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Say how good the model is on examples that this client does not train on."""
    _, examples = data.load(int(context.node_config["partition-id"]))
    loss, accuracy = model.evaluate(model.from_record(message.content.array_records["arrays"]), examples)
    metrics = MetricRecord({"num-examples": len(examples[1]), "loss": loss, "accuracy": accuracy})
    return Message(RecordDict({"metrics": metrics}), reply_to=message)
