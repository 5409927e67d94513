# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at nodes and at their epmds, and changes nothing: processes, sockets, tables, challenges.

Standard: "Observe" in the way of the data. What is seen goes to `_diagnosis.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .._deadline import Deadline
from .._errors import Closed, EpmdError, NodeRefused, ProtocolError, TlsFailed
from .._host import listeners
from .._host.listeners import Listener, Sockets
from .._host.processes import Vm
from .._options import Options
from .._wire import epmd, epmd_client
from .._wire.epmd_client import Daemon, Table
from .._wire.node import NodeConnection
from . import distribution_port
from .diagnose import Observation

if TYPE_CHECKING:
    from .._wire.tls import Tls


LOOPBACK = ["127.0.0.1", "::1"]


class Seen(NamedTuple):
    """A node as it was seen. `connection` is at its challenge, and open: whoever has this closes it."""

    vm: Vm
    daemon: Daemon
    listener: Listener | None
    tls: bool
    observation: Observation
    connection: NodeConnection | None


class Answer(NamedTuple):
    """Who answered where; without a connection, why there is none, and whether it is a node at all (None: silence)."""

    listener: Listener | None
    connection: NodeConnection | None
    trouble: str
    is_node: bool | None


def daemon_of(vm: Vm, epmd_port: int | None) -> Daemon:
    """Where this node looks for its epmd (`get_epmd_port` in erl_epmd.erl); `epmd_port` if nothing is known of it."""
    port = vm.said.epmd_port or (epmd_port if vm.pid is None else None) or epmd.DEFAULT_PORT
    return Daemon("::1" if vm.said.inet6 else "127.0.0.1", port)


def observe(vm: Vm, options: Options, deadline: Deadline) -> Seen:
    """Look at one node, at the cost of one challenge. Errors: NotPermitted."""
    daemon = daemon_of(vm, options.epmd_port)
    tls = vm.said.tls or (vm.pid is None and bool(options.tls_certfile or options.tls_cafile))
    exempt = _exempt(vm)
    sockets = _sockets(vm, daemon, options.port)
    if exempt:
        table, answer = Table(None), Answer(None, None, "", None)
    else:
        # Half of the time is for epmd, so that a hanging one leaves time to say so.
        table = epmd_client.ask_names(daemon, deadline.share(2))
        answer = _ask(vm, tls, sockets.listeners, table, options, deadline)
    observation = Observation(
        said_name=vm.said.name,
        name=answer.connection.peer.name if answer.connection else None,
        trouble=answer.trouble,
        # Behind a port that is given is a node, or the user is wrong.
        is_node=answer.is_node if vm.pid is not None else None,
        port=answer.listener.port if answer.listener else None,
        exempt=exempt,
        epmd_optional=_epmd_optional(vm),
        table=table,
        holds=None,
    )
    observation = observation._replace(table=epmd_client.confirm(daemon, table, observation.alive or "", deadline))
    holds = _holds(vm, daemon, observation, sockets, deadline)
    return Seen(vm, daemon, answer.listener, tls, observation._replace(holds=holds), answer.connection)


def look_again(seen: Seen, deadline: Deadline) -> Observation:
    """The same node with what epmd has now, and with who holds the name now."""
    table = epmd_client.ask_about(seen.daemon, seen.observation.alive or "", deadline)
    observation = seen.observation._replace(table=table)
    sockets = _sockets(seen.vm, seen.daemon, observation.port)
    return observation._replace(holds=_holds(seen.vm, seen.daemon, observation, sockets, deadline))


def _holds(vm: Vm, daemon: Daemon, observation: Observation, sockets: Sockets, deadline: Deadline) -> bool | None:
    """Whether the registration is the node's own, as far as that can be seen."""
    if vm.pid is None or not observation.is_registered:
        return None
    if not sockets.to_epmd:
        return False
    if sockets.clients == len(observation.table.names or {}):
        # Each name has a connection, so each connection has a name: what the node holds is its registration.
        return True
    # Here and not above, as in `_ensure.py`.
    from . import holder  # noqa: PLC0415

    holder = holder.port_of(daemon, str(observation.alive), deadline)
    return holder is None or holder in sockets.to_epmd


def _exempt(vm: Vm) -> str:
    if vm.said.epmd_module not in (None, "erl_epmd"):
        return f"it finds other nodes with its own -epmd_module {vm.said.epmd_module}"
    if vm.said.no_epmd:
        return f"it runs with {vm.said.no_epmd}, so it uses no epmd"
    if not vm.said.listens:
        return "it runs with -dist_listen false or a name to be lent, so no other node can connect to it"
    return ""


def _epmd_optional(vm: Vm) -> str:
    if vm.said.erl_epmd_port is None:
        return ""
    return f"it runs with -erl_epmd_port {vm.said.erl_epmd_port}, and there is no epmd: it needs none"


def _sockets(vm: Vm, daemon: Daemon, port: int | None) -> Sockets:
    if vm.pid is None:
        # Here and not above, as in `_ensure.py`.
        from .._host import owners  # noqa: PLC0415

        addresses = owners.addresses(port or 0) or LOOPBACK
        return Sockets([Listener(-1, address, port or 0) for address in addresses], set())
    sockets = listeners.of(vm, daemon.port)
    if port is None:
        return sockets
    return sockets._replace(listeners=[found for found in sockets.listeners if found.port == port])


def _registered(vm: Vm, table: Table) -> list[int]:
    """The port that epmd has for its name; for all names where that is not known."""
    names = table.names or {}
    alive = (vm.said.name or "").partition("@")[0]
    return [port for name, port in names.items() if not alive or name == alive]


def _ask(vm: Vm, tls: bool, listeners: list[Listener], table: Table, options: Options, deadline: Deadline) -> Answer:
    """Find the distribution port among these listeners, and ask there for the name."""
    candidates = listeners
    if options.port is None:
        candidates = distribution_port.candidates(
            listeners,
            vm.said.listen_range,
            _registered(vm, table),
            listeners.largest_backlog(),
            named=vm.said.name is not None,
        )
    if not candidates:
        ports = ", ".join(str(port) for port in sorted({listener.port for listener in listeners}))
        return Answer(None, None, f"it listens only for other services (port {ports})" if ports else "", None)
    context = None
    if tls:
        # Here and not above, as in `_ensure.py`; the library is large, too.
        from .._host import certificates  # noqa: PLC0415

        files = certificates.Files(options.tls_certfile, options.tls_keyfile, options.tls_cafile, "", "tls_certfile")
        try:
            # A file system may hang, and leaves half of the time for epmd and for saying so.
            context = certificates.prepare(vm, files, deadline.share(2))
        except EpmdError as error:
            return Answer(candidates[0], None, str(error), None)
    return _first_challenge(candidates, context, deadline)


def _first_challenge(candidates: list[Listener], tls: Tls | None, deadline: Deadline) -> Answer:
    """Ask one after the other, and stop at the first that answers as a node."""
    troubles, silent = [], False
    for place, listener in enumerate(candidates):
        # One that hangs must leave time for the others, and for saying so.
        patience = deadline.share(len(candidates) - place + 1)
        where = f"{listener.reachable} port {listener.port}"
        try:
            connection = NodeConnection.open(listener.reachable, listener.port, patience, deadline, tls)
        except NodeRefused as error:
            return Answer(listener, None, f"{where}: {error}", True)
        except (ProtocolError, Closed) as error:
            troubles.append(f"{where}: {error}")
        except TlsFailed as error:
            # A refusal of a certificate is one for all ports, and other services must not be bothered.
            return Answer(listener, None, f"{where}: {error}", None)
        except EpmdError as error:
            silent = True
            troubles.append(f"{where}: {error}")
        else:
            return Answer(listener, connection, "", True)
    return Answer(candidates[0], None, "; ".join(troubles), None if silent else False)
