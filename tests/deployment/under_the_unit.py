"""Runs a program under what the unit forbids, as far as that is done by filtering system calls.

    python under_the_unit.py PROGRAM ARGUMENT...

Three filters, as systemd makes them: the system calls that are allowed at all (`SystemCallFilter`), no memory that is
both written and executed (`MemoryDenyWriteExecute`), and no socket but of some families (`RestrictAddressFamilies`).
Wants libseccomp, and systemd-analyze for what the names of sets stand for.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import errno
import mmap
import os
import socket
import subprocess
import sys
from functools import cache

from unit_file import values

ALLOW = 0x7FFF0000
EQUAL, MASKED = 4, 7
"""How libseccomp compares: SCMP_CMP_EQ, SCMP_CMP_MASKED_EQ."""

FAMILIES_MAX = 64

lib = ctypes.CDLL("libseccomp.so.2", use_errno=True)
lib.seccomp_init.restype = ctypes.c_void_p


class Comparison(ctypes.Structure):
    """Of one argument of a system call."""

    _fields_ = [("argument", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


def refused(number):
    """SCMP_ACT_ERRNO."""
    return 0x00050000 | number


class Filter:
    """One filter: what becomes of every system call, and of some."""

    def __init__(self, default):
        self._context = ctypes.c_void_p(lib.seccomp_init(default))

    def rule(self, action, name, *comparisons):
        """Calls that this machine does not have are passed over."""
        number = lib.seccomp_syscall_resolve_name(name.encode())
        array = (Comparison * len(comparisons))(*comparisons)
        failed = lib.seccomp_rule_add_array(self._context, action, number, len(comparisons), array)
        if failed and number > 0:
            raise OSError(-failed, f"{name}: {os.strerror(-failed)}")

    def load(self):
        failed = lib.seccomp_load(self._context)
        if failed:
            raise OSError(-failed, os.strerror(-failed))


@cache
def members(name):
    """The system calls of a set, sets within it included."""
    if not name.startswith("@"):
        return frozenset((name,))
    answer = subprocess.run(
        ["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True
    ).stdout
    lines = [line.strip() for line in answer.splitlines()[1:]]
    return frozenset().union(*(members(line) for line in lines if line and not line.startswith("#")))


def system_calls():
    allowed = set()
    for value in values("SystemCallFilter"):
        named = frozenset().union(*(members(name) for name in value.removeprefix("~").split()))
        allowed = allowed - named if value.startswith("~") else allowed | named
    calls = Filter(refused(errno.EPERM))
    for name in allowed | members("@default"):
        calls.rule(ALLOW, name)
    return calls


def memory():
    both = mmap.PROT_WRITE | mmap.PROT_EXEC
    calls = Filter(ALLOW)
    calls.rule(refused(errno.EPERM), "mmap", Comparison(2, MASKED, both, both))
    for name in ("mprotect", "pkey_mprotect"):
        calls.rule(refused(errno.EPERM), name, Comparison(2, MASKED, mmap.PROT_EXEC, mmap.PROT_EXEC))
    return calls


def sockets():
    [value] = values("RestrictAddressFamilies")
    allowed = {getattr(socket, name) for name in value.split()}
    calls = Filter(ALLOW)
    for family in set(range(FAMILIES_MAX)) - allowed:
        calls.rule(refused(errno.EAFNOSUPPORT), "socket", Comparison(0, EQUAL, family, 0))
    return calls


if __name__ == "__main__":
    filters = [memory(), sockets(), system_calls()]
    for each in filters:
        each.load()
    os.execv(sys.argv[1], sys.argv[1:])
