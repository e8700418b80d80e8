"""Writes a home and a CAR file as the installed `peer` writes them, to be read by every later one.

    python tests/peer/formats/make.py NAME [--peer /path/to/peer]      # into tests/peer/formats/NAME

Run it before and after each change of what is on disk: a layout of the journal, a record, a federation's file. What is
written stays: nothing here is made again. An older peer is made from its commit: git worktree, then pip install.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
APP = HERE.parents[1] / "apps" / "numpy_fedavg"
LEFT_OUT = {"apps", "running", "scratch", "logs", "peer.lock", "ipfs"}
"""What in a home is made anew by itself."""


def main() -> None:
    """Make one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("--peer", type=Path, default=Path(sys.executable).with_name("peer"))
    chosen = parser.parse_args()
    into = HERE / chosen.name
    into.mkdir()
    with tempfile.TemporaryDirectory() as work:
        run = train(chosen.peer, Path(work))
        (into / "run.car").write_bytes((Path(work) / "run.car").read_bytes())
        (into / "home.tar.gz").write_bytes(packed(Path(work) / "server"))
    (into / "told.json").write_text(json.dumps(run, indent=1) + "\n")


def train(peer: Path, work: Path) -> dict[str, str]:
    """Found a federation, run the app, export the run. Returns what is to be found in both files again."""

    def call(home: str, *arguments: str | Path) -> str:
        command = [peer, *arguments, "--home", work / home]
        return subprocess.run(command, cwd=work, capture_output=True, text=True, check=True).stdout

    engine = ("--ipfs", f"local:{work / 'engine'}")
    call("server", "keys", "init", "--name", "server", "--no-passphrase")
    call("server", "federation", "init", "trial")
    federation = json.loads(call("server", "federation", "show", "--json"))["federation"]
    for name in ("one", "two"):
        call(name, "keys", "init", "--name", name, "--no-passphrase")
        key = call(name, "keys", "show", "--federation", federation).strip()
        call("server", "federation", "add", key, "--name", name, "--role", "client")
    call("server", "federation", "export", "trial.federation", *engine)
    for name in ("one", "two"):
        call(name, "federation", "join", "trial.federation")
    clients = [
        subprocess.Popen(
            [peer, "start", "--role", "client", "--once", "--app", APP, "--home", work / name, *engine, *part],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for name, part in (("one", ("--node-config", "partition-id=0")), ("two", ("--node-config", "partition-id=1")))
    ]
    closed = json.loads(call("server", "start", "--role", "server", "--app", APP, "--json", *engine))
    for client in clients:
        client.wait()
    call("server", "export", closed["head"], work / "run.car", *engine)
    return {"federation": federation, "run": closed["run"], "head": closed["head"]}


def packed(home: Path) -> bytes:
    """A home as an archive, without what is made anew."""
    file = io.BytesIO()
    with gzip.GzipFile(fileobj=file, mode="wb", mtime=0) as zipped, tarfile.open(fileobj=zipped, mode="w") as archive:
        for path in sorted(home.iterdir()):
            if path.name not in LEFT_OUT:
                archive.add(path, path.name)
    return file.getvalue()


if __name__ == "__main__":
    main()
