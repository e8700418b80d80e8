"""FedAvg of an app's own that makes a NaN of its model after some round; clients say what they weigh."""

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

server = ServerApp()
client = ClientApp()


class Losing(FedAvg):
    after = 0

    def aggregate_train(self, server_round, replies):
        arrays, metrics = super().aggregate_train(server_round, replies)
        if server_round == self.after:
            model = arrays["w"].numpy()
            model[-1] = np.nan
            arrays = ArrayRecord({"w": Array(model)})
        return arrays, metrics


@server.main()
def main(grid: Grid, context: Context) -> None:
    config = context.run_config
    strategy = Losing(fraction_evaluate=0.0)
    strategy.after = config["after"]
    model = np.zeros(4)
    model[0] = np.nan if config["masked"] else 0.0
    try:
        strategy.start(grid, ArrayRecord({"w": Array(model)}), num_rounds=config["rounds"])
    except BaseException:
        if not config["swallow"]:
            raise


@client.train()
def train(message: Message, context: Context) -> Message:
    arrays = ArrayRecord({"w": Array(message.content["arrays"]["w"].numpy() + 1)})
    metrics = MetricRecord({"num-examples": context.run_config["weight"]})
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)
