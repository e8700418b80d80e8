"""Flower's older workflow, begun with what a client has; for `Counting` clients with a strategy of its own."""

import numpy as np
from flwr.app import Context
from flwr.common import ndarrays_to_parameters, parameters_to_ndarrays
from flwr.server import LegacyContext, ServerConfig
from flwr.server.strategy import FedAvg
from flwr.server.workflow import DefaultWorkflow
from flwr.serverapp import Grid, ServerApp

app = ServerApp()


class SumOfHistograms(FedAvg):
    """Sends out what it has summed up, as text beside the numbers; it evaluates nothing."""

    def aggregate_fit(self, server_round, results, failures):
        answers = [parameters_to_ndarrays(answer.parameters) for _, answer in results]
        lengths, widths = sum(answer[0] for answer in answers), sum(answer[1] for answer in answers)
        return ndarrays_to_parameters(np.concatenate((["lengths"], lengths, ["widths"], widths))), {}


@app.main()
def main(grid: Grid, context: Context) -> None:
    counting = context.run_config["kind"] == "counting"
    strategy = SumOfHistograms(fraction_evaluate=0.0) if counting else FedAvg()
    config = ServerConfig(num_rounds=3)
    DefaultWorkflow()(grid, LegacyContext(context=context, config=config, strategy=strategy))
