"""Answers with what it is asked."""

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

import strategy

app = ClientApp()


@app.query()
def query(message: Message, context: Context) -> Message:
    assert message.content["said"]["strategy"] == strategy.OWN
    return Message(message.content, reply_to=message)
