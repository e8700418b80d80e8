"""A program that records runs of every strategy and every kind of app: under the numerics that its environment says."""

from __future__ import annotations

import sys
from pathlib import Path

from recorded_app import RecordedApp, recorded_app, run_of
from saved_runs import save
from small_leader import APPS

from strategy.apps.builtin_app import builtin_app_folder
from strategy.hosting.host import prepare

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits"

KINDS = {
    "half of the clients": ("every_strategy", "fraction-train=0.5", 5),
    "legacy": ("legacy_fedavg", "", 3),
    "secure aggregation": ("secagg", "num-server-rounds=2", 3),
    "with state": ("client_state", "", 3),
    "query": ("query_first", "", 3),
    "torch server": ("torch_server", "", 3),
    "threads": ("own_threads", 'mode="map"', 3),
    "threads that look": ("own_threads", 'mode="looks"', 3),
    "polling": ("polling", "", 3),
    "numpy": ("numpy_fedavg", "", 3),
    "torch": ("tiny_torch", "", 3),
    "scikit-learn": (str(EXAMPLE), "", 3),
    "cnn": (str(builtin_app_folder()), 'model="cnn" num-server-rounds=1 local-epochs=1', 2),
}
"""App, settings, clients."""


def recorded(name: str, scratch: Path) -> RecordedApp:
    """The run of that name: a strategy of Flower's, one of the built-in app's, or a kind of app."""
    if name in KINDS:
        app, config, clients = KINDS[name]
        return recorded_app(app, scratch, config, clients)
    if name.islower():  # as the built-in app names them
        config = f'strategy="{name}" model="mlp" num-server-rounds=2 local-epochs=1 central-evaluation=true'
        return recorded_app(str(builtin_app_folder()), scratch, config, 7 if name == "bulyan" else 3)
    return run_of(name, scratch, 2)


if __name__ == "__main__":
    file, scratch, *names = sys.argv[1:]
    prepare(APPS / "torch_server")
    save({name: recorded(name, Path(scratch)) for name in names}, Path(file))
