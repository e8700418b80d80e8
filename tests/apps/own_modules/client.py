"""Answers with what it is asked."""

import strategy
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

app = ClientApp()


@app.query()
def query(message: Message, context: Context) -> Message:
    assert strategy.OWN == message.content["said"]["strategy"]
    return Message(message.content, reply_to=message)
