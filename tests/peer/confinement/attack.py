"""What a hostile app might try, each by itself: prints for each what refused it, or that it was done.

``python attack.py PLACES``: a JSON object with what the test has put there.
"""

import ctypes
import json
import os
import signal
import socket
import sys
from pathlib import Path

places = json.loads(sys.argv[1])


def connect(address: object, family: int = socket.AF_UNIX) -> None:
    with socket.socket(family) as end:
        end.connect(address)


def call(number: int) -> None:
    if ctypes.CDLL(None, use_errno=True).syscall(number, 0, 0, 0, 0, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def new_user_namespace() -> None:
    if ctypes.CDLL(None, use_errno=True).unshare(0x10000000) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def mount() -> None:
    if ctypes.CDLL(None, use_errno=True).mount(b"none", b"/tmp", b"tmpfs", 0, None) != 0:
        raise OSError(ctypes.get_errno(), "mount")


def speak_to_itself() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()


ATTACKS = {
    "connect to a port of this machine": lambda: connect(("127.0.0.1", places["port"]), socket.AF_INET),
    "connect to an abstract socket": lambda: connect("\0" + places["abstract"]),
    "connect to a socket in a folder": lambda: connect(places["socket"]),
    "read ~/.ssh": lambda: Path(places["home"], ".ssh", "id").read_bytes(),
    "read the peer's keys": lambda: Path(places["home"], "keys", "one.key").read_bytes(),
    "write outside": lambda: Path(places["home"], "written").write_text("x"),
    "write in a folder that is for reading": lambda: Path(places["read"], "written").write_text("x"),
    "write in the system": lambda: Path("/usr/written").write_text("x"),
    "write in the root": lambda: Path("/written").write_text("x"),
    "write among the devices": lambda: Path("/dev/written").write_text("x"),
    "read the peer's environment": lambda: Path(f"/proc/{places['peer']}/environ").read_bytes(),
    "signal the peer": lambda: os.kill(places["peer"], signal.SIGTERM),
    "have the kernel run a program": lambda: os.close(os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY)),
    "make a user namespace": new_user_namespace,
    "mount": mount,
}
ALLOWED = {
    "read what is granted": lambda: Path(places["read"], "data").read_bytes(),
    "write where it works": lambda: Path("written").write_text("x"),
    "write a temporary file": lambda: Path("/tmp/written").write_text("x"),
    "share memory": lambda: Path("/dev/shm/written").write_text("x"),
    "start a process": lambda: os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0),
    "speak to itself": speak_to_itself,
}


def tried(what) -> str:
    try:
        what()
    except OSError as error:
        return f"refused: {error.strerror}"
    return "done"


CALLS = {name: lambda number=number: call(number) for name, number in places["calls"].items()}
sys.stdout.write(json.dumps({name: tried(what) for name, what in (ATTACKS | CALLS | ALLOWED).items()}))
