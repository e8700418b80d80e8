"""Runs a command in namespaces of its own: ``python -I -S enter.py PLAN COMMAND...``. It imports nothing of ours.

It does what ``bwrap`` does, where that is not installed (`peer.confinement.namespaces` writes the plan): a new user
namespace, and in it new ones for mounts, processes, network, IPC and host name; a root that has the plan's places and
no others; no capability, and no way to one. The man pages are user_namespaces(7), mount_namespaces(7),
pid_namespaces(7), pivot_root(2), mount_setattr(2), capabilities(7).
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import signal
import socket
import stat
import struct
import sys
import warnings  # noqa: F401  # `os.execvp` imports it, which it cannot in the new root
from collections.abc import Callable
from typing import Any

_NEWNS, _NEWCGROUP, _NEWUTS, _NEWIPC = 0x00020000, 0x02000000, 0x04000000, 0x08000000  # linux/sched.h
_NEWUSER, _NEWPID, _NEWNET = 0x10000000, 0x20000000, 0x40000000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_BIND, _MS_REC, _MS_PRIVATE = 2, 4, 8, 4096, 16384, 1 << 18  # linux/mount.h
_ATTR_RDONLY, _ATTR_NOSUID, _ATTR_NODEV, _AT_RECURSIVE = 1, 2, 4, 0x8000
_SYS_MOUNT_SETATTR = 442  # the same number on every architecture
_MNT_DETACH = 2
_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _CLEAR_ALL = 1, 24, 38, 47, 4
_CAPABILITY_VERSION = 0x20080522  # linux/capability.h, version 3
_MAX_CAPABILITIES = 64
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1  # linux/sockios.h
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}
_OLD = "/.old"
"""Where what is mounted outside is, as long as places are taken from it."""
_SIGNALLED = 128

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> int:
    plan = json.loads(sys.argv[1])
    user, group = os.getuid(), os.getgid()
    _call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != plan["parent"]:  # it has ended meanwhile
        return 1
    new = _NEWUSER | _NEWNS | _NEWPID | _NEWIPC | _NEWUTS | _NEWCGROUP
    _call("unshare", new if plan["network"] else new | _NEWNET)
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{user} {user} 1")
    _write("/proc/self/gid_map", f"{group} {group} 1")
    return _wait_for(_forked(lambda: _first_process(plan, sys.argv[2:])))


def _first_process(plan: dict[str, Any], command: list[str]) -> int:
    """The first one in the new namespaces. All others in them end with it."""
    _call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if not plan["network"]:
        _loopback_up()
    _new_root(plan)
    with contextlib.suppress(OSError):
        _write("/proc/sys/user/max_user_namespaces", "0")
    # root needs no capability to write in /proc/sys, and so to have the kernel run a program outside
    _set("/proc", _ATTR_RDONLY, 0)
    _drop_all()
    os.chdir(plan["works_in"])
    return _wait_for(_forked(lambda: os.execvp(command[0], command)))


def _new_root(plan: dict[str, Any]) -> None:
    """Make a root that has the places of the plan, and go there."""
    root = plan["temporary"]
    _mount(None, "/", None, _MS_REC | _MS_PRIVATE)
    _mount("tmpfs", root, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=755")
    os.mkdir(root + _OLD)
    _call("pivot_root", root.encode(), (root + _OLD).encode())
    os.chdir("/")
    _mount("proc", _folder("/proc"), "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    _mount("tmpfs", _folder("/dev"), "tmpfs", _MS_NOSUID | _MS_NOEXEC, "mode=755")
    for source, target in [*([f"/dev/{name}"] * 2 for name in _DEVICES), *plan["devices"]]:
        _bind(source, target, 0)
    for name, target in _LINKS.items():
        os.symlink(target, f"/dev/{name}")
    _mount("tmpfs", _folder("/dev/shm"), "tmpfs", _MS_NOSUID | _MS_NODEV, f"mode=1777,size={plan['shared_memory']}")
    _set("/dev", _ATTR_RDONLY, 0)
    _bind(root, "/tmp", _ATTR_NOSUID | _ATTR_NODEV)
    for source, target, may_write in plan["places"]:
        _bind(source, target, _ATTR_NOSUID | _ATTR_NODEV | (0 if may_write else _ATTR_RDONLY))
    _call("umount2", _OLD.encode(), _MNT_DETACH)
    os.rmdir(_OLD)
    _set("/", _ATTR_RDONLY, 0)


def _bind(source: str, target: str, attributes: int) -> None:
    """Mount a file or folder of outside (no link: that would lead elsewhere here), with all that is mounted in it."""
    if stat.S_ISDIR(os.stat(_OLD + source).st_mode):
        _folder(target)
    elif not os.path.exists(target):
        _folder(os.path.dirname(target))
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o600))
    _mount(_OLD + source, target, None, _MS_BIND | _MS_REC)
    _set(target, attributes, _AT_RECURSIVE)


def _folder(path: str) -> str:
    os.makedirs(path, exist_ok=True)
    return path


def _set(path: str, attributes: int, flags: int) -> None:
    """Add attributes to a mount (and with `_AT_RECURSIVE` to those in it)."""
    wanted = struct.pack("=4Q", attributes, 0, 0, 0)  # struct mount_attr
    _call("syscall", _SYS_MOUNT_SETATTR, -100, path.encode(), flags, wanted, ctypes.c_size_t(len(wanted)))


def _drop_all() -> None:
    """Give up every capability, and the ways to get one again."""
    _call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    with contextlib.suppress(OSError):  # a kernel has fewer
        for capability in range(_MAX_CAPABILITIES):
            _call("prctl", _PR_CAPBSET_DROP, capability, 0, 0, 0)
    _call("prctl", _PR_CAP_AMBIENT, _CLEAR_ALL, 0, 0, 0)
    header, none = struct.pack("=Ii", _CAPABILITY_VERSION, 0), bytes(24)
    _call("capset", header, none)


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH14x", b"lo", 0)
        _, flags = struct.unpack("16sH14x", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request))
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | _IFF_UP))


def _forked(work: Callable[[], int]) -> int:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = work()
        except OSError as error:
            sys.stderr.write(f"{error}\n")
            sys.stderr.flush()
        os._exit(code)
    return child


def _wait_for(child: int) -> int:
    """What a process ends with, in the way of shells; others that end meanwhile are buried."""
    while True:
        ended, status = os.wait()
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else _SIGNALLED - code


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str = "") -> None:
    encoded = (None if text is None else text.encode() for text in (source, target, kind))
    _call("mount", *encoded, ctypes.c_ulong(flags), data.encode(), what=f"mount {source} on {target}")


def _call(name: str, *arguments: object, what: str = "") -> None:
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what or name}: {os.strerror(number)}")


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


if __name__ == "__main__":
    try:
        code = main()
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        code = 1
    sys.stderr.flush()
    os._exit(code)
