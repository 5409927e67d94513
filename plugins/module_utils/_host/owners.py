# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who holds which TCP socket: what a VM listens on, who serves an epmd port, who is at the end of a connection.

Standard: as `interface.py`. Only `sockets_of` raises: the others are about what can be seen, which is nothing where the
system hides it, or can't be read. Private to the collection.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import Callable, Collection, TypeVar

from .._errors import EpmdError, PsutilMissing
from .._record import Record
from .._wire.transport import Address
from . import namespaces, vms
from .interface import Reader, Socket
from .reader import reader
from .vms import Vm

T = TypeVar("T")

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}

SOMAXCONN = "/proc/sys/net/core/somaxconn"
"""Where Linux has the largest backlog of a listener."""


class Listener(Record):
    """A listening socket; fd -1 and backlog None where they are not known."""

    fd: int
    address: str
    port: int
    backlog: int | None = None

    @property
    def reachable(self) -> str:
        """The address to dial."""
        return _ANY.get(self.address, self.address)


class Sockets(Record):
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
    found: list[tuple[int | None, list[str]]] = []
    left = set(_listening(port))
    # Most often it is one of those that were there already when the nodes were looked for.
    for known in (True, False):
        for pid in _pids_called("epmd", known) if left else ():
            held = set(_held(pid, left))
            if held:
                found.append((pid, _addresses(held)))
                left -= held
    return sorted(found) + ([(None, _addresses(left))] if left else [])


def is_awaited(port: int) -> bool:
    """Whether systemd listens on this port in place of an epmd, and starts that for the first who asks."""
    # On a host where an epmd runs, nothing more is looked at.
    if any(namespaces.network_of(pid) is None for pid in _pids_called("epmd", known=True)):
        return False
    sockets = _listening(port)
    pids = {pid for found in _holders(sockets).values() for pid in found} if sockets else set()
    return bool(pids) and all(_name(pid) == "systemd" for pid in pids)


def strangers(port: int, its_addresses: Collection[str]) -> dict[int, list[str]]:
    """Each process that listens on this port at one of these addresses, with all of its own on this port.

    As far as they can be seen: empty where one belongs to another user.
    """
    sockets = _listening(port)
    if os.geteuid() != 0 and any(found.uid != os.geteuid() for found in sockets):
        return {}
    pids = {pid for found, pid in _owners(sockets).items() if found.address in its_addresses}
    return {pid: found for pid, found in listening_at(port).items() if pid in pids}


def listening_at(port: int) -> dict[int, list[str]]:
    """The addresses at which each process listens on this port, as far as they can be seen. Looks at every process."""
    found: dict[int, set[Socket]] = {}
    for listener, pid in _owners(_listening(port)).items():
        found.setdefault(pid, set()).add(listener)
    return {pid: _addresses(listeners) for pid, listeners in sorted(found.items())}


def epmd_pids(port: int) -> list[int]:
    """Every process called epmd that runs now, except with another port in its environment (ERL_EPMD_PORT).

    One whose environment can't be read counts: a daemon forks twice, so it may have a successor by now.
    """
    own = str(port)
    return [pid for pid in _pids_called("epmd") if _environment(pid).get("ERL_EPMD_PORT", own) == own]


def _environment(pid: int) -> dict[str, str]:
    return _seen(lambda host: host.process(pid).environment, {})


def epmd_pid(port: int) -> int | None:
    """The pid of the process called epmd that listens on this port, if it can be seen."""
    return next((pid for pid, _addresses in epmds(port)), None)


def addresses(port: int) -> list[str]:
    """The addresses of this host on which something listens on this port."""
    return _addresses(_listening(port))


def listening_uid(port: int) -> int | None:
    """The user whose socket listens on this port."""
    return next((found.uid for found in _listening(port)), None)


def listening_emulator(port: int) -> str | None:
    """The program of the Erlang VM that listens on this port."""
    sockets = _listening(port)
    pids = _pids_called(vms.EMULATOR) if sockets else []
    pid = next((pid for pid in pids if _held(pid, sockets)), None)
    return None if pid is None else _seen(lambda host: host.process(pid).executable, None)


def listening_pids(port: int) -> list[int]:
    """The pids that listen on this port. Looks at every process."""
    return sorted(set(_owners(_listening(port)).values()))


def listening_owners() -> dict[int, int]:
    """The pid that listens on each port, the lowest of several. Looks at every process."""
    return dict(sorted(((found.port, pid) for found, pid in _owners(_listening()).items()), reverse=True))


def connected_pids(port: int, own_port: int | None) -> list[int]:
    """The pids that are connected to this port, from that port if it is known. Looks at every process."""
    return sorted(set(_owners(_connected(own_port, port)).values()))


def peer_port(pid: int, descriptor: int, port: int) -> int | None:
    """The port at the other end of a connection that a process has accepted on `port`."""
    held = _held(pid, _connected(port, None))
    return next((found.remote_port for found, fd in held.items() if fd == descriptor), None)


def accepted(pid: int, server: Address, client: Address) -> bool:
    """Whether a process holds the end `server` of the connection that comes from `client`."""
    return bool(
        _held(
            pid,
            [
                found
                for found in _connected(server.port, client.port)
                if (_plain(found.address), _plain(found.remote_address)) == (server.host, client.host)
            ],
        )
    )


def _plain(address: str) -> str:
    """An address as a client has it: a listener of both families has that of IPv4 inside one of IPv6 (RFC 4291)."""
    prefix = "::ffff:"
    return address[len(prefix) :] if address.startswith(prefix) and "." in address else address


def largest_backlog() -> int:
    """What the kernel cuts the backlog of a listener down to, in this network namespace (listen(2))."""
    with contextlib.suppress(OSError, ValueError), open(SOMAXCONN, encoding="utf-8") as file:
        return int(file.read())
    return 1 << 31


def _seen(look: Callable[[Reader], T], otherwise: T) -> T:
    """What the host shows; `otherwise` where it hides that, or can't be read."""
    try:
        return look(reader())
    except (OSError, PsutilMissing):
        return otherwise


def _pids_called(pattern: str | re.Pattern[str], known: bool = False) -> list[int]:
    return _seen(lambda host: host.known_pids_called(pattern) if known else host.pids_called(pattern), [])


def _name(pid: int) -> str:
    return _seen(lambda host: host.process(pid).name, "")


def _listening(port: int | None = None) -> list[Socket]:
    return _seen(lambda host: host.listening(port), [])


def _connected(local_port: int | None, remote_port: int | None) -> list[Socket]:
    return _seen(lambda host: host.connected(local_port, remote_port), [])


def _held(pid: int, sockets: Collection[Socket]) -> dict[Socket, int]:
    return _seen(lambda host: host.descriptors(pid, sockets), {})


def _holders(sockets: Collection[Socket]) -> dict[Socket, list[int]]:
    return _seen(lambda host: host.holders(sockets), {})


def _owners(sockets: Collection[Socket]) -> dict[Socket, int]:
    """The pid to name for each of the sockets; of several holders the lowest, which are the parents of the others.

    The first process counts only where it is alone: it keeps the sockets that it hands to services (systemd.socket(5)).
    """
    return {found: next((pid for pid in pids if pid != 1), 1) for found, pids in _holders(sockets).items()}


def _addresses(sockets: Collection[Socket]) -> list[str]:
    return sorted({found.address for found in sockets})
