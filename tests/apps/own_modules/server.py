"""Imports modules that are named like Pollen's packages, one of them late."""

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.serverapp import Grid, ServerApp

import strategy

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    import crypto

    try:
        import protocol
    except ModuleNotFoundError:
        protocol = None
    said = ConfigRecord(
        {"strategy": strategy.OWN, "crypto": crypto.OWN, "protocol": protocol is not None or crypto.SEES_PROTOCOL}
    )
    nodes = list(grid.get_node_ids())
    replies = grid.send_and_receive([Message(RecordDict({"said": said}), node, "query") for node in nodes])
    assert [dict(reply.content["said"]) for reply in replies] == [dict(said)] * len(nodes)
