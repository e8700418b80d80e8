"""`peer.confinement.system_calls`: what leads out is refused, and what numerical code needs is not.

That each call of the lists is refused, by every means, `test_means` shows.
"""

from __future__ import annotations

import errno
import json
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from peer.confinement.system_calls import ABSENT, BY_ARGUMENT, FORBIDDEN, PROCESSORS, filter_for

HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
"""Debian's linux-libc-dev has both on each machine."""
YOUNGEST = 450
"""Calls from this number on are younger than the headers of some who run this."""

REFUSE, ALLOW = 0x00050000, 0x7FFF0000
"""What a filter answers (linux/seccomp.h)."""
NAMESPACES = (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000)
"""CLONE_NEW... in linux/sched.h. That of time (0x80) is none of this call's: its signal's number is there."""

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
    named = FORBIDDEN | ABSENT | {name: numbers for name, (numbers, _) in BY_ARGUMENT.items()}
    ours = {name: numbers[PROCESSORS[machine].column] for name, numbers in named.items()}

    assert ours == {name: theirs.get(name, n if n and n >= YOUNGEST else None) for name, n in ours.items()}


def test_for_a_processor_of_another_kind_there_is_none_and_that_is_said() -> None:
    with pytest.raises(OSError, match="riscv64"):
        filter_for("riscv64")


@pytest.mark.parametrize("machine", PROCESSORS)
def test_each_call_of_the_lists_is_answered_so_on_every_machine(machine: str) -> None:
    def numbers(calls: dict[str, tuple[int | None, int | None]]) -> list[int]:
        return [number for both in calls.values() if (number := both[PROCESSORS[machine].column]) is not None]

    assert {answer(machine, number) for number in numbers(FORBIDDEN)} == {REFUSE | errno.EPERM}
    assert {answer(machine, number) for number in numbers(ABSENT)} == {REFUSE | errno.ENOSYS}
    named = numbers(FORBIDDEN | ABSENT | {name: both for name, (both, _) in BY_ARGUMENT.items()})
    assert {answer(machine, number) for number in set(range(600)) - set(named)} == {ALLOW}


@pytest.mark.parametrize("machine", PROCESSORS)
@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("clone", (17,), ALLOW),
        ("clone", (0x10000 | 0x400,), ALLOW),
        ("clone", (0x10000,), REFUSE | errno.EPERM),
        *(("clone", (namespace,), REFUSE | errno.EPERM) for namespace in NAMESPACES),
        ("ioctl", (0, 0x5413), ALLOW),
        ("ioctl", (0, 0x5412), REFUSE | errno.EPERM),
        ("ioctl", (0, 0x541C), REFUSE | errno.EPERM),
        ("socket", (1, 1, 7), ALLOW),
        ("socket", (10, 1, 6), ALLOW),
        ("socket", (2, 2, 17), ALLOW),
        ("socket", (2, 1, 132), REFUSE | errno.EPROTONOSUPPORT),
        ("socket", (16, 3, 0), ALLOW),
        ("socket", (16, 3, 12), REFUSE | errno.EPROTONOSUPPORT),
        ("socket", (38, 5, 0), REFUSE | errno.EAFNOSUPPORT),
        ("socketpair", (1, 1, 0), ALLOW),
        ("socketpair", (30, 1, 0), REFUSE | errno.EAFNOSUPPORT),
        ("fallocate", (3, 0, 0, 1), REFUSE | errno.EOPNOTSUPP),
    ],
)
def test_some_calls_are_answered_by_their_arguments(
    name: str, arguments: tuple[int, ...], expected: int, machine: str
) -> None:
    number = BY_ARGUMENT[name][0][PROCESSORS[machine].column]
    assert number is not None
    assert answer(machine, number, arguments) == expected


@pytest.mark.parametrize("machine", PROCESSORS)
def test_a_call_in_the_way_of_another_processor_is_none(machine: str) -> None:
    harmless = 63
    other = next(processor for name, processor in PROCESSORS.items() if name != machine)

    assert answer(machine, harmless) == ALLOW
    assert answer(machine, harmless, audit=other.audit) == REFUSE | errno.ENOSYS
    assert answer(machine, PROCESSORS[machine].most + harmless) == REFUSE | errno.ENOSYS


def answer(machine: str, number: int, arguments: tuple[int, ...] = (), audit: int = 0) -> int:
    """What the filter for a machine says to a call there, run as the kernel runs it (linux/bpf_common.h)."""
    data = struct.pack("=IIQ6Q", number, audit or PROCESSORS[machine].audit, 0, *arguments, *[0] * (6 - len(arguments)))
    code = list(struct.iter_unpack("=HBBI", filter_for(machine)))
    at = value = 0
    while True:
        operation, if_so, if_not, constant = code[at]
        match operation:
            case 0x20:
                (value,) = struct.unpack_from("=I", data, constant)
                at += 1
                continue
            case 0x15:
                is_so = value == constant
            case 0x35:
                is_so = value >= constant
            case 0x45:
                is_so = bool(value & constant)
            case _:
                assert operation == 0x06
                return constant
        at += 1 + (if_so if is_so else if_not)
