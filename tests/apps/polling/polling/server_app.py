"""Asynchronous training: whoever answers gets the new model at once. How often it pulled in vain goes into it too."""

import random
import time

import numpy as np
from flwr.app import ArrayRecord, Context, Message, RecordDict
from flwr.serverapp import Grid, ServerApp

app = ServerApp()


def ask(model, node, number):
    return Message(RecordDict({"arrays": ArrayRecord([model])}), node, "train", group_id=str(number))


@app.main()
def main(grid: Grid, context: Context) -> None:
    model = np.random.randn(50)
    waiting = set(grid.push_messages(ask(model, node, 0) for node in grid.get_node_ids()))
    done = polls = 0
    while done < context.run_config["updates"]:
        polls += 1
        for reply in grid.pull_messages(waiting):
            waiting.remove(reply.metadata.reply_to_message_id)
            done += 1
            step = 0.5 / polls if context.run_config["count"] else 0.5
            model += step * (reply.content["arrays"].to_numpy_ndarrays()[0] - model)
            waiting.update(grid.push_messages([ask(model, reply.metadata.src_node_id, done)]))
        time.sleep(random.uniform(0, context.run_config["pause"]))
