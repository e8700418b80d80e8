"""Asks every node the same question again and again, and counts the errors."""

from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.serverapp import Grid, ServerApp

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    seen = []
    for _ in range(context.run_config["rounds"]):
        for reply in grid.send_and_receive([Message(RecordDict(), node, "query") for node in grid.get_node_ids()]):
            seen.append(reply.error.code * -1 if reply.has_error() else reply.content["count"]["calls"])
    said = RecordDict({"seen": ConfigRecord({"calls": seen}), "none": ArrayRecord()})
    grid.push_messages([Message(said, node, "query") for node in grid.get_node_ids()])
