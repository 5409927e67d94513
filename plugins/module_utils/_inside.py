# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time; do not use it from elsewhere.
"""Work in the place where a node lives: its network namespace, its root directory. Linux only.

Standard: setns(2), chroot(2), nsenter(1), cgroups(7). A process that has entered a place can't
always leave it, so the work is done in a child (`_children.py`). Paths of a node are only ever
resolved inside its own root: a symbolic link in a container must not reach a file of the host.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Callable, Iterator, NamedTuple, TypeVar

from . import _children, _files, _rights
from ._errors import NotPermitted
from ._namespaces import shares, shares_root

T = TypeVar("T")

CLONE_NEWNET = 0x40000000

_NSENTER = {"mnt": "--mount", "uts": "--uts", "ipc": "--ipc", "pid": "--pid", "user": "--user"}


class Ids(NamedTuple):
    """The user and group of a process, as its own user namespace numbers them."""

    uid: int
    gid: int


def join_network(pid: int) -> None:
    """Move this process, for good, into the network namespace of that one.

    Errors: NotPermitted, FileNotFoundError where it has ended.
    """
    # Here and not above: files alone need no system call of its own.
    import ctypes  # noqa: PLC0415

    libc = ctypes.CDLL(None, use_errno=True)
    with _entering("its network namespace"), open(f"/proc/{pid}/ns/net", "rb") as namespace:
        if libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def with_files_of(pid: int | None, seconds: float, work: Callable[[], T]) -> T:
    """The result of `work`, done with the root directory, the mounts and the rights of this process.

    `seconds`: when to give up on it. Errors: NotPermitted, EpmdError where it has ended, and those of `work`.
    """
    if pid is None:
        return work()
    rights = _rights.of_process(pid)
    here = shares_root(pid) and (shares(pid, "mnt") or os.geteuid() != 0)

    def there() -> T:
        with _entering("its root directory"):
            if not here:
                # What would be imported from now on would be a file of theirs.
                sys.meta_path.clear()
                _files.before_another_root()
                os.chroot(f"/proc/{pid}/root")
                os.chdir("/")
            _rights.take(rights)
        return work()

    # A child also for a root that is ours: a file system that hangs must not take us along.
    return _children.result_of(there, seconds)


@contextlib.contextmanager
def _entering(place: str) -> Iterator[None]:
    """What the system says to this, in a sentence."""
    try:
        yield
    except FileNotFoundError:
        raise  # the process has ended
    except OSError as error:
        raise NotPermitted(
            f"it is in a place of its own, as in a container, and {place} can't be entered "
            f"({os.strerror(error.errno or 0)}): run with become"
        ) from None


def command_inside(pid: int, as_itself: bool) -> list[str]:
    """The start of a command that runs where this process lives, as its user or as root in there.

    The network namespace is left out: whoever asks has joined it.
    """
    apart = [option for kind, option in _NSENTER.items() if not shares(pid, kind)]
    ids = ids_inside(pid) if as_itself else Ids(0, 0)
    return ["nsenter", f"--target={pid}", *apart, "--root", "--wd", f"--setgid={ids.gid}", f"--setuid={ids.uid}", "--"]


def ids_inside(pid: int) -> Ids:
    """The effective user and group of a process, as it sees them itself. Errors: OSError, EpmdError."""
    rights = _rights.of_process(pid)
    return Ids(_mapped(pid, "uid_map", rights.uid), _mapped(pid, "gid_map", rights.gid))


def _mapped(pid: int, file_name: str, number: int) -> int:
    with open(f"/proc/{pid}/{file_name}", encoding="ascii") as file:
        for line in file:
            inside, outside, count = map(int, line.split())
            if outside <= number < outside + count:
                return inside + number - outside
    return number


def move_to_cgroup(pid: int, neighbour: int) -> None:
    """Move a process into the cgroups of another one, as far as that is allowed."""
    with contextlib.suppress(OSError), open(f"/proc/{neighbour}/cgroup", encoding="utf-8") as file:
        for line in file:
            _number, controllers, path = line.rstrip("\n").split(":", 2)
            mounted = controllers.replace("name=", "")
            with contextlib.suppress(OSError), open(f"/sys/fs/cgroup/{mounted}{path}/cgroup.procs", "w") as procs:
                procs.write(str(pid))
