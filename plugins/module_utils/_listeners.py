# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time; do not use it from elsewhere.
"""The TCP sockets of processes: what they listen on, and which hold a connection to epmd.

Standard: psutil's `Process.net_connections`, called `connections` before psutil 6.0.
"""

from __future__ import annotations

import contextlib
from typing import Any, NamedTuple

from . import _processes
from ._processes import Vm

with contextlib.suppress(ImportError):  # _processes.require_psutil() says so
    import psutil

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class Listener(NamedTuple):
    """A listening socket; fd -1 where it is not known."""

    fd: int
    address: str
    port: int

    @property
    def reachable(self) -> str:
        """The address to dial."""
        return _ANY.get(self.address, self.address)


class Sockets(NamedTuple):
    """Listening sockets by descriptor, lowest first, and the remote ports of loopback connections."""

    listeners: list[Listener]
    connected_ports: set[int]


def _loopback(address: str) -> bool:
    return address == "::1" or address.replace("::ffff:", "").startswith("127.")


def _tcp(source: Any) -> list[Any]:
    read = getattr(source, "net_connections", None) or source.connections
    found: list[Any] = read(kind="tcp")
    return found


def of(vm: Vm) -> Sockets:
    """The sockets of a VM. Errors: NotPermitted, EpmdError where it has ended."""
    try:
        connections = _tcp(psutil.Process(vm.pid))
    except psutil.AccessDenied:
        raise _processes.not_permitted(vm) from None
    except psutil.NoSuchProcess:
        return Sockets([], set())
    listeners = [
        Listener(found.fd, found.laddr.ip, found.laddr.port)
        for found in connections
        if found.status == psutil.CONN_LISTEN
    ]
    connected = {
        found.raddr.port
        for found in connections
        if found.status == psutil.CONN_ESTABLISHED and _loopback(found.raddr.ip)
    }
    return Sockets(sorted(listeners), connected)


def epmd_pid(port: int) -> int | None:
    """The pid of the process called epmd that listens on this port, if it can be seen."""
    for pid in _processes.pids_called("epmd"):
        try:
            if any(
                found.status == psutil.CONN_LISTEN and found.laddr.port == port for found in _tcp(psutil.Process(pid))
            ):
                return pid
        except psutil.Error:
            continue  # not ours to see, or gone
    return None


def listening_pids(port: int) -> list[int]:
    """The pids that listen on this port, as far as they can be seen. Reads every socket of the host."""
    return _pids(lambda found: found.status == psutil.CONN_LISTEN and found.laddr.port == port)


def holding_pids(port: int) -> list[int]:
    """The pids that hold a connection to this port. Reads every socket of the host."""
    return _pids(lambda found: found.status == psutil.CONN_ESTABLISHED and found.raddr and found.raddr.port == port)


def _pids(wanted: Any) -> list[int]:
    try:
        return sorted({found.pid for found in _tcp(psutil) if found.pid and wanted(found)})
    except psutil.Error:
        return []
