"""Waiting for a file."""

import time
from pathlib import Path


def wait(folder, name):
    while folder and not (Path(folder) / name).exists():
        time.sleep(0.01)
