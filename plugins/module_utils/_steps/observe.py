# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at nodes and at their epmds, and changes nothing: processes, sockets, tables, challenges. Private.

Standard: "Observe" in the way of the data. What is seen goes to `diagnose.py`.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Iterator, Sequence

from .._deadline import Deadline
from .._errors import (
    Closed,
    Ended,
    EpmdError,
    NodeRefused,
    NotPermitted,
    ProtocolError,
    SpeaksNoTls,
    SpeaksTls,
    TlsFailed,
    in_words,
)
from .._host import owners, vms
from .._host.owners import Listener, Listing, Sockets, Sought
from .._host.vms import Vm
from .._limits import MARGIN_SECONDS, MOMENT_SECONDS
from .._options import Options, agrees
from .._record import Record
from .._wire import epmd, epmd_client
from .._wire.epmd_client import Daemon, Table
from .._wire.node import NodeConnection
from . import distribution_port, tables
from .at_once import at_once
from .distribution_port import Candidates
from .records import EpmdKey, Observation

if TYPE_CHECKING:
    from .._wire.tls import Tls


LOOPBACK = ["127.0.0.1", "::1"]


class Answer(Record):
    """Which listener is the distribution port, and the name in its challenge.

    Without a name, trouble says why, and is_node whether it is a node at all (None: it is silent). tls: whether that
    was spoken.
    """

    listener: Listener | None
    name: str | None
    trouble: EpmdError | None
    is_node: bool | None
    tls: bool = False


def find(options: Options) -> list[Vm]:
    """The Erlang VMs to look at, those of our own network namespace first. Errors: EpmdError."""
    if options.port is not None and (options.cookie is not None or options.cookie_file is not None):
        from .._host import searches

        uid = searches.listening_uid(options.port)
        user = None if uid is None else vms.user_name(uid)
        executable = searches.listening_emulator(options.port)
        return [vms.UNKNOWN._replace(uid=uid, user=user, executable=executable)]
    found = vms.find()
    if options.port is None:
        return sorted(found, key=lambda vm: vm.namespace or 0)
    return _at_port([vm for vm in found if vm.namespace is None], options.port, options.epmd_port)


def _at_port(found: Sequence[Vm], port: int, epmd_port: int | None) -> list[Vm]:
    """The VM that listens on this port: whose port it is decides whose cookie it gets.

    Errors: EpmdError; NotPermitted where one may be it and can't be seen. The user whose port it is can be seen always.
    """
    from .._host import searches

    listening: list[Vm] = []
    hidden: list[NotPermitted] = []
    for vm in found:
        try:
            there = Sought(lambda found: found.port == port, connection=False)
            sockets = owners.sockets_of(vm, daemon_of(vm, epmd_port).port, there)
        except NotPermitted as error:
            if searches.listening_uid(port) in (vm.uid, None):
                hidden.append(error)
        else:
            listening += [vm for listener in sockets.listeners if listener.port == port][:1]
    if hidden and not listening and owners.addresses(port):
        raise hidden[0]
    return listening


def may_be_wanted(vm: Vm, options: Options) -> bool:
    """False only where the command line alone tells that the user did not ask for this node."""
    name = vm.command_line.name
    if name is None or options.port is not None or not options.name:
        return True
    alive = name.partition("@")[0]
    return any(agrees(wanted.partition("@")[0], alive) for wanted in options.name)


def is_wanted(observation: Observation, options: Options) -> bool:
    """Whether the user asked for this node, now that its name is known as well as it can be."""
    name = observation.known_name
    is_full = name is not None and (observation.name is not None or "@" in name)
    return observation.obstacle is not None or not is_full or options.wants(str(name))


def daemon_of(vm: Vm, epmd_port: int | None) -> Daemon:
    """Where this node asks for its epmd (`get_epmd_port` in erl_epmd.erl); `epmd_port` if nothing is known of it.

    Its address is that of the node's own family: what its flags say, until its listener was found.
    """
    line = vm.command_line
    # A line without a name may be cut or rewritten, and have lost its port as well.
    port = line.epmd_port or (epmd_port if vm.pid is None or line.name is None else None) or epmd.DEFAULT_PORT
    return Daemon("::1" if line.inet6 else "127.0.0.1", port)


