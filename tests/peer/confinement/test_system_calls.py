"""`peer.confinement.system_calls`: what leads out is refused, and what numerical code needs is not.

That each call of the lists is refused, by every means, `test_means` shows.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from peer.confinement.system_calls import ABSENT, FORBIDDEN, PROCESSORS, filter_for

HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
"""Debian's linux-libc-dev has both on each machine."""
YOUNGEST = 450
"""Calls from this number on are younger than the headers of some who run this."""

TRIES = """
import ctypes, errno, fcntl, json, mmap, os, socket, sys, threading
from peer.confinement.system_calls import refuse_calls
refuse_calls()
libc = ctypes.CDLL(None, use_errno=True)

def call(number, *arguments):
    done = libc.syscall(number, *map(ctypes.c_long, arguments))
    if done < 0:
        raise OSError(ctypes.get_errno(), "")

def as_32_bits():
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(bytes.fromhex("b814000000cd80c3"))  # getpid, by int 0x80
    done = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()
    if done < 0:
        raise OSError(-done, "")

def on_a_terminal(request):
    leader, follower = os.openpty()
    fcntl.ioctl(follower, request, b"x")

def thread():
    started = threading.Thread(target=lambda: None)
    started.start()
    started.join()

def process(flags):
    call(56, flags | 17, 0, 0, 0, 0) or os.getpid() == own or os._exit(0)

own = os.getpid()
size = lambda: fcntl.ioctl(os.openpty()[0], 0x5413, bytes(8))
TRIED = {
    "a call of 32 bits": as_32_bits,
    "a call of x32": lambda: call(0x40000000 | 39),
    "type on a terminal": lambda: on_a_terminal(0x5412),
    "type on a terminal, with more bits": lambda: call(16, 0, (1 << 40) | 0x5412, 0),
    "the size of a terminal": size,
    "a socket of the kernel's cryptography": lambda: socket.socket(38, socket.SOCK_SEQPACKET),
    "a socket of a virtual machine": lambda: socket.socket(40, socket.SOCK_STREAM),
    "a socket of SCTP": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132),
    "a socket of netfilter": lambda: socket.socket(16, socket.SOCK_RAW, 12),
    "a pair of TIPC sockets": lambda: call(53, 30, 1, 0, 0),
    "a pair": socket.socketpair,
    "TCP": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP),
    "UDP": lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM),
    "netlink's routes": lambda: socket.socket(16, socket.SOCK_RAW, 0),
    "a thread": thread,
    "a thread with files of its own": lambda: call(56, 0x10000 | 0x800 | 0x100, 0, 0, 0, 0),
    "a process": lambda: process(0),
    "a process in a new user namespace": lambda: process(0x10000000),
    "take a disk's space": lambda: os.posix_fallocate(os.open("/tmp", os.O_TMPFILE | os.O_RDWR), 0, 1 << 16),
    "take it by the call itself": lambda: call(285, os.open("/tmp", os.O_TMPFILE | os.O_RDWR), 0, 0, 1 << 16),
}
def tried(what):
    try:
        what()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"
print(json.dumps({name: tried(what) for name, what in TRIED.items()}))
"""

REFUSED = {
    "a call of 32 bits": "ENOSYS",
    "a call of x32": "ENOSYS",
    "type on a terminal": "EPERM",
    "type on a terminal, with more bits": "EPERM",
    "a socket of the kernel's cryptography": "EAFNOSUPPORT",
    "a socket of a virtual machine": "EAFNOSUPPORT",
    "a socket of SCTP": "EPROTONOSUPPORT",
    "a socket of netfilter": "EPROTONOSUPPORT",
    "a pair of TIPC sockets": "EAFNOSUPPORT",
    "a thread with files of its own": "EPERM",
    "a process in a new user namespace": "EPERM",
    "take it by the call itself": "ENOTSUP",
}


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers of the calls are those of x86_64")
def test_what_leads_out_is_refused_and_what_code_needs_is_not() -> None:
    done = subprocess.run([sys.executable, "-c", TRIES], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    found = json.loads(done.stdout)

    assert {name: said for name, said in found.items() if said != "done"} == REFUSED


@pytest.mark.parametrize("machine", PROCESSORS)
def test_the_numbers_are_those_of_the_kernels_headers(machine: str) -> None:
    if not HEADERS[machine].exists():
        pytest.skip(f"{HEADERS[machine]} is not here")
    defined = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)$", HEADERS[machine].read_text(), re.MULTILINE)
    theirs = {name: int(number) for name, number in defined}
    ours = {name: numbers[PROCESSORS[machine].column] for name, numbers in (FORBIDDEN | ABSENT).items()}

    assert ours == {name: theirs.get(name, n if n and n >= YOUNGEST else None) for name, n in ours.items()}


def test_for_a_processor_of_another_kind_there_is_none_and_that_is_said() -> None:
    with pytest.raises(OSError, match="riscv64"):
        filter_for("riscv64")


@pytest.mark.parametrize("machine", PROCESSORS)
def test_each_jump_leads_to_an_instruction_and_the_last_ones_end(machine: str) -> None:
    code = [(int.from_bytes(each[:2], "little"), each[2], each[3]) for each in instructions(filter_for(machine))]
    jumps = {0x15, 0x35, 0x45}

    for at, (operation, if_so, if_not) in enumerate(code):
        assert operation not in jumps or at + 1 + max(if_so, if_not) < len(code)
    assert code[-1][0] == 0x06


def instructions(code: bytes) -> list[bytes]:
    return [code[at : at + 8] for at in range(0, len(code), 8)]
