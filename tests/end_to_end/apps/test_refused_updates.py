"""Updates that are not as they should be: their clients are refused, the run goes on, and the chain says why.

What else is refused, and in which words: `tests/protocol/replies/test_judged_replies.py`.
"""

from __future__ import annotations

from typing import Any

from federation import GATED, Federation

from peer.history.describe import describe
from peer.history.run_sources import EngineSource
from protocol.app.calls import ErrorCode
from protocol.blocks.cid import CID


def test_bad_updates_are_refused_with_their_reasons_in_the_chain(federation_in_the_clear: Federation) -> None:
    federation = federation_in_the_clear
    federation.add("three", "four", "five")
    options = ["--run-config", "rounds=1", "--max-update-norm", "5x"]
    server = federation.server(GATED, *options, clients=5)
    clients = [
        federation.client("one", GATED),
        federation.client("two", GATED),
        federation.client("three", GATED, 'update="nan"'),
        federation.client("four", GATED, 'update="shape"'),
        federation.client("five", GATED, 'update="scaled"'),
    ]
    assert [peer.code() for peer in (server, *clients)] == [0] * 6, server.said

    head = federation.head("server").head
    code, report = federation.replay(str(head), GATED, "--home", str(federation.home("server").path))

    assert (code, report["verdict"]) == (0, "verified"), report["findings"]
    (exchange,) = report["exchanges"]
    refused = {answer["name"]: answer for answer in exchange["answers"] if answer["code"] is not None}
    assert {answer["code"] for answer in refused.values()} == {ErrorCode.REPLY_MESSAGE_UNAVAILABLE}
    assert refused.keys() == {"three", "four", "five"}
    assert refused["three"]["reason"] == "refused (finite): 16 of the 16 numbers of 'arrays'/'w' are NaN or infinite"
    assert "'arrays'/'w' is float64[2, 8], and the others have float64[4, 4]" in refused["four"]["reason"]
    assert "more than 5 times the median" in refused["five"]["reason"]
    assert clients[2].events("task-collected")[0]["why"] == refused["three"]["reason"]
    assert shown(federation, refused["four"]["refused"])["type"] == "reply"
    collect = shown(federation, shown(federation, str(head))["body"]["prev"])
    assert refused["four"]["reason"] in [answer.get("why") for answer in collect["body"]["answers"]]


def shown(federation: Federation, cid: str) -> dict[str, Any]:
    """What ``peer show`` says of a block."""
    with federation.blocks() as engine:
        return describe(CID.parse(cid), EngineSource(engine, 1.0))
