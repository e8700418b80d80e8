"""Servers that cheat in round 2, with the app's code as all know it: what can be done to a process from outside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
from flwr.app import Array, ArrayRecord, Message
from flwr.app.message import make_message
from flwr.serverapp import strategy as flower

Cheat = Callable[[list[Message], list[Message]], list[Message]]
"""What a server makes of a round's replies, which it has, and those of the round before."""


def left_out(now: list[Message], _: list[Message]) -> list[Message]:
    return now[1:]


def swapped(now: list[Message], _: list[Message]) -> list[Message]:
    first, second = now[0].content, now[1].content
    first["arrays"], second["arrays"] = second["arrays"], first["arrays"]
    return now


def reused(now: list[Message], before: list[Message]) -> list[Message]:
    now[0].content["arrays"] = before[0].content["arrays"]
    return now


def untouched(now: list[Message], _: list[Message]) -> list[Message]:
    return now


@contextmanager
def a_server_that_cheats(strategy: str, cheat: Cheat, factor: float = 1.0, tensor: str = "w") -> Iterator[None]:
    """In round 2. The app's code is the one that all know."""
    kind = getattr(flower, strategy)
    honest, own = kind.aggregate_train, vars(kind).get("aggregate_train")
    seen: list[list[Message]] = []

    def cheating(self: Any, server_round: int, replies: Any) -> Any:
        copies = [copied(reply) for reply in replies]
        seen.append(copies)
        if server_round != 2:
            return honest(self, server_round, replies)
        arrays, metrics = honest(self, server_round, cheat(list(replies), seen[-2]))
        if factor != 1:
            arrays[tensor] = Array(np.asarray(arrays[tensor].numpy() * arrays[tensor].numpy().dtype.type(factor)))
        return arrays, metrics

    kind.aggregate_train = cheating
    try:
        yield
    finally:
        if own is None:
            del kind.aggregate_train
        else:
            kind.aggregate_train = own


def copied(message: Message) -> Message:
    content = message.content.copy()
    for key, record in message.content.array_records.items():
        content[key] = ArrayRecord(dict(record.items()))
    return make_message(metadata=message.metadata, content=content)


CHEATS: Final[dict[str, Cheat]] = {"left_out": left_out, "swapped": swapped, "reused": reused}
