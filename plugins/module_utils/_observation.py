# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time; do not use it from elsewhere.
"""Looks at nodes and at their epmds, and changes nothing: processes, sockets, tables, challenges.

Standard: "Observe" in the way of the data. What is seen goes to `_diagnosis.py`.
"""

from __future__ import annotations

from typing import NamedTuple

from . import _epmd, _epmd_client, _listeners, _processes
from ._diagnosis import Observation
from ._epmd_client import Daemon, Table
from ._errors import EpmdError
from ._listeners import Listener, Sockets
from ._node import NodeConnection
from ._processes import Vm
from ._transport import Deadline

_APART = "it is in a network namespace of its own, as in a container: run the module in there"


class Seen(NamedTuple):
    """A node as it was seen. `connection` is at its challenge, and open: whoever has this closes it."""

    vm: Vm
    daemon: Daemon
    listener: Listener | None
    observation: Observation
    connection: NodeConnection | None


def daemon_of(vm: Vm, epmd_port: int | None) -> Daemon:
    """Where this node looks for its epmd (`do_register_node` in erl_epmd.erl)."""
    port = epmd_port or vm.said.epmd_port or _epmd.DEFAULT_PORT
    return Daemon("::1" if vm.said.inet6 else "127.0.0.1", port)


def observe(vm: Vm, epmd_port: int | None, port: int | None, deadline: Deadline) -> Seen:
    """Look at one node, at the cost of one challenge. Errors: NotPermitted."""
    daemon = daemon_of(vm, epmd_port)
    exempt = _exempt(vm)
    apart = vm.pid is not None and not _processes.shares_our_network(vm.pid)
    sockets = _sockets(vm, daemon, port)
    candidates = [] if exempt or apart else _candidates(vm, sockets.listeners)
    # Half of the time is for epmd, so that a hanging one leaves time to say so.
    table = Table(None) if exempt or apart else _epmd_client.ask_names(daemon, deadline.share(2))
    candidates.sort(key=lambda listener: listener.port not in (table.names or {}).values())
    if vm.said.name is None and vm.pid is not None:
        # Perhaps no node at all: only the likeliest port is disturbed.
        del candidates[1:]
    listener, connection, trouble = _first_challenge(vm, candidates, deadline)
    observation = Observation(
        said_name=vm.said.name,
        name=connection.peer.name if connection else None,
        trouble=_APART if apart else trouble,
        port=listener.port if listener else None,
        exempt=exempt,
        epmd_optional=_epmd_optional(vm),
        table=table,
        holds=None if vm.pid is None else sockets.holds,
    )
    return Seen(vm, daemon, listener, observation, connection)


def look_again(seen: Seen, deadline: Deadline) -> Observation:
    """The same node with what epmd has now, and with who holds the name now."""
    holds = None
    if seen.vm.pid is not None:
        holds = _listeners.of(seen.vm, seen.daemon.port).holds
    return seen.observation._replace(table=_epmd_client.ask_names(seen.daemon, deadline), holds=holds)


def _exempt(vm: Vm) -> str:
    if vm.said.epmd_module not in (None, "erl_epmd"):
        return f"it finds other nodes with its own -epmd_module {vm.said.epmd_module}"
    if not vm.said.listens:
        return "it runs with -dist_listen false or a name to be lent, so no other node can connect to it"
    return ""


def _epmd_optional(vm: Vm) -> str:
    if vm.said.erl_epmd_port is None:
        return ""
    return f"it runs with -erl_epmd_port {vm.said.erl_epmd_port}, and there is no epmd: it needs none"


def _sockets(vm: Vm, daemon: Daemon, port: int | None) -> Sockets:
    if vm.pid is None:
        loopback = [Listener(-1, address, port or 0) for address in ("127.0.0.1", "::1")]
        return Sockets(loopback, False)
    sockets = _listeners.of(vm, daemon.port)
    if port is None:
        return sockets
    return sockets._replace(listeners=[found for found in sockets.listeners if found.port == port])


def _candidates(vm: Vm, listeners: list[Listener]) -> list[Listener]:
    """The listeners that can be the distribution port, likeliest first: it is opened before all others."""
    if vm.said.listen_range is None:
        return list(listeners)
    low, high = vm.said.listen_range
    return [listener for listener in listeners if low <= listener.port <= high]


def _first_challenge(
    vm: Vm, candidates: list[Listener], deadline: Deadline
) -> tuple[Listener | None, NodeConnection | None, str]:
    """Ask one after the other, and stop at the first that answers as a node."""
    likeliest = candidates[0] if candidates else None
    if vm.said.tls and likeliest:
        return likeliest, None, "it speaks TLS distribution, which this version does not"
    troubles = []
    for place, listener in enumerate(candidates):
        # One that hangs must leave time for the others, and for saying so.
        patience = deadline.share(len(candidates) - place + 1)
        try:
            connection = NodeConnection.open(listener.reachable, listener.port, patience, deadline)
        except EpmdError as error:
            troubles.append(f"{listener.reachable} port {listener.port}: {error}")
        else:
            return listener, connection, ""
    return likeliest, None, "; ".join(troubles)
