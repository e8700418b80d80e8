"""What the portable numerical baseline costs a round of each built-in strategy, in processor time of the server's app.

A process for each strategy and each of the two numerics, by turns. It does what a server's app process does in a
round: writes the model's content, reads the clients' replies from theirs, and aggregates them. The strategy's own
arithmetic is timed apart from that. The model is of float32 arrays of 10 MB; clients train nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from measured import Json, machine

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from protocol.blocks.cid import CID, Block  # noqa: E402  # once the path is set
from protocol.records.environment import Numerics  # noqa: E402
from strategy.builtin.pollen_app.names import StrategyName  # noqa: E402
from strategy.replay.format import child_environment  # noqa: E402

ARRAY_BYTES = 10_000_000
FEWEST = {StrategyName.BULYAN: 3}
"""Clients that a strategy wants, if those are more than asked for."""


def main() -> int:
    """Measure, print a table to standard error, and one JSON object."""
    parser = argparse.ArgumentParser(prog="scripts/bench numerics", description="Time the portable baseline.")
    parser.add_argument("--megabytes", type=float, default=100.0, help="of the model")
    parser.add_argument("--clients", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2, help="in each process")
    parser.add_argument("--turns", type=int, default=3, help="how many processes of each numerics; the median counts")
    parser.add_argument("--strategies", nargs="*", default=[name.value for name in StrategyName], metavar="NAME")
    parser.add_argument("--one", metavar="NAME", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        print(json.dumps(_one(StrategyName(options.one), options.megabytes, options.clients, options.rounds)))
        return 0
    results = [_compared(StrategyName(name), options) for name in options.strategies]
    for result in results:
        over = "  over 10 %" if result["round_ratio"] > 1.1 else ""
        line = "{strategy:20} native {native_round:7.3f} s  portable {portable_round:7.3f} s  ratio {round_ratio:5.2f}"
        sys.stderr.write(line.format(**result) + f"  (arithmetic alone {result['arithmetic_ratio']:.2f}){over}\n")
    settings = {name: getattr(options, name) for name in ("megabytes", "clients", "rounds", "turns")}
    print(json.dumps({"benchmark": "numerics", "machine": machine(), **settings, "results": results}, indent=2))
    return 0


def _compared(name: StrategyName, options: argparse.Namespace) -> Json:
    """Both numerics by turns, so that a machine that grows slower is slower for both."""
    found: dict[Numerics, list[dict[str, float]]] = {numerics: [] for numerics in Numerics}
    for _ in range(options.turns):
        for numerics in Numerics:
            found[numerics].append(_timed(name, numerics, options))
    medians = {
        f"{numerics.value}_{what}": round(statistics.median(each[what] for each in times), 4)
        for numerics, times in found.items()
        for what in ("round", "arithmetic")
    }
    ratios = {
        f"{what}_ratio": medians[f"portable_{what}"] / medians[f"native_{what}"] for what in ("round", "arithmetic")
    }
    return {"strategy": name.value, **medians, **{what: round(ratio, 3) for what, ratio in ratios.items()}}


def _timed(name: StrategyName, numerics: Numerics, options: argparse.Namespace) -> dict[str, float]:
    words = [sys.executable, __file__, "--one", name.value, "--megabytes", str(options.megabytes)]
    words += ["--clients", str(options.clients), "--rounds", str(options.rounds)]
    environment = {**os.environ, **child_environment(bytes(32), 1, numerics)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    times: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return times


# -- in a process of its own ---------------------------------------------------------------------------------------


class _Store(dict[CID, bytes]):
    """Contents in memory: a disk is not what is measured."""

    def put_content(self, root: CID, blocks: Iterable[Block]) -> None:
        self.update((block.cid, block.data) for block in blocks)

    def open(self, root: CID) -> _Store:
        return self

    def get(self, cid: CID) -> bytes:  # type: ignore[override]  # a block source raises if there is none
        return self[cid]


def _one(name: StrategyName, megabytes: float, clients: int, rounds: int) -> dict[str, float]:
    """Processor seconds of a round, and of the strategy's arithmetic in it."""
    import numpy as np
    from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict

    from strategy.apps.builtin_app import builtin_app_folder
    from strategy.apps.config import fuse_run_config, read_app
    from strategy.builtin.pollen_app.strategies import build_strategy
    from strategy.contents.codec import ContentWriter, decode
    from strategy.flower_compat import take_identity
    from strategy.hosting.host import prepare

    folder = builtin_app_folder()
    prepare(folder)
    take_identity(1, 1)
    clients = max(clients, FEWEST.get(name, 0))
    config = dict(fuse_run_config(read_app(folder), f"min-clients={clients}"))
    strategy, store, draw = build_strategy(name.value, config), _Store(), np.random.default_rng(1)
    numbers = max(1, int(megabytes * 1e6 / 4))
    sizes = [ARRAY_BYTES // 4] * (numbers // (ARRAY_BYTES // 4)) or [numbers]
    model = ArrayRecord({f"layer-{at}": Array(draw.random(size, np.float32)) for at, size in enumerate(sizes)})
    replies = [
        RecordDict(
            {
                "arrays": ArrayRecord(
                    {key: Array(array.numpy() + np.float32(0.01 * (1 + client))) for key, array in model.items()}
                ),
                "metrics": MetricRecord(
                    {"num-examples": 10 + client, "equal-weight": 1.0, "train_loss": 1.0 + client, "norm_bit": 1.0}
                ),
            }
        )
        for client in range(clients)
    ]
    written = [ContentWriter(store).write(reply, None) for reply in replies]
    del replies
    strategy.current_arrays = model  # type: ignore[attr-defined]  # as ``configure_train`` notes it, if it does
    whole = arithmetic = 0.0
    for number in range(1, rounds + 1):
        began = time.process_time()
        ContentWriter(store).write(RecordDict({"arrays": model, "config": ConfigRecord({"round": number})}), None)
        grid = _Grid(clients)
        strategy.configure_train(number, model, ConfigRecord(), grid)  # type: ignore[arg-type]
        messages = []
        for node, root in enumerate(written, 1):
            ask = Message(RecordDict(), dst_node_id=node, message_type="train")
            messages.append(Message(decode(root, store, None), reply_to=ask))
        at = time.process_time()
        arrays, _ = strategy.aggregate_train(number, messages)
        arithmetic += time.process_time() - at
        whole += time.process_time() - began
        assert arrays is not None
        model = arrays
    return {"round": whole / rounds, "arithmetic": arithmetic / rounds}


class _Grid:
    """Says which nodes there are."""

    def __init__(self, clients: int) -> None:
        self._nodes = list(range(1, clients + 1))

    def get_node_ids(self) -> list[int]:
        """All of them."""
        return self._nodes


if __name__ == "__main__":
    sys.exit(main())
