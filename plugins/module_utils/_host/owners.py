# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who holds which TCP socket: what a VM listens on, and who serves an epmd port.

Standard: as `interface.py`. Only `sockets_of` raises: the others are about what can be seen, which is nothing where the
system hides it, or can't be read. `searches.py` and `connections.py` have what only some hosts need. Private to the
collection.
"""

from __future__ import annotations

import contextlib
from typing import Callable, Collection, TypeVar

from .._errors import EpmdError, PsutilMissing
from .._record import Record
from . import namespaces
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
    connections to this epmd there are in all in this network namespace, None where that is not known. are_all: whether
    it surely has no others.
    """

    listeners: list[Listener]
    to_epmd: set[int]
    clients: int | None = None
    are_all: bool = True


class Sought(Record):
    """The sockets of a VM that are looked for: once they are found, the others need not be.

    listener: whether one may be the listener, None where none is looked for. connection: whether a connection to epmd
    is.
    """

    listener: Callable[[Socket], bool] | None
    connection: bool


class Listing(Record):
    """The listeners of a network namespace, and its connections to one epmd port."""

    servers: list[Socket]
    clients: list[Socket]


def listing(epmd_port: int) -> Listing:
    """What is there now. Errors: OSError, PsutilMissing."""
    return Listing(reader().listening(), reader().connected(remote_port=epmd_port))


def sockets_of(vm: Vm, epmd_port: int, sought: Sought | None = None, earlier: Listing | None = None) -> Sockets:
    """The sockets of a VM; none if it has ended, or only its port is known.

    earlier: a listing to look in, which many nodes of a host can share; by now there may be others. Errors:
    NotPermitted, EpmdError.
    """
    if vm.pid is None:
        return Sockets([], set())
    try:
        servers, clients = earlier or listing(epmd_port)
        # A node may have a hundred thousand clients, but few of its user's sockets matter, and they are its oldest.
        mine = [found for found in servers + clients if found.uid == vm.uid and found.port != epmd_port]
        enough = _enough(mine, sought) if sought else []
        are_all = not enough and not earlier
        held = reader().descriptors(vm.pid, servers + clients, enough or [[found] for found in mine])
    except PermissionError:
        from . import processes

        raise processes.not_permitted(vm) from None
    except ProcessLookupError:
        return Sockets([], set())
    except OSError as error:
        raise EpmdError(f"the system does not list its TCP sockets ({error.strerror}): run again") from None
    return Sockets(
        sorted(Listener(held[found], found.address, found.port, found.backlog) for found in servers if found in held),
        {found.port for found in clients if found in held},
        len(clients),
        are_all,
    )


def _enough(mine: list[Socket], sought: Sought) -> list[list[Socket]]:
    """The sockets of which one each has to be found; empty where all have to be seen."""
    listeners = [found for found in mine if not found.remote_port and sought.listener and sought.listener(found)]
    if sought.listener and not listeners:
        return []
    connections = [found for found in mine if found.remote_port and sought.connection]
    return [kind for kind in (listeners, connections) if kind]


def epmds(port: int) -> list[tuple[int | None, list[str]]]:
    """Who listens on an epmd port, each with its addresses: every process called epmd, at last None for all others."""
    found: list[tuple[int | None, list[str]]] = []
    left = set(listening(port))
    # Most often it is one of those that were there already when the nodes were looked for.
    for known in (True, False):
        for pid in pids_called(is_epmd, known) if left else ():
            held = set(held_by(pid, left))
            if held:
                found.append((pid, addresses_of(held)))
                left -= held
    return sorted(found) + ([(None, addresses_of(left))] if left else [])


def is_awaited(port: int) -> bool:
    """Whether systemd listens on this port in place of an epmd, and starts that for the first who asks."""
    # On a host where an epmd runs, nothing more is looked at.
    if any(namespaces.network_of(pid) is None for pid in pids_called(is_epmd, known=True)):
        return False
    sockets = listening(port)
    pids = {pid for found in holders_of(sockets).values() for pid in found} if sockets else set()
    return bool(pids) and all(_name(pid) == "systemd" for pid in pids)


def addresses(port: int) -> list[str]:
    """The addresses of this host on which something listens on this port."""
    return addresses_of(listening(port))


def largest_backlog() -> int:
    """What the kernel cuts the backlog of a listener down to, in this network namespace (listen(2))."""
    with contextlib.suppress(OSError, ValueError), open(SOMAXCONN, encoding="utf-8") as file:
        return int(file.read())
    return 1 << 31


def seen(look: Callable[[Reader], T], otherwise: T) -> T:
    """What the host shows; `otherwise` where it hides that, or can't be read."""
    try:
        return look(reader())
    except (OSError, PsutilMissing):
        return otherwise


def is_epmd(name: str) -> bool:
    """Whether this is the command name of an epmd."""
    return name == "epmd"


def pids_called(fits: Callable[[str], bool], known: bool = False) -> list[int]:
    return seen(lambda host: host.known_pids_called(fits) if known else host.pids_called(fits), [])


def _name(pid: int) -> str:
    return seen(lambda host: host.process(pid).name, "")


def listening(port: int | None = None) -> list[Socket]:
    return seen(lambda host: host.listening(port), [])


def held_by(pid: int, sockets: Collection[Socket]) -> dict[Socket, int]:
    return seen(lambda host: host.descriptors(pid, sockets), {})


def holders_of(sockets: Collection[Socket]) -> dict[Socket, list[int]]:
    return seen(lambda host: host.holders(sockets), {})


def addresses_of(sockets: Collection[Socket]) -> list[str]:
    return sorted({found.address for found in sockets})
