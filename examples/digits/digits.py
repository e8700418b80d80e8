"""A Flower app of 40 lines: softmax regression on scikit-learn's digits. It knows nothing of Pollen."""

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from sklearn.datasets import load_digits

server = ServerApp()
client = ClientApp()


@server.main()
def main(grid: Grid, context: Context) -> None:
    model = ArrayRecord({"weight": Array(np.zeros((64, 10))), "bias": Array(np.zeros(10))})
    config = ConfigRecord({"learning-rate": context.run_config["learning-rate"]})
    FedAvg().start(grid, model, num_rounds=context.run_config["num-server-rounds"], train_config=config)


def digits_and_scores(message: Message, context: Context):
    """This node's digits, and what the model it was sent makes of them."""
    images, labels = load_digits(return_X_y=True)
    part = slice(context.node_config["partition-id"], None, context.node_config["num-partitions"])
    images, labels = images[part] / 16, labels[part]
    weight, bias = (message.content["arrays"][name].numpy() for name in ("weight", "bias"))
    scores = np.exp(images @ weight + bias)
    return images, labels, weight, bias, scores / scores.sum(axis=1, keepdims=True)


@client.train()
def train(message: Message, context: Context) -> Message:
    images, labels, weight, bias, scores = digits_and_scores(message, context)
    slope = (scores - np.eye(10)[labels]) / len(labels) * message.content["config"]["learning-rate"]
    arrays = ArrayRecord({"weight": Array(weight - images.T @ slope), "bias": Array(bias - slope.sum(axis=0))})
    return Message(
        RecordDict({"arrays": arrays, "metrics": MetricRecord({"num-examples": len(labels)})}), reply_to=message
    )


@client.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    _, labels, _, _, scores = digits_and_scores(message, context)
    accuracy = float(np.mean(scores.argmax(axis=1) == labels))
    metrics = MetricRecord({"num-examples": len(labels), "accuracy": accuracy})
    return Message(RecordDict({"metrics": metrics}), reply_to=message)
