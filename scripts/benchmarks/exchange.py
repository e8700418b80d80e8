"""Measures how long one exchange takes, from the dispatch until the ServerApp has the replies. Clients answer at once.

For each engine and size there is a federation of real processes, founded as in `peer demo`; with ``kubo`` each peer has
a private node. The ServerApp (``echo_app``) takes the time itself. Each exchange has a new model, and each client sends
other arrays, so no content is sent twice. With ``--encrypt`` each measurement is made without and with encryption, and
the difference is shown. With ``--witnesses N`` each is made without and with N servers that recompute what is sent
before clients take it up, and it is shown how much longer an exchange takes, also in times of what the leader itself
takes from the replies to its next message (``mean_seconds`` is the arithmetic alone). Processor seconds are those of
all processes per counted exchange, with what the ServerApp does between two.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import statistics
import sys
from pathlib import Path
from typing import Any

from measured import Json, ended_by, finished_run
from measured.amounts import one_or_more, positive
from measured.new_memory import add_option
from measured.place import bench_place
from measured.processes_meter import Meter
from measured.tables import exchange_table

from peer.base.errors import ExitCode, PeerError
from peer.demo.engines import LOCAL
from peer.demo.plan import DemoPeer, DemoPlan
from peer.demo.processes import LogEvent
from peer.engine.chosen_engine import MANAGED, running_node
from protocol.roles.effects import What

APP = Path(__file__).resolve().parent / "echo_app"
ARRAYS = 20
PROGRAMS = {"peer.apps.app_main": "apps", "peer": "peers", "ipfs": "nodes"}
"""What processes run, and what is told of them."""
WARM_UP = 2
"""How many exchanges are not counted. The first ones connect, and import modules."""


def main() -> int:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser(prog="scripts/bench exchange", description="Time one exchange.")
    parser.add_argument("--sizes", type=positive, nargs="+", default=[1.0, 100.0], help="of the model, in MB")
    parser.add_argument("--clients", type=one_or_more, default=2)
    parser.add_argument("--engines", nargs="+", choices=[LOCAL, MANAGED], default=[LOCAL, MANAGED])
    parser.add_argument(
        "--exchanges", type=one_or_more, help="counted ones; by default 30, fewer of large models, at least 10"
    )
    parser.add_argument("--encrypt", action="store_true", help="measure in a federation that encrypts as well")
    parser.add_argument("--witnesses", type=int, default=0, help="measure with so many servers that recompute, as well")
    parser.add_argument("--folder", type=Path, help="keep homes, logs and engines here; by default a temporary one")
    add_option(parser)
    options = parser.parse_args()
    measured: list[Json] = []
    with bench_place(options.folder, fill_memory=options.fill_memory) as place:

        def measure_one(where: Path, *case: Any, **how: Any) -> Json:
            place.clear(where)
            told = measure(where, *case, **how)
            sys.stderr.write(
                f"{told['engine']}{', encrypted' if told['encrypted'] else ''}, {told['megabytes']:g} MB: "
                f"{told['median_seconds']} s, "
                f"{told['processor_seconds_per_exchange']['all']} s of processor time\n"
            )
            return told

        for engine in options.engines:
            for size in options.sizes:
                count = options.exchanges or max(10, min(30, int(300 / size)))
                where = place.folder / f"{engine}-{size:g}"
                plain = measure_one(where, engine, size, options.clients, count)
                measured.append(plain)
                if options.encrypt:
                    measured.append(measure_one(where, engine, size, options.clients, count, encrypt=True))
                    measured[-1]["encryption_costs"] = _share(plain, measured[-1])
                if options.witnesses:
                    each = measure_one(where, engine, size, options.clients, count, witnesses=options.witnesses)
                    measured.append({**each, "witnesses_cost": _cost(plain, each)})
    sys.stderr.write(f"\n{exchange_table(measured)}\n")
    filled: bool = options.fill_memory
    results = {"benchmark": "exchange", "machine": place.machine, "memory_filled": filled, "results": measured}
    print(json.dumps(results, indent=2))
    return 0


def _share(plain: Json, encrypted: Json) -> float:
    """How much longer the fastest encrypted exchange takes than the fastest plain one. Other work only slows both."""
    return round(encrypted["fastest_seconds"] / plain["fastest_seconds"] - 1, 3)


def _cost(plain: Json, witnessed: Json) -> Json:
    """What witnesses add to an exchange, and how many times that is what the leader itself takes from the replies to
    its next message: the app aggregates, and the message is stored. Other work on the machine slows all of it."""
    added = witnessed["median_seconds"] - plain["median_seconds"]
    return {"seconds": round(added, 4), "of_leaders_own": round(added / witnessed["leaders_own_seconds"], 2)}


def measure(
    folder: Path,
    engine: str,
    megabytes: float,
    clients: int,
    exchanges: int,
    *,
    encrypt: bool = False,
    witnesses: int = 0,
) -> Json:
    """Measure one run in a new federation, of which so many servers recompute each message before it is answered."""
    plan = DemoPlan(folder, "", None, "", clients, exchanges + WARM_UP, engine, witnesses)
    config = f"bytes={int(megabytes * 1e6)} arrays={ARRAYS} exchanges={plan.rounds} clients={plan.clients}"
    collected: list[float] = []
    own: list[float] = []
    meter = Meter(folder)

    def heard(event: LogEvent) -> None:
        if event.peer == plan.server.name and event.what is What.COLLECTED:
            collected.append(float(event.fields["time"]))
            if len(collected) in (WARM_UP, plan.rounds):
                meter.look()
        elif event.peer == plan.server.name and event.what is What.DISPATCHED and collected:
            own.append(float(event.fields["time"]) - collected[-1])

    words = ["--witnesses", str(witnesses)] if witnesses else []
    with finished_run(plan, APP, config, encrypt=encrypt, server_words=words, heard=heard) as servers_engine:
        sent = {peer.name: _bytes_sent(peer) for peer in plan.peers} if engine == MANAGED else None
        stored = servers_engine.status().bytes_stored
    [written] = (plan.server.home.path / "scratch").glob("*/seconds.json")  # the folder of the one run
    told = json.loads(written.read_text())
    seconds, aggregated = told["exchanges"], told["aggregations"]
    counted = seconds[WARM_UP:]
    return {
        "engine": engine,
        "encrypted": encrypt,
        "megabytes": megabytes,
        "clients": clients,
        "witnesses": witnesses,
        "exchanges": len(counted),
        "median_seconds": round(statistics.median(counted), 4),
        "p95_seconds": round(percentile(counted, 95), 4),
        "fastest_seconds": round(min(counted), 4),
        "mean_seconds": round(statistics.median(aggregated[WARM_UP:]), 4),
        "leaders_own_seconds": round(statistics.median(own[WARM_UP:] or own or [math.nan]), 4),
        "first_seconds": round(seconds[0], 4),
        "processor_seconds_per_exchange": _processor_seconds(meter, exchanges),
        # with `local` nothing is sent, because all peers read and write one directory
        "bytes_sent": sent,
        "bytes_sent_per_exchange": None if sent is None else {name: n // len(seconds) for name, n in sent.items()},
        "bytes_stored": stored,
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def _processor_seconds(meter: Meter, exchanges: int) -> Json:
    """Of all processes, by what they run, per exchange between the two looks."""
    first, last = meter.seen.seconds
    spent = dict.fromkeys(PROGRAMS.values(), 0.0)
    for (node, program), seconds in last.items():
        if program in PROGRAMS:
            spent[PROGRAMS[program]] += (seconds - first.get((node, program), 0.0)) / exchanges
    return {name: round(seconds, 3) for name, seconds in {**spent, "all": sum(spent.values())}.items()}


def _bytes_sent(peer: DemoPeer) -> int:
    engine = running_node(peer.home)
    if engine is None:
        raise PeerError(
            f"the Kubo node of {peer.name} is gone", fix=f"see {peer.home.path / 'ipfs'}", code=ExitCode.UNFINISHED
        )
    with contextlib.closing(engine):
        return engine.status().bytes_sent


def percentile(values: list[float], share: float) -> float:
    """The smallest of ``values`` that ``share`` percent of them do not exceed."""
    return sorted(values)[math.ceil(len(values) * share / 100) - 1]


if __name__ == "__main__":
    sys.exit(ended_by(main))
