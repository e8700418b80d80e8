"""The best model by now, as the server that leads a run tells it."""

from __future__ import annotations

from protocol.app.calls import Handed
from protocol.blocks.cid import CID, cbor_block
from protocol.chain.exchange import OpenMessage
from protocol.keeping.best import parse_best
from protocol.replies.reply_layout import MetricLayout, MetricRecordLayout, ReplyLayout
from protocol.status.best_seen import BestSeen
from protocol.status.role_status import Best

CONTENT = cbor_block("a content").cid


class Run:
    """A run whose messages all go to Alice, unless they are two: then also to Bob."""

    def __init__(self, best: str | None) -> None:
        self.seen = BestSeen(None if best is None else parse_best(best), resumed=False)
        self.open: dict[bytes, OpenMessage] = {}
        self.rounds: dict[bytes, int] = {}

    def sent(self, round: int, count: int = 1) -> list[bytes]:
        dispatch = cbor_block({"round": round}).cid
        ids = [b"%d of round %d" % (each, round) for each in range(count)]
        self.open |= {id: message(id, dispatch) for id in ids}
        self.rounds |= dict.fromkeys(ids, round)
        return ids

    def came(self, id: bytes, *metrics: tuple[str, float], record: str = "metrics") -> None:
        layouts = tuple(MetricLayout(name, number=value) for name, value in metrics)
        self.seen.arrived(id, ReplyLayout(metrics=(MetricRecordLayout(record, layouts),)))

    def collected(self, *ids: bytes, code: int | None = None) -> Best | None:
        handed = [Handed(id, 0.0, content=CONTENT if code is None else None, code=code) for id in ids]
        self.seen.collected(handed, self.open, self.rounds)
        for id in ids:
            del self.open[id]
        return self.seen.told


def message(id: bytes, dispatch: CID) -> OpenMessage:
    return OpenMessage(id, 1, dispatch, 1, b"", None, CONTENT, "train", "", 1.0, 0.0)


def best_after(run: Run, *losses: float) -> Best | None:
    for round, loss in enumerate(losses, 1):
        (id,) = run.sent(round)
        run.came(id, ("loss", loss))
        run.collected(id)
    return run.seen.told


def test_the_round_with_the_best_mean_is_the_best() -> None:
    assert best_after(Run("loss:min"), 0.5, 0.25, 0.75) == Best("loss:min", 2, 0.25, resumed=False)


def test_a_run_that_marks_none_has_none() -> None:
    assert best_after(Run(None), 0.5) is None


def test_an_exchange_counts_once_all_its_answers_are_given_and_by_their_examples() -> None:
    run = Run("accuracy:max")
    alice, bob = run.sent(1, count=2)
    run.came(alice, ("accuracy", 1.0), ("num-examples", 30))
    run.came(bob, ("accuracy", 0.0), ("num-examples", 10))
    assert run.collected(alice) == Best("accuracy:max", None, None, resumed=False)
    assert run.collected(bob) == Best("accuracy:max", 1, 0.75, resumed=False)


def test_an_answer_that_is_refused_counts_for_nothing() -> None:
    run = Run("accuracy:max")
    (id,) = run.sent(1)
    run.came(id, ("accuracy", 1.0))
    assert run.collected(id, code=1) == Best("accuracy:max", None, None, resumed=False)


def test_a_long_name_is_no_reason_to_know_nothing() -> None:
    name = "x" * 200
    run = Run(f"{name}:max")
    (id,) = run.sent(1)
    run.came(id, (name, 0.5))
    assert run.collected(id) == Best(f"{name}:max", 1, 0.5, resumed=False)
