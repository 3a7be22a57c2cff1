"""The system calls that a container may not make: what changes the machine, and what cannot be checkpointed.

A list of what is refused, not of what is allowed: short, so that CRIU puts it back in no time. Names that the
machine's libseccomp does not know are skipped by runc.
"""

from __future__ import annotations

import errno
from typing import Any

_NOT_THERE = (
    # CRIU can dump neither; programs fall back on epoll and on plain memory when the kernel has none.
    "io_uring_setup", "io_uring_enter", "io_uring_register", "userfaultfd",
    # Its flags lie in memory where a filter cannot see them; glibc falls back on clone.
    "clone3",
)  # fmt: skip
_REFUSED = (
    "acct", "add_key", "adjtimex", "bpf", "clock_adjtime", "clock_settime", "create_module", "delete_module",
    "fanotify_init", "finit_module", "fsconfig", "fsmount", "fsopen", "fspick", "get_kernel_syms", "init_module",
    "ioperm", "iopl", "kcmp", "kexec_file_load", "kexec_load", "keyctl", "lookup_dcookie", "mount", "mount_setattr",
    "move_mount", "name_to_handle_at", "nfsservctl", "open_by_handle_at", "open_tree", "perf_event_open", "pivot_root",
    "query_module", "quotactl", "quotactl_fd", "reboot", "request_key", "setdomainname", "sethostname", "setns",
    "settimeofday", "stime", "swapoff", "swapon", "syslog", "umount", "umount2", "unshare", "uselib", "ustat",
    "vhangup", "vm86", "vm86old",
)  # fmt: skip
_NEW_NAMESPACES = (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)
"""CLONE_NEW* for mount, cgroup, UTS, IPC, user, PID and network namespaces."""
_HOST_SOCKETS = (17, 38, 40)
"""AF_PACKET, AF_ALG, AF_VSOCK: the last reaches a virtual machine's host from any network namespace."""


def seccomp_profile() -> dict[str, Any]:
    """As `linux.seccomp` of an OCI configuration."""
    return {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32", "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
        "syscalls": [
            _refuse(_NOT_THERE, errno.ENOSYS),
            _refuse(_REFUSED, errno.EPERM),
            *(_refuse(("clone",), errno.EPERM, _argument(0, flag, "SCMP_CMP_MASKED_EQ")) for flag in _NEW_NAMESPACES),
            *(_refuse(("socket",), errno.EAFNOSUPPORT, _argument(0, kind, "SCMP_CMP_EQ")) for kind in _HOST_SOCKETS),
        ],
    }


def _refuse(names: tuple[str, ...], number: int, *arguments: dict[str, Any]) -> dict[str, Any]:
    return {"names": list(names), "action": "SCMP_ACT_ERRNO", "errnoRet": number, "args": list(arguments)}


def _argument(index: int, value: int, comparison: str) -> dict[str, Any]:
    masked = {"valueTwo": value} if comparison == "SCMP_CMP_MASKED_EQ" else {}
    return {"index": index, "value": value, "op": comparison, **masked}