def observe(found: Sequence[Vm], options: Options) -> list[Observation]:
    """Look at these nodes, at the cost of one challenge each. One that has ended meanwhile is left out."""
    if any(vm.command_line.tls for vm in found):
        from .._host import certificates  # noqa: F401

    asked = _tables(found, options)
    outcomes = at_once(
        lambda vm: _observe(vm, options, asked.get(EpmdKey(vm.namespace, daemon_of(vm, options.epmd_port)), _Asked())),
        found,
        lambda vm: vm,
        options.timeout + MARGIN_SECONDS,
    )
    return [
        outcome if isinstance(outcome, Observation) else _unseen(vm, options, outcome)._replace(entered=False)
        for vm, outcome in zip(found, outcomes)
        if outcome is not None
        and not isinstance(outcome.obstacle if isinstance(outcome, Observation) else outcome, Ended)
    ]


class _Asked(Record):
    """The table of an epmd, a listing of the sockets around it right after that, and the seconds that both took.

    None where it could not be asked, or what could not be read.
    """

    table: Table | None = None
    listing: Listing | None = None
    seconds: float = 0


def _tables(found: Sequence[Vm], options: Options) -> dict[EpmdKey, _Asked]:
    """The table of each epmd that these nodes use, as far as it could be asked, once for all of its nodes."""
    nodes = {EpmdKey(vm.namespace, daemon_of(vm, options.epmd_port)): vm for vm in found}

    def ask(key: EpmdKey) -> _Asked:
        start = time.monotonic()
        # Half of the time is for epmd, so that a hanging one leaves time to say so.
        table = tables.ask(key.daemon, Deadline(options.timeout / 2))
        return _Asked(table, listing_for(nodes[key], key.daemon), time.monotonic() - start)

    outcomes = at_once(ask, list(nodes), nodes.__getitem__, options.timeout + MARGIN_SECONDS)
    return {key: outcome for key, outcome in zip(nodes, outcomes) if isinstance(outcome, _Asked)}


def listing_for(vm: Vm, daemon: Daemon) -> Listing | None:
    """A listing in which the nodes of this epmd can be looked for, after its table; None where it can't be had."""
    return owners.seen(lambda _host: owners.listing(daemon.port), None) if vm.pid is not None else None


def _unseen(vm: Vm, options: Options, obstacle: Exception) -> Observation:
    return Observation(vm, daemon_of(vm, options.epmd_port), vm.command_line.tls, obstacle=obstacle)


def _observe(vm: Vm, options: Options, asked: _Asked) -> Observation | None:
    """Look at one node; None if it has ended. asked: what was asked of its epmd before."""
    deadline = Deadline(options.timeout - asked.seconds)
    try:
        return _look(vm, options, asked, deadline)
    except (EpmdError, OSError) as error:
        return _unseen(vm, options, in_words(error))


def _look(vm: Vm, options: Options, asked: _Asked, deadline: Deadline) -> Observation | None:
    daemon = daemon_of(vm, options.epmd_port)
    table = asked.table or tables.ask(daemon, deadline.share(2))
    sockets = _sockets(vm, daemon, options.port, _sought(vm, table, options), asked.listing)
    if vm.pid is not None and not sockets.listeners and vms.has_ended(vm.pid):
        return None
    found = _candidates(vm, sockets.listeners, table, options)
    dialer, own_ports = _Dialer(vm, options, deadline), _own_ports(vm, table)
    if not sockets.are_all:
        found = found._replace(unlikely=[])
    answer = _first_challenge(found, own_ports, dialer, deadline)
    if answer.name is None and not answer.is_node and not sockets.are_all:
        sockets = _sockets(vm, daemon, options.port)
        found = _candidates(vm, sockets.listeners, table, options)
        answer = _first_challenge(found, own_ports, dialer, deadline)
    if answer.name is not None and answer.listener is not None:
        own = daemon._replace(address="::1" if ":" in answer.listener.address else "127.0.0.1")
        if own != daemon:
            daemon, table = own, tables.ask(own, deadline.share(2))
    observation = Observation(
        vm,
        daemon,
        answer.tls,
        listener=answer.listener,
        unasked=tuple(sorted({listener.port for listener in found.unasked})),
        name=answer.name,
        trouble=answer.trouble,
        # Behind a port that the user gives is a node, or the user is wrong.
        is_node=answer.is_node if vm.pid is not None else None,
        connected=bool(sockets.to_epmd),
    )
    table = epmd_client.confirm(daemon, table, observation.alive or "", deadline)
    observation = observation._replace(table=table)
    holds = _holds(observation, sockets, deadline)
    return observation._replace(holds=holds, left=deadline.unused())


