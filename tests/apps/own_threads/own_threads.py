"""Asks each node in a thread of the app's own; by its mode, it does the same thing twice or it does not.

map: takes the results in the order of the nodes. looks: each thread looks at the nodes first. pool: takes them in the
order in which they come. clock, uuid, day, name: sends what it reads there.
"""

import os
import time
import uuid
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import date

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp

server = ServerApp()
client = ClientApp()
STEP = 0.05
"""Seconds by which a pool's later nodes come before its earlier ones, or after them if POOL_IN_ORDER is set."""


@server.main()
def main(grid: Grid, context: Context) -> None:
    mode = context.run_config["mode"]
    model = np.zeros(50)
    nodes = list(grid.get_node_ids())

    def ask(number, place, model):
        if mode == "looks":
            assert nodes[place] in grid.get_node_ids()
        day, name = date.today().isoformat(), os.uname().nodename
        said = {"clock": time.time(), "uuid": uuid.uuid4().int % 1000, "day": day, "name": name}.get(mode, number)
        content = RecordDict({"arrays": ArrayRecord([model]), "config": ConfigRecord({"said": said})})
        (reply,) = grid.send_and_receive([Message(content, nodes[place], "train", group_id=str(number))])
        if mode == "pool":
            time.sleep(STEP * (place if "POOL_IN_ORDER" in os.environ else len(nodes) - place))
        return reply.content["arrays"].to_numpy_ndarrays()[0]

    for number in range(context.run_config["rounds"]):
        with ThreadPoolExecutor(len(nodes)) as pool:
            asked = [pool.submit(ask, number, place, model) for place in range(len(nodes))]
            for done in as_completed(asked) if mode == "pool" else asked:
                model = model * 0.7 + done.result()


@client.train()
def train(message: Message, context: Context) -> Message:
    (model,) = message.content["arrays"].to_numpy_ndarrays()
    return Message(RecordDict({"arrays": ArrayRecord([model + np.random.randn(50)])}), reply_to=message)
