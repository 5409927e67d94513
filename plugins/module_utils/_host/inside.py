# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Work in the place where a node lives: its network namespace, its root directory. Linux only.

Standard: setns(2), chroot(2), prctl(2), cgroups(7). A process that has entered a place can't always leave it, so the
work is done in a child (`children.py`). Paths of a node are only ever resolved inside its own root: a symbolic link in
a container must not reach a file of the host. Private to the collection.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import Callable, Iterator, Sequence, TypeVar

from .._errors import NotPermitted
from .._record import Record
from . import children, files, rights
from .namespaces import mapped, shares, shares_root

T = TypeVar("T")

CLONE_NEWNET = 0x40000000

PR_SET_PDEATHSIG, PR_CAPBSET_READ, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 23, 24, 38

CGROUPS = "/sys/fs/cgroup"


class Ids(Record):
    """The user and group of a process, as its own user namespace numbers them."""

    uid: int
    gid: int


def join_network(pid: int) -> None:
    """Move this process into the network namespace of that one; it can't go back.

    Errors: NotPermitted, Ended.
    """
    call = _system_calls()
    with _entering(pid, "its network namespace", rights.JOIN), open(f"/proc/{pid}/ns/net", "rb") as namespace:
        call("setns", namespace.fileno(), CLONE_NEWNET)


def _system_calls() -> Callable[..., int]:
    """A function that makes a system call by its name, for those that Python lacks. Its errors: OSError."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)

    def call(name: str, *arguments: int) -> int:
        result = int(getattr(libc, name)(*arguments))
        if result < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return result

    return call


def with_files_of(pid: int | None, seconds: float, work: Callable[[], T]) -> T:
    """The result of `work`, done with the root directory, the mounts and the rights of this process (None: our own).

    `seconds`: when to give up on it, as a file system may hang. Errors: Ended, NotPermitted, TimedOut, and those of
    `work`.
    """
    if pid is None:
        return children.result_of(work, seconds)
    theirs = rights.of_process(pid)
    is_ours = shares_root(pid) and (shares(pid, "mnt") or os.geteuid() != 0)

    def work_there() -> T:
        with _entering(pid, "its root directory", rights.CHANGE_ROOT):
            if not is_ours:
                # What would be imported from now on would be a file of theirs.
                sys.meta_path.clear()
                files.before_another_root()
                _change_root(pid)
            rights.take(theirs)
        return work()

    # A child also for a root that is ours: a file system that hangs must not take us along.
    return children.result_of(work_there, seconds)


def _change_root(pid: int) -> None:
    os.chroot(f"/proc/{pid}/root")
    os.chdir("/")


@contextlib.contextmanager
def _entering(pid: int, place: str, needed: Sequence[str]) -> Iterator[None]:
    """The refusal to let us into a place of a process, in a sentence; needed: the capabilities that it takes."""
    try:
        yield
    except (FileNotFoundError, ProcessLookupError):
        raise rights.ended(pid) from None
    except OSError as error:
        raise NotPermitted(
            f"it is in a place of its own, as in a container, and {place} can't be entered "
            f"({os.strerror(error.errno or 0)}){rights.cure(needed)}"
        ) from None


def entrance(pid: int, as_itself: bool) -> Callable[[], None]:
    """What a child calls before it becomes a program, to run where this process lives, with no more rights than it.

    That is as its user or as root of its user namespace, with its namespaces, root directory, bounding set of
    capabilities and no_new_privs: the program is theirs, so it must not get what only we have. The network namespace is
    left out: the caller has joined it already. For `preexec_fn` of subprocess, in a process of one thread.

    Errors: OSError, Ended.
    """
    # Not in the child: what is imported from now on could be a file of theirs.
    call = _system_calls()
    ids = ids_inside(pid) if as_itself else Ids(0, 0)
    confinement = rights.confinement_of(pid)
    with open("/proc/sys/kernel/cap_last_cap", encoding="utf-8") as file:
        every = range(int(file.read()) + 1)
    excess = [capability for capability in every if not confinement.capabilities >> capability & 1]
    # The user namespace first: it gives the rights for the others, where they are its own.
    apart = [kind for kind in ("user", "mnt", "uts", "ipc", "pid") if not shares(pid, kind)]

    def enter() -> None:
        if as_itself:
            # It has to end with the container, and must not stay among the processes of this login.
            move_to_cgroup(os.getpid(), pid)
        # All are opened while /proc is ours; exec closes them.
        root = os.open(f"/proc/{pid}/root", os.O_RDONLY | os.O_CLOEXEC)
        for namespace in [os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in apart]:
            call("setns", namespace, 0)
        if "pid" in apart:
            _become_first_child()
        os.fchdir(root)
        os.chroot(".")
        for capability in excess:
            if call("prctl", PR_CAPBSET_READ, capability, 0, 0, 0):
                call("prctl", PR_CAPBSET_DROP, capability, 0, 0, 0)
        with contextlib.suppress(OSError):  # a user namespace may forbid it, and then there are none of ours
            os.setgroups([])
        os.setgid(ids.gid)
        os.setuid(ids.uid)
        if confinement.no_new_privileges:
            call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        if "pid" in apart:
            # Its parent, which is killed when its time is over, is outside. After setuid, which would undo this.
            call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

    return enter


def _become_first_child() -> None:
    """Go on in a child, which alone is in a process namespace that was joined; the parent ends as it does."""
    child = os.fork()
    if child == 0:
        return
    # Among these is a pipe that tells subprocess, by its end, that the program runs.
    os.closerange(3, 1 << 16)
    _pid, status = os.waitpid(child, 0)
    os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))


def ids_inside(pid: int) -> Ids:
    """The effective user and group of a process, as it sees them itself. Errors: Ended."""
    theirs = rights.of_process(pid)
    return Ids(mapped(_map(pid, "uid_map"), theirs.uid), mapped(_map(pid, "gid_map"), theirs.gid))


def _map(pid: int, name: str) -> str:
    try:
        with open(f"/proc/{pid}/{name}", encoding="utf-8") as file:
            return file.read()
    except OSError:
        raise rights.ended(pid) from None


def move_to_cgroup(pid: int, neighbour: int) -> None:
    """Move a process into the cgroups of another one, as far as that is allowed."""
    with contextlib.suppress(OSError), open(f"/proc/{neighbour}/cgroup", encoding="utf-8") as file:
        for path in member_files(file.read()):
            with contextlib.suppress(OSError), open(path, "w", encoding="utf-8") as members:
                members.write(str(pid))


def member_files(cgroups: str) -> list[str]:
    """The files that take a process into each of the cgroups in the text of /proc/PID/cgroup."""
    found = []
    for line in cgroups.splitlines():
        _number, controllers, path = line.split(":", 2)
        found.append(os.path.join(CGROUPS, controllers.replace("name=", ""), path.lstrip("/"), "cgroup.procs"))
    return found
