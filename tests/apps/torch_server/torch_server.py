"""A strategy of its own, which trains on the server too and keeps state there, in torch."""

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from torch import nn

server = ServerApp()
client = ClientApp()


def network():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 6, 10))


def trained(model):
    """A network with these weights, one epoch later, and its loss."""
    net = network()
    net.load_state_dict(model.to_torch_state_dict())
    examples = torch.utils.data.TensorDataset(torch.randn(32, 1, 8, 8), torch.randint(0, 10, (32,)))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    total = 0.0
    for images, labels in torch.utils.data.DataLoader(examples, batch_size=8, shuffle=True):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(images), labels)
        loss.backward()
        optimizer.step()
        total += loss.item()
    return ArrayRecord(net.state_dict()), total


class FineTuned(FedAvg):
    """Trains the sum once more, less the longer it goes."""

    seen = 0.0

    def aggregate_train(self, server_round, replies):
        model, metrics = super().aggregate_train(server_round, replies)
        tuned, loss = trained(model)
        self.seen += loss
        weight = 1 / (1 + self.seen)
        mixed = {
            key: torch.lerp(old.to(torch.float32), new.to(torch.float32), weight).to(old.dtype)
            for (key, old), new in zip(
                model.to_torch_state_dict().items(), tuned.to_torch_state_dict().values(), strict=True
            )
        }
        return ArrayRecord(mixed), metrics


@server.main()
def main(grid: Grid, context: Context) -> None:
    strategy = FineTuned(fraction_train=0.7, min_train_nodes=2, min_available_nodes=3)
    strategy.start(grid, ArrayRecord(network().state_dict()), num_rounds=context.run_config["rounds"])


@client.train()
def train(message: Message, context: Context) -> Message:
    model, loss = trained(message.content["arrays"])
    metrics = MetricRecord({"loss": loss, "num-examples": 32})
    return Message(RecordDict({"arrays": model, "metrics": metrics}), reply_to=message)


@client.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    metrics = MetricRecord({"drawn": float(torch.rand(())), "num-examples": 32})
    return Message(RecordDict({"metrics": metrics}), reply_to=message)
