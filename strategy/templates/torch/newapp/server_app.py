"""The first model, and the strategy."""

from flwr.app import ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from .model import Net

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the rounds."""
    clients = int(context.run_config["min-clients"])
    strategy = FedAvg(min_train_nodes=clients, min_evaluate_nodes=clients, min_available_nodes=clients)
    first = ArrayRecord(Net().state_dict())
    strategy.start(grid, first, num_rounds=int(context.run_config["num-server-rounds"]))
