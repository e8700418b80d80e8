"""A demo as people start it: a process of its own, whose processes are looked for by its folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PATIENCE = 240.0
"""Seconds after which a demo that does not go on is a failure."""


class RunningDemo:
    """One ``peer demo`` in ``folder``."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        environment = {name: value for name, value in os.environ.items() if not name.startswith("POLLEN_")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "peer", "demo", "--home", str(folder), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**environment, "PYTHONPATH": str(ROOT)},
        )

    def send(self, signal: int) -> None:
        """Send it a signal."""
        self._process.send_signal(signal)

    def finish(self) -> tuple[int, str, str]:
        """Its exit code, stdout and stderr."""
        out, err = self._process.communicate(timeout=PATIENCE)
        return self._process.returncode, out, err

    def result(self) -> dict[str, Any]:
        """The one object of ``--json``, if it was done."""
        code, out, err = self.finish()
        assert code == 0, err
        value: dict[str, Any] = json.loads(out)
        return value

    def wait_for(self, *words: str) -> list[int]:
        """The processes that have all ``words`` in their command lines, once there is one."""
        deadline = time.monotonic() + PATIENCE
        while not (found := self.processes(*words)):
            assert self._process.poll() is None, self.finish()
            assert time.monotonic() < deadline, f"no process with {words} came up"
            time.sleep(0.02)
        return found

    def processes(self, *words: str) -> list[int]:
        """Every process that was started for this folder, the demo itself aside."""
        listing = subprocess.run(["ps", "-wwAo", "pid,args"], capture_output=True, text=True, check=True).stdout
        rows = [line.split(maxsplit=1) for line in listing.splitlines()[1:]]
        return [
            int(pid)
            for pid, command in rows
            if str(self.folder) in command and int(pid) != self._process.pid and all(word in command for word in words)
        ]
