# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time; do not use it from elsewhere.
"""The TCP sockets of processes: what they listen on, and their connections to epmd.

Standard: proc(5), `/proc/PID/fd`, joined by inode with what sock_diag(7) says; where the kernel
does not offer that, psutil's `Process.net_connections`, called `connections` before psutil 6.0.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
from typing import Any, Callable, Iterator, NamedTuple

from . import _processes, _sock_diag
from ._processes import Vm

with contextlib.suppress(ImportError):  # _processes.require_psutil() says so
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
            return from_kernel(pid, epmd_port)
        except PermissionError:
            raise _processes.not_permitted(vm) from None
        except FileNotFoundError:
            return Sockets([], set())
        except OSError:
            return from_psutil(pid, epmd_port)
    except psutil.AccessDenied:
        raise _processes.not_permitted(vm) from None
    except psutil.NoSuchProcess:
        return Sockets([], set())


def from_kernel(pid: int, epmd_port: int) -> Sockets:
    """As `of`, by sock_diag. Errors: OSError."""
    descriptors = _descriptors(pid)
    listeners = [
        Listener(descriptors[found.inode], found.address, found.port, found.backlog)
        for found in _sockets(_sock_diag.LISTEN)
        if found.inode in descriptors
    ]
    clients = list(_sockets(_sock_diag.ESTABLISHED, remote_port=epmd_port))
    to_epmd = {found.port for found in clients if found.inode in descriptors}
    return Sockets(sorted(listeners), to_epmd, len(clients))


def _sockets(state: int, remote_port: int = 0, local_port: int = 0) -> Iterator[_sock_diag.Found]:
    """As `_sock_diag.sockets`, of both families."""
    for family in _FAMILIES:
        yield from _sock_diag.sockets(family, state, remote_port, local_port)


def _descriptors(pid: int) -> dict[int, int]:
    """Inode to descriptor, for every socket of a process. Errors: OSError."""
    found = {}
    directory = f"/proc/{pid}/fd"
    for name in os.listdir(directory):
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            target = os.readlink(f"{directory}/{name}")
            if target.startswith("socket:["):
                found[int(target[len("socket:[") : -1])] = int(name)
    return found


def from_psutil(pid: int, epmd_port: int) -> Sockets:
    """As `of`, by psutil. Errors: those of psutil."""
    connections = _tcp(psutil.Process(pid))
    listeners = [
        Listener(found.fd, found.laddr.ip, found.laddr.port)
        for found in connections
        if found.status == psutil.CONN_LISTEN
    ]
    return Sockets(sorted(listeners), {found.laddr.port for found in connections if _is_connected(found, epmd_port)})


def _tcp(source: Any) -> list[Any]:
    read = getattr(source, "net_connections", None) or source.connections
    found: list[Any] = read(kind="tcp")
    return found


def _is_listening(found: Any, port: int) -> bool:
    return bool(found.status == psutil.CONN_LISTEN and found.laddr.port == port)


def _is_connected(found: Any, port: int) -> bool:
    return bool(found.status == psutil.CONN_ESTABLISHED and found.raddr and found.raddr.port == port)


def _listening(port: int) -> Iterator[_sock_diag.Found]:
    """The sockets that listen on this port, by sock_diag. Errors: OSError."""
    return (found for found in _sockets(_sock_diag.LISTEN) if found.port == port)


def addresses(port: int) -> list[str]:
    """The addresses of this host on which something listens on this port, as far as that can be seen."""
    try:
        return sorted({found.address for found in _listening(port)})
    except OSError:
        if not _processes.HAS_PSUTIL:
            return []
        return sorted({found.laddr.ip for found in _tcp(psutil) if _is_listening(found, port)})


def _listener_called(pattern: str | re.Pattern[str], port: int) -> int | None:
    """The pid of the process of this name that listens on this port, if it can be seen. Errors: OSError."""
    inodes = {found.inode for found in _listening(port)}
    # It is most often one of those that were there already when the nodes were looked for.
    for look in (_processes.known_pids_called, _processes.pids_called):
        for pid in look(pattern):
            with contextlib.suppress(OSError):  # not ours to see, or gone
                if inodes & set(_descriptors(pid)):
                    return pid
    return None


def listening_emulator(port: int) -> str | None:
    """The program of the Erlang VM that listens on this port, if it can be seen. Needs no psutil."""
    with contextlib.suppress(OSError):
        pid = _listener_called(_processes.EMULATOR, port)
        return os.readlink(f"/proc/{pid}/exe") if pid else None
    return None


def epmd_pid(port: int) -> int | None:
    """The pid of the process called epmd that listens on this port, if it can be seen."""
    try:
        return _listener_called("epmd", port)
    except OSError:
        named = (pid for pid in listening_pids(port) if pid in _processes.pids_called("epmd"))
        return next(named, None)


def peer_port(pid: int, descriptor: int, port: int) -> int | None:
    """The port at the other end of a connection that a process has accepted on `port`; None where it can't be seen."""
    try:
        try:
            inode = os.readlink(f"/proc/{pid}/fd/{descriptor}")
            for found in _sockets(_sock_diag.ESTABLISHED, local_port=port):
                if inode == f"socket:[{found.inode}]":
                    return found.remote_port
        except (PermissionError, FileNotFoundError):
            return None
        except OSError:
            for found in _tcp(psutil.Process(pid)):
                if found.fd == descriptor and found.raddr:
                    return int(found.raddr.port)
    except psutil.Error:
        return None
    return None


def accepted(pid: int, port: int, remote_port: int) -> bool:
    """Whether a process holds the connection to its `port` that comes from this port, as far as can be seen."""
    try:
        try:
            descriptors = _descriptors(pid)
            return any(
                found.inode in descriptors and found.remote_port == remote_port
                for found in _sockets(_sock_diag.ESTABLISHED, local_port=port)
            )
        except (PermissionError, FileNotFoundError):
            return False
        except OSError:
            ends = [found for found in _tcp(psutil.Process(pid)) if found.raddr and found.laddr.port == port]
            return any(found.raddr.port == remote_port for found in ends)
    except psutil.Error:
        return False


def largest_backlog() -> int:
    """What the kernel cuts the backlog of a listener down to, in this network namespace (listen(2))."""
    with contextlib.suppress(OSError, ValueError), open("/proc/sys/net/core/somaxconn", encoding="ascii") as file:
        return int(file.read())
    return 1 << 31


def listening_uid(port: int) -> int | None:
    """The user whose socket listens on this port. Needs no psutil, and no rights."""
    with contextlib.suppress(OSError):
        for found in _listening(port):
            return found.uid
    return None


def listening_pids(port: int) -> list[int]:
    """The pids that listen on this port, as far as they can be seen. Reads every socket of the host."""
    return _pids(lambda found: _is_listening(found, port))


def listening_owners() -> dict[int, int]:
    """The pid that listens on each port, as far as it can be seen. Reads every socket of the host."""
    try:
        found = [(at.laddr.port, at.pid) for at in _tcp(psutil) if at.pid and at.status == psutil.CONN_LISTEN]
    except psutil.Error:
        return {}
    return dict(sorted(found, reverse=True))


def connected_pids(port: int, own_port: int | None) -> list[int]:
    """The pids that are connected to this port, from that port if it is known. Reads every socket of the host."""
    return _pids(lambda found: _is_connected(found, port) and own_port in (None, found.laddr.port))


def _pids(wanted: Callable[[Any], Any]) -> list[int]:
    try:
        return sorted({found.pid for found in _tcp(psutil) if found.pid and wanted(found)})
    except psutil.Error:
        return []
