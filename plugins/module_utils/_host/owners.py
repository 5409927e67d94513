# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who holds which TCP socket: what a VM listens on, who serves an epmd port, who is at the end of a connection.

Standard: as `interface.py`. Nothing but `sockets_of` raises: where the system hides something, or can't be read at all,
there is nothing to be seen. Private to the collection.
"""

from __future__ import annotations

import contextlib
from typing import Collection, NamedTuple

from .._errors import EpmdError, PsutilMissing
from . import vms
from .interface import Socket
from .reader import reader
from .vms import Vm

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}

SOMAXCONN = "/proc/sys/net/core/somaxconn"
"""Where Linux has the largest backlog of a listener."""


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
    """The sockets of a VM that matter here.

    listeners: by descriptor, lowest first. to_epmd: the ports from which it is connected to epmd. clients: how many
    connections to this epmd there are in all in this network namespace, None where that is not known.
    """

    listeners: list[Listener]
    to_epmd: set[int]
    clients: int | None = None


def sockets_of(vm: Vm, epmd_port: int) -> Sockets:
    """The sockets of a VM; none if it has ended, or only its port is known. Errors: NotPermitted, EpmdError."""
    if vm.pid is None:
        return Sockets([], set())
    try:
        servers, clients = reader().listening(), reader().connected(remote_port=epmd_port)
        # A node may have a hundred thousand clients, but few of its user's sockets matter, and they are its oldest.
        enough = [found for found in servers + clients if found.uid == vm.uid and found.port != epmd_port]
        held = reader().descriptors(vm.pid, servers + clients, enough)
    except PermissionError:
        raise vms.not_permitted(vm) from None
    except ProcessLookupError:
        return Sockets([], set())
    except OSError as error:
        raise EpmdError(f"the system does not list its TCP sockets ({error.strerror}): run again") from None
    return Sockets(
        sorted(Listener(held[found], found.address, found.port, found.backlog) for found in servers if found in held),
        {found.port for found in clients if found in held},
        len(clients),
    )


def epmds(port: int) -> list[tuple[int | None, list[str]]]:
    """Who listens on an epmd port, each with its addresses: every process called epmd, at last None for all others."""
    with _as_far_as_seen():
        found: list[tuple[int | None, list[str]]] = []
        left = set(reader().listening(port))
        # Most often it is one of those that were there already when the nodes were looked for.
        for look in (reader().known_pids_called, reader().pids_called):
            for pid in look("epmd") if left else ():
                with contextlib.suppress(OSError):  # not ours to see, or gone
                    held = set(reader().descriptors(pid, left))
                    found += [(pid, _addresses(held))] if held else []
                    left -= held
        return sorted(found) + ([(None, _addresses(left))] if left else [])
    return []


def epmd_pid(port: int) -> int | None:
    """The pid of the process called epmd that listens on this port, if it can be seen."""
    return next((pid for pid, _addresses in epmds(port)), None)


def addresses(port: int) -> list[str]:
    """The addresses of this host on which something listens on this port."""
    with _as_far_as_seen():
        return _addresses(reader().listening(port))
    return []


def listening_uid(port: int) -> int | None:
    """The user whose socket listens on this port."""
    with _as_far_as_seen():
        return next((found.uid for found in reader().listening(port)), None)
    return None


def listening_emulator(port: int) -> str | None:
    """The program of the Erlang VM that listens on this port."""
    with _as_far_as_seen():
        sockets = reader().listening(port)
        for pid in reader().pids_called(vms.EMULATOR) if sockets else ():
            with contextlib.suppress(OSError):  # not ours to see, or gone
                if reader().descriptors(pid, sockets):
                    return reader().process(pid).executable
    return None


def listening_pids(port: int) -> list[int]:
    """The pids that listen on this port. Looks at every process."""
    with _as_far_as_seen():
        return _holders(reader().listening(port))
    return []


def listening_owners() -> dict[int, int]:
    """The pid that listens on each port, the lowest of several. Looks at every process."""
    with _as_far_as_seen():
        holders = reader().holders(reader().listening())
        return dict(sorted(((socket.port, _owner(pids)) for socket, pids in holders.items()), reverse=True))
    return {}


def connected_pids(port: int, own_port: int | None) -> list[int]:
    """The pids that are connected to this port, from that port if it is known. Looks at every process."""
    with _as_far_as_seen():
        return _holders(reader().connected(own_port, port))
    return []


def peer_port(pid: int, descriptor: int, port: int) -> int | None:
    """The port at the other end of a connection that a process has accepted on `port`."""
    with _as_far_as_seen():
        for socket, held in reader().descriptors(pid, reader().connected(local_port=port)).items():
            if held == descriptor:
                return socket.remote_port
    return None


def accepted(pid: int, port: int, remote_port: int) -> bool:
    """Whether a process holds the connection to its `port` that comes from this port."""
    with _as_far_as_seen():
        return bool(reader().descriptors(pid, reader().connected(port, remote_port)))
    return False


def largest_backlog() -> int:
    """What the kernel cuts the backlog of a listener down to, in this network namespace (listen(2))."""
    with contextlib.suppress(OSError, ValueError), open(SOMAXCONN, encoding="ascii") as file:
        return int(file.read())
    return 1 << 31


def _as_far_as_seen() -> contextlib.suppress:
    return contextlib.suppress(OSError, PsutilMissing)


def _addresses(sockets: Collection[Socket]) -> list[str]:
    return sorted({socket.address for socket in sockets})


def _holders(sockets: Collection[Socket]) -> list[int]:
    return sorted({_owner(pids) for pids in reader().holders(sockets).values()})


def _owner(pids: list[int]) -> int:
    """Whose a socket is that several hold: the first process keeps those that it hands to services (systemd.socket(5)),
    and whoever forks to share the work comes before its children."""
    return next((pid for pid in pids if pid != 1), 1)
