# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rights of a node: to read its files and start programs beside it. And our own: which is missing, what to do.

Standard: credentials(7), capabilities(7), user_namespaces(7); proc(5), `/proc/PID/status`. A process says itself where
its home, its release and its certificates are, so any user of a host could have root open somebody else's files.
Private to the collection.
"""

from __future__ import annotations

import contextlib
import os
from typing import Sequence

from .._errors import Ended, EpmdError, NotPermitted
from .._record import Record


class Rights(Record):
    """Effective user, effective group and supplementary groups, as numbers."""

    uid: int
    gid: int
    groups: list[int]


class Confinement(Record):
    """What no program that a process starts can exceed.

    capabilities: the bounding set, as bits. no_new_privileges: setuid files have no effect.
    """

    capabilities: int
    no_new_privileges: bool


def ended(pid: int) -> Ended:
    """The error for a process that is no longer there."""
    return Ended(f"the process {pid} has ended meanwhile: run again")


def _status(pid: int) -> dict[str, list[str]]:
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            return {name: words.split() for name, _colon, words in (line.partition(":") for line in file)}
    except OSError:
        raise ended(pid) from None


def confinement_of(pid: int) -> Confinement:
    """The confinement of a process. Errors: Ended."""
    fields = _status(pid)
    return Confinement(int(fields["CapBnd"][0], 16), fields.get("NoNewPrivs", ["0"])[0] == "1")


def of_process(pid: int) -> Rights:
    """The rights of a process. Errors: Ended."""
    fields = _status(pid)
    uid, gid = (int(fields[name][1]) for name in ("Uid", "Gid"))  # real, effective, saved, file system
    return Rights(uid, gid, [int(group) for group in fields.get("Groups", [])])


def pid_inside(pid: int) -> int:
    """The number of a process in its own process namespace (NSpid). Errors: EpmdError where it has ended."""
    return int(_status(pid).get("NSpid", [str(pid)])[-1])


def take(rights: Rights) -> None:
    """Give up what exceeds these rights, to read files. Who is not root has nothing to give up.

    Only the effective ids change: the real user stays root, so that the other one can't trace or signal this process,
    which therefore must run nothing that it reads. Errors: NotPermitted.
    """
    if os.geteuid() != 0:
        return
    try:
        if os.getgroups() != rights.groups:
            os.setgroups(rights.groups)
        os.setegid(rights.gid)
        os.seteuid(rights.uid)
    except OSError as error:
        raise NotPermitted(
            f"files can't be read as user {rights.uid} may read them ({error.strerror}){cure(BECOME)}"
        ) from None


# linux/capability.h
_CAPABILITIES = {
    "CAP_DAC_OVERRIDE": 1,
    "CAP_DAC_READ_SEARCH": 2,
    "CAP_SETGID": 6,
    "CAP_SETUID": 7,
    "CAP_SYS_CHROOT": 18,
    "CAP_SYS_PTRACE": 19,
    "CAP_SYS_ADMIN": 21,
}
_EVERY_USER = ["0", "0", "4294967295"]
_FIRST_PROCESSES = "pid:[4026531836]"  # PROC_PID_INIT_INO in linux/nsfs.h

SEE = ("CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH")
"""To see what a process of another user has open."""
JOIN = ("CAP_SYS_ADMIN", "CAP_SYS_PTRACE")
"""To join a namespace of a process."""
CHANGE_ROOT = ("CAP_SYS_CHROOT", "CAP_SYS_PTRACE")
"""To work in the root directory of a process."""
ENTER = ("CAP_SYS_ADMIN", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SETUID", "CAP_SETGID")
"""To run a program where a process lives."""
BECOME = ("CAP_SETUID", "CAP_SETGID")
"""To take the user and the groups of a process."""
READ = ("CAP_DAC_READ_SEARCH",)
"""To read the file of another user."""


def cure(needed: Sequence[str], otherwise: str = "") -> str:
    """Why the system refuses what takes these capabilities, and what to do, as the end of a sentence.

    otherwise: a way that takes none of them, for who is root and lacks one.
    """
    known = lack(needed, otherwise)
    if known:
        return known
    if not _is_root_everywhere():
        why = "because root is root only in its user namespace, as in a rootless container"
        return f", {why}: {_either(otherwise, 'run on the host as its root')}"
    return f", although root has all capabilities for it{_confinement()}: {_either(otherwise, 'run on the host')}"


def lack(needed: Sequence[str], otherwise: str = "") -> str:
    """As `cure`; empty where no capability is missing, so that something else must be the reason."""
    if os.geteuid() != 0:
        return ": run with become"
    missing = _missing(needed)
    if not missing:
        return ""
    options = " ".join(name.replace("CAP_", "--cap-add=") for name in missing)
    add = f"add {'it' if len(missing) == 1 else 'them'} (docker run {options})"
    why = f"because root has no {' and no '.join(missing)}, as in a container"
    return f", {why}: {_either(otherwise, add, 'run on the host')}"


def blindness() -> str:
    """Why a process can't be seen, and what to do, as `cure`; empty where every process should be seen."""
    known = lack(SEE)
    if known:
        return known
    with contextlib.suppress(OSError):
        if os.readlink("/proc/self/ns/pid") != _FIRST_PROCESSES:
            return ", because it runs outside of this container: run on the host"
    return "" if _is_root_everywhere() else cure(SEE)


