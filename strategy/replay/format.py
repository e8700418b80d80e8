"""The replay format: what has to be the same for an app to do the same thing again.

Format 5 is this order in an app process, whichever of the four jobs it does:

1. `server_environment` is in force before Python starts. It pins the numerical libraries' kernels, the time zone and
   the locale.
2. `strategy.hosting.host.prepare` imports Pollen, flwr, rich, and torch if the app uses it. Importing draws random
   numbers (``rich.style`` does), so it comes before the seeds.
3. `strategy.replay.numerics.settle_torch` says the rest of the baseline to torch, if the run's numerics are portable.
4. Pollen's own packages are hidden from the app, and the shim for ``server_fn`` apps is put in.
5. `strategy.hosting.seeds.seed_generators` seeds every generator, as the last step.
6. The app is imported from its unpacked bundle, in an empty scratch folder, and run. What ``start`` returns is its
   final model, as it is then, even if ``start`` is a strategy's own.

Formats 4 and 3 wrote contents in formats 2 and 1 of `strategy.contents.codec`: what an app sends again would have
another CID. Format 2 let each library choose its kernels for the processor. Format 1 kept the folder of an earlier
process, and took the final model only from Flower's own ``start``.
"""

from __future__ import annotations

import platform
from typing import Final

from protocol.records.environment import Numerics
from strategy.replay.numerics import numeric_variables

REPLAY_FORMAT: Final = 5
"""Goes up with any change to the order above, to the shim, to what is imported, or to how contents are written."""


_BETWEEN: Final = "a version between 0.1 and this one"

REPLAYED_BY: Final = {1: "a version before 0.1", 2: "0.1", 3: _BETWEEN, 4: _BETWEEN}
"""Which release replays a run of an earlier format."""


_NOWHERE: Final = {
    "TZ": "UTC",
    "LC_ALL": "C",
    "PYTHONUTF8": "1",  # text is UTF-8 all the same: PEP 540
}
"""What an app would otherwise see of the place where its machine stands."""


THIS_MACHINE: Final = platform.machine()
"""The architecture of the processor that runs this process."""


def server_environment(seed: bytes, threads: int, numerics: Numerics, machine: str) -> dict[str, str]:
    """The variables of a ServerApp, which may be replayed at another place; the arguments are `child_environment`'s."""
    return child_environment(seed, threads, numerics, machine) | _NOWHERE


def child_environment(seed: bytes, threads: int, numerics: Numerics, machine: str = THIS_MACHINE) -> dict[str, str]:
    """The environment variables that an app process needs besides those that it inherits.

    Args:
        seed: As in `protocol.app.calls.Start`.
        threads: How many threads each numerical library may use. The number changes the bits of sums.
        numerics: Which kernels they may use: for a ServerApp, what its run record says or is to say. A ClientApp is not
            replayed, and is native.
        machine: The architecture of the processor that will run it, which an emulated one need not share with ours.
    """
    return numeric_variables(numerics, threads, machine) | {
        "PYTHONHASHSEED": str(int.from_bytes(seed[:4], "big")),  # sets of strings; Python takes 32 bits
        "FLWR_TELEMETRY_ENABLED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",  # an app's folder stays as its owner left it
    }
