# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose a port or a connection is: for sentences about who is in the way, and before a digest is sent.

Standard: as `_listeners.py`, which is about one process that is known.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any, Callable

from . import processes, sock_diag
from .listeners import descriptors, is_connected, listener_called, listening, sockets, tcp

with contextlib.suppress(ImportError):  # processes.require_psutil() says so
    import psutil


def addresses(port: int) -> list[str]:
    """The addresses of this host on which something listens on this port, as far as that can be seen."""
    try:
        return sorted({found.address for found in listening(port)})
    except OSError:
        if not processes.HAS_PSUTIL:
            return []
        return sorted({found.laddr.ip for found in tcp(psutil) if _is_listening(found, port)})


def listening_uid(port: int) -> int | None:
    """The user whose socket listens on this port. Needs no psutil, and no rights."""
    with contextlib.suppress(OSError):
        for found in listening(port):
            return found.uid
    return None


def listening_emulator(port: int) -> str | None:
    """The program of the Erlang VM that listens on this port, if it can be seen. Needs no psutil."""
    with contextlib.suppress(OSError):
        pid = listener_called(processes.EMULATOR, port)
        return os.readlink(f"/proc/{pid}/exe") if pid else None
    return None


def listening_pids(port: int) -> list[int]:
    """The pids that listen on this port, as far as they can be seen. Reads every socket of the host."""
    return _pids(lambda found: _is_listening(found, port))


def listening_owners() -> dict[int, int]:
    """The pid that listens on each port, as far as it can be seen. Reads every socket of the host."""
    try:
        found = [(at.laddr.port, at.pid) for at in tcp(psutil) if at.pid and at.status == psutil.CONN_LISTEN]
    except psutil.Error:
        return {}
    return dict(sorted(found, reverse=True))


def connected_pids(port: int, own_port: int | None) -> list[int]:
    """The pids that are connected to this port, from that port if it is known. Reads every socket of the host."""
    return _pids(lambda found: is_connected(found, port) and own_port in (None, found.laddr.port))


def peer_port(pid: int, descriptor: int, port: int) -> int | None:
    """The port at the other end of a connection that a process has accepted on `port`; None where it can't be seen."""
    try:
        try:
            inode = os.readlink(f"/proc/{pid}/fd/{descriptor}")
            for found in sockets(sock_diag.ESTABLISHED, local_port=port):
                if inode == f"socket:[{found.inode}]":
                    return found.remote_port
        except (PermissionError, FileNotFoundError):
            return None
        except OSError:
            for found in tcp(psutil.Process(pid)):
                if found.fd == descriptor and found.laddr.port == port and found.raddr:
                    return int(found.raddr.port)
    except psutil.Error:
        return None
    return None


def accepted(pid: int, port: int, remote_port: int) -> bool:
    """Whether a process holds the connection to its `port` that comes from this port, as far as can be seen."""
    try:
        try:
            ends = sockets(sock_diag.ESTABLISHED, remote_port=remote_port, local_port=port)
            inodes = {found.inode for found in ends}
            return bool(inodes & set(descriptors(pid, inodes)))
        except (PermissionError, FileNotFoundError):
            return False
        except OSError:
            seen = [found for found in tcp(psutil.Process(pid)) if found.raddr and found.laddr.port == port]
            return any(found.raddr.port == remote_port for found in seen)
    except psutil.Error:
        return False


def _pids(wanted: Callable[[Any], Any]) -> list[int]:
    try:
        return sorted({found.pid for found in tcp(psutil) if found.pid and wanted(found)})
    except psutil.Error:
        return []


def _is_listening(found: Any, port: int) -> bool:
    return bool(found.status == psutil.CONN_LISTEN and found.laddr.port == port)