def _missing(needed: Sequence[str]) -> list[str]:
    """Those of the capabilities that this process does not have."""
    effective = int(_status(os.getpid()).get("CapEff", ["-1"])[0], 16)
    # Who may write any file may read it.
    if effective >> _CAPABILITIES["CAP_DAC_OVERRIDE"] & 1:
        effective |= 1 << _CAPABILITIES["CAP_DAC_READ_SEARCH"]
    return [name for name in needed if not effective >> _CAPABILITIES[name] & 1]


def _is_root_everywhere() -> bool:
    """Whether our user namespace is that of the host."""
    with contextlib.suppress(OSError), open("/proc/self/uid_map", encoding="utf-8") as file:
        return file.read().split() == _EVERY_USER
    return True


def _confinement() -> str:
    """What else may refuse, in brackets."""
    label = _label()
    if label not in ("", "unconfined"):
        return f" (it is confined as {label})"
    if _status(os.getpid()).get("Seccomp") == ["2"]:
        return " (a seccomp filter is in force)"
    return " (AppArmor, SELinux or the file system may refuse it)"


def _label() -> str:
    """What the security module calls us; empty without one."""
    with contextlib.suppress(OSError), open("/proc/self/attr/current", encoding="utf-8", errors="replace") as file:
        return file.read(200).strip("\0\n")
    return ""


def _either(*ways: str) -> str:
    """Ways as a choice; the empty ones are left out."""
    *first, last = (way for way in ways if way)
    return f"{', '.join(first)}, or {last}" if first else last


def as_its_user(pid: int, uid: int | None, user: str | None) -> str:
    """How to become the user of a node, who may see its sockets; empty where that does not help."""
    if uid in (None, os.geteuid()) or user in (None, str(uid)):
        return ""
    try:
        is_inside = len(_status(pid).get("NSpid", [])) > len(_status(os.getpid()).get("NSpid", []))
    except EpmdError:
        return ""
    # A number that is mapped to no user of ours is shown as 65534, which is somebody else's.
    return "" if is_inside or not _is_mapped(uid or 0) else f"become the node's user (become_user: {user})"


def _is_mapped(uid: int) -> bool:
    with contextlib.suppress(OSError), open("/proc/self/uid_map", encoding="utf-8") as file:
        ranges = [list(map(int, line.split())) for line in file]
        return any(first <= uid < first + count for first, _outside, count in ranges)
    return True
