# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The TCP sockets of processes: what they listen on, and their connections to epmd.

Standard: proc(5), `/proc/PID/fd`, joined by inode with what sock_diag(7) says; where the kernel
does not offer that, psutil's `Process.net_connections`, called `connections` before psutil 6.0.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
from typing import Any, Collection, Iterator, NamedTuple

from . import processes, sock_diag
from .processes import Vm

with contextlib.suppress(ImportError):  # processes.require_psutil() says so
    import psutil

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_FAMILIES = (socket.AF_INET, socket.AF_INET6)


class Listener(NamedTuple):
    """A listening socket; fd -1 and backlog None where they are not known."""

    fd: int
    address: str
    port: int
    backlog: int | None = None

    @property
    def reachable(self) -> str:
        """The address to dial."""
        return _ANY.get(self.address, self.address)


class Sockets(NamedTuple):
    """The sockets of a process that matter here.

    listeners: by descriptor, lowest first. to_epmd: the ports from which it is connected to epmd. clients: how many
    connections to this epmd there are in all in this network namespace, None where that is not known.
    """

    listeners: list[Listener]
    to_epmd: set[int]
    clients: int | None = None


def of(vm: Vm, epmd_port: int) -> Sockets:
    """The sockets of a VM; none if it has ended. Errors: NotPermitted."""
    pid = vm.pid or 0
    try:
        try:
            return from_kernel(pid, epmd_port, vm.uid)
        except PermissionError:
            raise processes.not_permitted(vm) from None
        except FileNotFoundError:
            return Sockets([], set())
        except OSError:
            return from_psutil(pid, epmd_port)
    except psutil.AccessDenied:
        raise processes.not_permitted(vm) from None
    except psutil.NoSuchProcess:
        return Sockets([], set())


def from_kernel(pid: int, epmd_port: int, uid: int | None = None) -> Sockets:
    """As `of`, by sock_diag. uid: the user of the process, where it is known. Errors: OSError."""
    servers = list(sockets(sock_diag.LISTEN))
    clients = list(sockets(sock_diag.ESTABLISHED, remote_port=epmd_port))
    # A node may have a hundred thousand clients, but few of its user's sockets matter, and they are its oldest.
    enough = {found.inode for found in servers + clients if found.uid == uid and found.port != epmd_port}
    held = descriptors(pid, enough)
    to_epmd = {found.port for found in clients if found.inode in held}
    listeners = [
        Listener(held[found.inode], found.address, found.port, found.backlog)
        for found in servers
        if found.inode in held
    ]
    return Sockets(sorted(listeners), to_epmd, len(clients))


def from_psutil(pid: int, epmd_port: int) -> Sockets:
    """As `of`, by psutil. Errors: those of psutil."""
    connections = tcp(psutil.Process(pid))
    listeners = [
        Listener(found.fd, found.laddr.ip, found.laddr.port)
        for found in connections
        if found.status == psutil.CONN_LISTEN
    ]
    return Sockets(sorted(listeners), {found.laddr.port for found in connections if is_connected(found, epmd_port)})


def sockets(state: int, remote_port: int = 0, local_port: int = 0) -> Iterator[sock_diag.Found]:
    """As `sock_diag.sockets`, of both families."""
    for family in _FAMILIES:
        yield from sock_diag.sockets(family, state, remote_port, local_port)


def descriptors(pid: int, enough: Collection[int] = ()) -> dict[int, int]:
    """Inode to descriptor, for every socket of a process, or until all of these inodes are found. Errors: OSError."""
    found: dict[int, int] = {}
    left = set(enough)
    with os.scandir(f"/proc/{pid}/fd") as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                target = os.readlink(entry.path)
                if target.startswith("socket:["):
                    inode = int(target[len("socket:[") : -1])
                    found[inode] = int(entry.name)
                    left.discard(inode)
                    if enough and not left:
                        break
    return found


def tcp(source: Any) -> list[Any]:
    """What psutil tells of TCP, of the whole host or of a `psutil.Process`. Errors: those of psutil."""
    read = getattr(source, "net_connections", None) or source.connections
    found: list[Any] = read(kind="tcp")
    return found


def is_connected(found: Any, port: int) -> bool:
    """Whether this, by psutil, is a connection to that port."""
    return bool(found.status == psutil.CONN_ESTABLISHED and found.raddr and found.raddr.port == port)


def listening(port: int) -> Iterator[sock_diag.Found]:
    """The sockets that listen on this port, by sock_diag. Errors: OSError."""
    return (found for found in sockets(sock_diag.LISTEN) if found.port == port)


def listener_called(pattern: str | re.Pattern[str], port: int) -> int | None:
    """The pid of the process of this name that listens on this port, if it can be seen. Errors: OSError."""
    inodes = {found.inode for found in listening(port)}
    if not inodes:
        return None
    # It is most often one of those that were there already when the nodes were looked for.
    for look in (processes.known_pids_called, processes.pids_called):
        for pid in look(pattern):
            with contextlib.suppress(OSError):  # not ours to see, or gone
                if inodes & set(descriptors(pid, inodes)):
                    return pid
    return None


def epmd_pid(port: int) -> int | None:
    """The pid of the process called epmd that listens on this port, if it can be seen."""
    try:
        return listener_called("epmd", port)
    except OSError:
        # Here and not above: with most kernels it is not needed.
        from .owners import listening_pids  # noqa: PLC0415

        named = (pid for pid in listening_pids(port) if pid in processes.pids_called("epmd"))
        return next(named, None)


def largest_backlog() -> int:
    """What the kernel cuts the backlog of a listener down to, in this network namespace (listen(2))."""
    with contextlib.suppress(OSError, ValueError), open("/proc/sys/net/core/somaxconn", encoding="ascii") as file:
        return int(file.read())
    return 1 << 31
