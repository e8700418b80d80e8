"""Which system calls a confined process may not make: the filter that the kernel runs before each of its calls.

All other calls are allowed, as in Flatpak's filter (``setup_seccomp`` in ``common/flatpak-run.c``), from which most of
the list is. What is refused leads out of the confinement, reaches parts of the kernel that numerical code has no use
for, or takes memory that no process maps, so that nobody could count it. The filter stays in force in whatever the
process runs, and a filter for this machine's processor holds for an emulated one too, whose calls an emulator makes.

A filter is a program of the classic BPF: https://docs.kernel.org/userspace-api/seccomp_filter.html
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from typing import Final, NamedTuple


class Processor(NamedTuple):
    """What differs by a machine's architecture."""

    audit: int
    """Its number in linux/audit.h. A call may be made in the way of another, in which numbers mean something else."""
    column: int
    """Its place in the tables of numbers here."""
    most: int
    """Calls from this number on are of another interface (x32)."""


PROCESSORS: Final = {
    "x86_64": Processor(0xC000003E, 0, 0x40000000),
    "aarch64": Processor(0xC00000B7, 1, 0x7FFFFFFF),
}

_Numbers = tuple[int | None, int | None]
"""Of a call on x86_64 (asm/unistd_64.h) and on aarch64 (asm-generic/unistd.h); None if that has no such call."""

FORBIDDEN: Final[dict[str, _Numbers]] = {
    # other roots, mounts and namespaces
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "open_tree_attr": (467, 467),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "unshare": (272, 97),
    "setns": (308, 268),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    # other processes, which may be its peer if a namespace leaks
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    # keys, which no namespace hides
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    # the machine and its kernel
    "perf_event_open": (298, 241),
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "fanotify_init": (300, 262),
    "syslog": (103, 116),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "uselib": (134, None),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
}
"""Refused as to somebody without the right."""

ABSENT: Final[dict[str, _Numbers]] = {
    # a filter cannot see its flags, which lie in memory; the C library goes on with clone
    "clone3": (435, 435),
    # calls that go round the filter
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    # memory that no process has to map
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "vmsplice": (278, 75),
    "shmget": (29, 194),
    "msgget": (68, 186),
    "semget": (64, 190),
    # what a user has little of, and his other programs need
    "io_setup": (206, 0),
    "inotify_init": (253, None),
    "inotify_init1": (294, 26),
}
"""Answered as by a kernel that lacks them, so that libraries do without."""

_NEW_NAMESPACES, _THREAD, _SAME_FILES = 0x7E020000, 0x10000, 0x400  # CLONE_... in linux/sched.h
_TERMINAL_INPUT: Final = (0x5412, 0x541C)  # TIOCSTI and TIOCLINUX type on a terminal
_UNIX, _INTERNET, _NETLINK = (1,), (2, 10), (16,)
_PLAIN: Final = (0, 6, 17)
"""The protocols of the internet that are no modules which the kernel would load: the usual, TCP and UDP."""
_ROUTES: Final = (0,)
"""The netlink protocol by which a C library lists addresses."""

# linux/bpf_common.h and linux/seccomp.h
_LOAD, _EQUAL, _AT_LEAST, _ANY_OF, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_REFUSE, _ALLOW = 0x00050000, 0x7FFF0000
_NUMBER_AT, _AUDIT_AT, _ARGUMENTS_AT = 0, 4, 16
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2

Code = list[tuple[int, int, int, int]]
"""Instructions: operation, how many to skip if so, how many if not, and a number."""


def _no_namespace_and_no_hidden_files() -> Code:
    """A thread with descriptors of its own would have some that ``/proc/PID/fd`` does not show."""
    return [
        (_LOAD, 0, 0, _ARGUMENTS_AT),
        (_ANY_OF, 0, 1, _NEW_NAMESPACES),
        _refuse(errno.EPERM),
        (_ANY_OF, 0, 2, _THREAD),
        (_ANY_OF, 1, 0, _SAME_FILES),
        _refuse(errno.EPERM),
        _allow(),
    ]