def look_again(observation: Observation, table: Table, listing: Listing | None, deadline: Deadline) -> Observation:
    """The same node with what epmd has now, and with who holds the name now.

    listing: of the sockets, as they were after this table. Errors: EpmdError.
    """
    table = epmd_client.confirm(observation.daemon, table, observation.alive or "", deadline)
    observation = observation._replace(table=table)
    sought = Sought(None, connection=True)
    sockets = _sockets(observation.vm, observation.daemon, None, sought, listing)
    return observation._replace(holds=_holds(observation, sockets, deadline))


def _holds(observation: Observation, sockets: Sockets, deadline: Deadline) -> bool | None:
    """Whether the registration is the node's own, as far as that can be seen."""
    if observation.vm.pid is None or not observation.is_registered:
        return None
    if not sockets.to_epmd:
        sockets = _all_sockets(observation, sockets)
    if not sockets.to_epmd:
        return False
    if sockets.clients == len(observation.table.names):
        # Each name has a connection, so each connection has a name: what the node holds is its registration.
        return True
    from . import holders

    holder = holders.port_of_holder(observation.daemon, str(observation.alive), deadline)
    return holder is None or holder in sockets.to_epmd or holder in _all_sockets(observation, sockets).to_epmd


def _all_sockets(observation: Observation, sockets: Sockets) -> Sockets:
    """All sockets of the node, where some may not have been seen."""
    return sockets if sockets.are_all else _sockets(observation.vm, observation.daemon, None)


def _sought(vm: Vm, table: Table, options: Options) -> Sought:
    """What is enough to see of a VM: its likeliest listener, and its connection to epmd where that matters.

    A process may hold a hundred thousand sockets, and these are its oldest.
    """
    line, own, port = vm.command_line, _own_ports(vm, table), options.port
    connection = bool(own) or not line.starts_epmd
    if port is not None:
        return Sought(lambda found: found.port == port, connection)
    rank = distribution_port.ranking(line.listen_range, own, table.names.values(), owners.largest_backlog())
    in_range = distribution_port.IN_RANGE if line.listen_range else distribution_port.LIKELY
    enough = distribution_port.OWN if own else in_range
    return Sought(lambda found: rank(found) <= enough, connection)


def _sockets(
    vm: Vm, daemon: Daemon, port: int | None, sought: Sought | None = None, earlier: Listing | None = None
) -> Sockets:
    if vm.pid is None:
        # Only its port is known: it listens wherever something does.
        at = port or 0
        return Sockets([Listener(-1, address, at) for address in owners.addresses(at) or LOOPBACK], set())
    sockets = owners.sockets_of(vm, daemon.port, sought, earlier)
    if port is None:
        return sockets
    return sockets._replace(listeners=[found for found in sockets.listeners if found.port == port])


def _own_ports(vm: Vm, table: Table) -> list[int]:
    """The port that epmd has for the name on its command line."""
    alive = (vm.command_line.name or "").partition("@")[0]
    return [port for name, port in table.names.items() if name == alive]


def _candidates(vm: Vm, listeners: list[Listener], table: Table, options: Options) -> Candidates:
    if options.port is not None:
        return Candidates(listeners, [], [])
    line = vm.command_line
    return distribution_port.candidates(
        listeners,
        line.listen_range,
        _own_ports(vm, table),
        table.names.values(),
        owners.largest_backlog(),
        is_node=line.name is not None and not line.silent,
    )


def tls_context(vm: Vm, options: Options, deadline: Deadline) -> Tls:
    """How to speak TLS with this node. Errors: EpmdError."""
    from .._host import certificates

    files = certificates.Files(options.tls_certfile, options.tls_keyfile, options.tls_cafile, "", "tls_certfile")
    return certificates.prepare(vm, files, deadline)


