# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is in the way of a node, or has the name of one that does not run, in words for a person. Private.

Standard: the verdicts `borrowed`, `conflict` and `epmd_unresponsive`, and `name`, in the documentation of
`epmd_register`. EPMD_DUMP_REQ in the section "EPMD Protocol" gives the descriptor of each name inside epmd, and the
kernel what is at its other end. To be connected to epmd alone proves nothing: a node of OTP 23.3 or newer whose name is
taken asks for it again and again, and each time leaves a connection open that holds no name (`wait_for_reg_reply` in
erl_epmd.erl).
"""

from __future__ import annotations

from typing import Iterable, Sequence

from .._deadline import Deadline
from .._errors import EpmdError
from .._host import owners, vms
from .._limits import MARGIN_SECONDS
from .._options import Options, agrees
from .._wire import epmd, epmd_client
from .._wire.epmd_client import Daemon
from .._wire.node import NodeConnection
from . import diagnose
from .at_once import at_once
from .distribution_port import KNOWN_SERVICES
from .records import Epmd, Finding, Observation


def name_them(findings: Sequence[Finding], timeout: float) -> list[Finding]:
    """The same findings; where something is in the way, the sentence says who."""
    blocked = [finding for finding in findings if finding.diagnosis.verdict in diagnose.BLOCKED]
    outcomes = at_once(_who, blocked, lambda finding: finding.observation.vm, timeout + MARGIN_SECONDS)
    named = {
        id(finding): finding._replace(diagnosis=finding.diagnosis._replace(msg=f"{finding.diagnosis.msg}; {who}"))
        for finding, who in zip(blocked, outcomes)
        if isinstance(who, str)
    }
    return [named.get(id(finding), finding) for finding in findings]


def _who(finding: Finding) -> str:
    """Who is in the way of this node. Never raises EpmdError."""
    observation, deadline = finding.observation, Deadline(finding.observation.left)
    if finding.diagnosis.verdict == diagnose.EPMD_UNRESPONSIVE:
        return _owner(observation.daemon.port)
    holder = _holder(observation, deadline)
    if finding.diagnosis.verdict == diagnose.BORROWED:
        return holder
    port = observation.table.names[str(observation.alive)]
    return f"{holder}; {_owner(port)}{_who_answers(observation.daemon, port, deadline)}"


def _owner(port: int) -> str:
    """Whose a listening port is."""
    pids = owners.listening_pids(port)
    if pids:
        return f"port {port} belongs to {_described(pids)}"
    if owners.addresses(port):
        return f"port {port} belongs to a process that can't be seen: run with become"
    return f"nothing listens on port {port}"


def _holder(observation: Observation, deadline: Deadline) -> str:
    """Whose connection keeps the name at epmd."""
    port = observation.daemon.port
    try:
        client = port_of_holder(observation.daemon, str(observation.alive), deadline)
    except EpmdError:
        client = None
    pids = [pid for pid in owners.connected_pids(port, client) if pid != observation.vm.pid]
    if not pids:
        return "its holder can't be seen: run with become"
    return f"its holder is {'' if client else 'one of '}{_described(pids)}"


def port_of_holder(daemon: Daemon, alive: str, deadline: Deadline) -> int | None:
    """The port from which the holder of this name is connected to epmd; None where that can't be seen."""
    descriptor = epmd_client.ask_descriptors(daemon, deadline).get(alive)
    pid = None if descriptor is None else owners.epmd_pid(daemon.port)
    if pid is None or descriptor is None:
        return None
    return owners.peer_port(pid, descriptor, daemon.port)


def _who_answers(daemon: Daemon, port: int, deadline: Deadline) -> str:
    """What a node at this port calls itself. It is asked like any other, without the cookie.

    Anybody may register any port: only an Erlang VM is asked, which a handshake does no harm.
    """
    if port in KNOWN_SERVICES or owners.listening_emulator(port) is None:
        return ""
    try:
        connection = NodeConnection.open(daemon.address, port, deadline.share(2), deadline)
    except EpmdError:
        return ", where no node answers"
    connection.close()
    return f", where a node answers that calls itself {connection.peer.name}"


def _described(pids: Iterable[int]) -> str:
    return ", ".join(vms.describe(pid) for pid in pids)


FORGOTTEN = "a Java or C node that epmd has forgotten can't be found, and registers only when it is started"


def explain_missing(
    missing: Sequence[str], running: Sequence[str], epmds: Iterable[Epmd], options: Options
) -> list[str]:
    """Why nodes that the user named are not here, in sentences.

    missing: their names. running: the names of the nodes that run. epmds: those that were seen.
    """
    if options.port is not None:
        return [f"{', '.join(missing)}: port {options.port} does not belong to it; {_listed(running)}"]
    alive = {name.partition("@")[0] for name in running}
    unknown = [name for name in missing if name.partition("@")[0] not in alive]
    tables = _tables(epmds, options) if unknown else {}
    found = {name: _foreigner(name, tables) for name in unknown}
    failures = [f"{name}: {sentence}" for name, sentence in found.items() if sentence]
    absent = [name for name in missing if not found.get(name)]
    if absent:
        failures.append(f"{', '.join(absent)}: no such node runs here; {_listed(running)}; {FORGOTTEN}")
    return failures


def _listed(names: Sequence[str]) -> str:
    listed = f"running: {', '.join(sorted(set(names)))}" if names else "no Erlang node is running"
    return listed + vms.hidden()


def _tables(epmds: Iterable[Epmd], options: Options) -> dict[int, dict[str, int]]:
    """The tables of the epmds of our own network namespace, with that on the port that nodes use by default."""
    tables = {seen.key.daemon.port: seen.after.names for seen in epmds if seen.key.namespace is None}
    port = options.epmd_port or epmd.DEFAULT_PORT
    if port not in tables:
        tables[port] = epmd_client.ask_names(Daemon("127.0.0.1", port), Deadline(options.timeout)).names
    return tables


def _foreigner(name: str, tables: dict[int, dict[str, int]]) -> str:
    """Who has this name at one of these epmds, where no Erlang VM of this host has it; empty where nobody has it."""
    alive = name.partition("@")[0]
    for found, port in ((found, port) for names in tables.values() for found, port in names.items()):
        if agrees(alive, found):
            pids = owners.listening_pids(port)
            owner = f"belongs to {_described(pids)}" if pids else "belongs to no process that can be seen"
            return f"epmd has this name with port {port}, which {owner}; no Erlang VM here has this name"
    return ""
