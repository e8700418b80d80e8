"""Asynchronous training: whoever answers gets the new model at once."""

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
    done = 0
    while done < context.run_config["updates"]:
        for reply in grid.pull_messages(waiting):
            waiting.remove(reply.metadata.reply_to_message_id)
            done += 1
            model += 0.5 * (reply.content["arrays"].to_numpy_ndarrays()[0] - model)
            waiting.update(grid.push_messages([ask(model, reply.metadata.src_node_id, done)]))
