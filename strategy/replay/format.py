"""The replay format: what must be as it was for an app to do the same thing again.

Format 2 is this order in an app process, whichever of the four jobs it does:

1. `child_environment` is in force before Python starts.
2. `strategy.hosting.host.prepare` imports Pollen, flwr, rich, and torch where the app uses it. Importing draws random
   numbers (``rich.style`` does), so it comes before the seeds.
3. Pollen's own packages are taken out of the app's sight, and the shim for ``server_fn`` apps is put in.
4. `strategy.hosting.seeds.seed_generators` seeds every generator, as the last act.
5. The app is imported from its unpacked bundle, in a scratch folder that is empty, and run. What a ``start`` returns
   is its final model, also where that is a strategy's own.

Format 1 had the folder of the run before, and the final model of Flower's own ``start`` alone.
"""

from __future__ import annotations

from typing import Final

REPLAY_FORMAT: Final = 2
"""Goes up with any change to the order above, to the shim, or to what is imported."""


def child_environment(seed: bytes, threads: int) -> dict[str, str]:
    """The environment variables that an app process of a run needs besides those it inherits.

    Args:
        seed: As in `protocol.app.calls.Start`.
        threads: How many threads each numerical library may use; it changes the bits of sums.
    """
    count = str(threads)
    return {
        "PYTHONHASHSEED": str(int.from_bytes(seed[:4], "big")),  # sets of strings; Python takes 32 bits
        "OMP_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "FLWR_TELEMETRY_ENABLED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",  # an app's folder stays as its owner left it
    }