def _local_or_internet() -> Code:
    allow = [_allow()]
    internet, routes = _if_one_of(2, _PLAIN, allow), _if_one_of(2, _ROUTES, allow)
    return [
        *_if_one_of(0, _UNIX, allow),
        *_if_one_of(0, _INTERNET, [*internet, _refuse(errno.EPROTONOSUPPORT)]),
        *_if_one_of(0, _NETLINK, [*routes, _refuse(errno.EPROTONOSUPPORT)]),
        _refuse(errno.EAFNOSUPPORT),
    ]


def _on_call(number: int | None, then: Code) -> Code:
    """Run code that ends on every way, on this call; on others go on behind it."""
    return [] if number is None else [(_EQUAL, 0, len(then), number), *then]


def _if_one_of(argument: int, values: tuple[int, ...], then: Code) -> Code:
    """Run code that ends on every way, if an argument is one of these values; otherwise go on behind it. The kernel
    looks at the lower half of these arguments, which lies first in memory."""
    last = len(values) - 1
    jumps = [(_EQUAL, last - i, 0 if i < last else len(then), value) for i, value in enumerate(values)]
    return [(_LOAD, 0, 0, _ARGUMENTS_AT + 8 * argument), *jumps, *then]


def _refuse(number: int) -> tuple[int, int, int, int]:
    return _RETURN, 0, 0, _REFUSE | number


def _allow() -> tuple[int, int, int, int]:
    return _RETURN, 0, 0, _ALLOW


BY_ARGUMENT: Final[dict[str, tuple[_Numbers, Code]]] = {
    "clone": ((56, 220), _no_namespace_and_no_hidden_files()),
    "ioctl": ((16, 29), [*_if_one_of(1, _TERMINAL_INPUT, [_refuse(errno.EPERM)]), _allow()]),
    "socket": ((41, 198), _local_or_internet()),
    "socketpair": ((53, 199), [*_if_one_of(0, _UNIX, [_allow()]), _refuse(errno.EAFNOSUPPORT)]),
    # it takes a disk's space in no time; the C library writes instead
    "fallocate": ((285, 47), [_refuse(errno.EOPNOTSUPP)]),
}
"""What becomes of a call depends on its arguments, or is answered in words of its own."""


def filter_for(machine: str) -> bytes:
    """The filter for a machine (``uname -m``), as the kernel takes it.

    Raises:
        OSError: if there is none for it.
    """
    if machine not in PROCESSORS:
        raise OSError(f"there is no filter of system calls for a processor of the kind {machine}")
    processor = PROCESSORS[machine]
    code: Code = [
        (_LOAD, 0, 0, _AUDIT_AT),
        (_EQUAL, 1, 0, processor.audit),
        _refuse(errno.ENOSYS),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_AT_LEAST, 0, 1, processor.most),
        _refuse(errno.ENOSYS),
    ]
    for names, number in ((FORBIDDEN, errno.EPERM), (ABSENT, errno.ENOSYS)):
        for numbers in names.values():
            code += _on_call(numbers[processor.column], [_refuse(number)])
    for numbers, then in BY_ARGUMENT.values():
        code += _on_call(numbers[processor.column], then)
    return b"".join(struct.pack("=HBBI", *each) for each in [*code, _allow()])


def refuse_calls() -> None:
    """Refuse these calls to this process and all that it will run, for good.

    Raises:
        OSError: if the kernel does not take a filter, or there is none for this processor.
    """
    code = filter_for(os.uname().machine)
    libc = ctypes.CDLL(None, use_errno=True)
    held = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("@HP", len(code) // 8, ctypes.addressof(held))  # struct sock_fprog
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, program, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, f"the filter of system calls: {os.strerror(number)}")