class _Dialer:
    """Connects to ports of one VM up to the challenge, in TLS or not: as its flags say, and then as it answers."""

    def __init__(self, vm: Vm, options: Options, deadline: Deadline) -> None:
        self.tls = vm.command_line.tls or (vm.pid is None and bool(options.tls_certfile or options.tls_cafile))
        # Of a port that the user gives, the user's options say it.
        self._is_sure = vm.pid is None or vm.command_line.is_protocol_sure
        self._vm = vm
        self._options = options
        self._deadline = deadline
        self._context: Tls | None = None
        self._troubles: dict[Listener, EpmdError] = {}

    def ask(self, listener: Listener, patience: Deadline) -> tuple[str, bool]:
        """The name of the node that answers there, and whether it speaks TLS. Errors: EpmdError.

        What gave no name is not asked again.
        """
        if listener in self._troubles:
            raise self._troubles[listener]
        try:
            return self._ask(listener, patience)
        except EpmdError as error:
            self._troubles[listener] = error
            raise

    def _ask(self, listener: Listener, patience: Deadline) -> tuple[str, bool]:
        if self._is_sure:
            return self._name(listener, patience, self.tls), self.tls
        try:
            # A node that waits for plain bytes says nothing to TLS.
            return self._name(listener, patience.share(2) if self.tls else patience, self.tls), self.tls
        except NodeRefused:
            raise
        except EpmdError as error:
            if not self.tls and not isinstance(error, SpeaksTls):
                raise
            first = error
        try:
            return self._name(listener, patience, not self.tls), not self.tls
        except NodeRefused:
            raise
        except EpmdError:
            raise first from None

    def _name(self, listener: Listener, patience: Deadline, tls: bool) -> str:
        if tls and self._context is None:
            # A file system may hang, and leaves half of the time for epmd and for saying so.
            self._context = tls_context(self._vm, self._options, self._deadline.share(2))
        context = self._context if tls else None
        connection = NodeConnection.open(listener.reachable, listener.port, patience, self._deadline, context)
        connection.close()
        return connection.peer.name


def _turns(found: Candidates, deadline: Deadline) -> Iterator[tuple[Listener, Deadline]]:
    """Whom to ask, and how long to wait. One that hangs must leave time for the others, and for saying so."""
    for place, listener in enumerate(found.likely):
        yield listener, deadline.share(len(found.likely) - place + 1)
    if found.unlikely:
        ending = deadline.share(2)
        for place, listener in enumerate(found.unlikely):
            yield listener, Deadline(min(MOMENT_SECONDS, ending.unused() / (len(found.unlikely) - place)))


def _first_challenge(found: Candidates, own: Sequence[int], dialer: _Dialer, deadline: Deadline) -> Answer:
    """Ask one after the other, and stop at the first that answers as a node."""
    troubles: list[EpmdError] = []
    silent: EpmdError | None = None
    first = next(iter(found.likely + found.unlikely), None)
    for listener, patience in _turns(found, deadline):
        where = f"{listener.reachable} port {listener.port}"
        try:
            name, tls = dialer.ask(listener, patience)
        except EpmdError as error:
            trouble = type(error)(f"{where}: {error}")
        else:
            return Answer(listener, name, None, True, tls)
        if isinstance(trouble, NodeRefused):
            return Answer(listener, None, trouble, True, dialer.tls)
        speaks_no_tls = isinstance(trouble, SpeaksNoTls)  # another service, or a node whose own TLS options don't work
        if isinstance(trouble, TlsFailed) and not speaks_no_tls:
            # A refusal of a certificate is one for all ports, and other services must not be bothered.
            return Answer(listener, None, trouble, None, dialer.tls)
        troubles.append(trouble)
        if isinstance(trouble, (ProtocolError, Closed)):
            continue
        silent = silent or trouble
        if listener.port in own and not speaks_no_tls:
            return Answer(listener, None, silent, None, dialer.tls)  # the node itself, which hangs
    if not troubles:
        return Answer(None, None, None, None, dialer.tls)
    trouble = type(silent or troubles[0])("; ".join(map(str, troubles)))
    return Answer(first, None, trouble, None if silent else False, dialer.tls)
