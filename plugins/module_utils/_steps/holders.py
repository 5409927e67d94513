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
from .._host import connections, owners, processes, rights, searches, systemd
from .._limits import MARGIN_SECONDS
from .._options import Options, agrees
from .._record import Record
from .._wire import epmd, epmd_client
from .._wire.epmd_client import Daemon
from .._wire.node import NodeConnection
from . import diagnose
from .at_once import at_once
from .distribution_port import KNOWN_SERVICES
from .records import Diagnosis, Epmd, Finding, Lost, Observation
from .tables import ask

_ITSELF = "its holder is the node itself"


def name_them(findings: Sequence[Finding], timeout: float) -> list[Finding]:
    """The same findings; where something is in the way, the sentence says who."""
    blocked = [finding for finding in findings if finding.diagnosis.verdict in diagnose.BLOCKED]
    outcomes = at_once(_named, blocked, lambda finding: finding.observation.vm, timeout + MARGIN_SECONDS)
    named = {id(finding): outcome for finding, outcome in zip(blocked, outcomes) if isinstance(outcome, Diagnosis)}
    return [finding._replace(diagnosis=named.get(id(finding), finding.diagnosis)) for finding in findings]


def _named(finding: Finding) -> Diagnosis:
    """The diagnosis with who is in the way of this node. Never raises EpmdError."""
    observation, diagnosis = finding.observation, finding.diagnosis
    deadline = Deadline(observation.left)
    if diagnosis.verdict == diagnose.EPMD_UNRESPONSIVE:
        return _saying(diagnosis, owner_of_epmd_port(observation.daemon.port))
    holder = _holder(observation, deadline)
    if diagnosis.verdict == diagnose.BORROWED:
        return _saying(diagnosis, holder)
    at_port = what_is_at(observation.table.names[str(observation.alive)], observation, deadline)
    said = _saying(diagnosis, holder, at_port.sentence)
    if holder != _ITSELF:
        return said
    if observation.vm.pid is None or not at_port.is_another or not observation.name or not observation.listener:
        return _saying(said, by_hand(observation))
    left = observation._replace(left=deadline.unused())
    return said._replace(lost=Lost(left, str(observation.alive), observation.listener, diagnosis.msg))


def _saying(diagnosis: Diagnosis, *sentences: str) -> Diagnosis:
    return diagnosis._replace(msg="; ".join([diagnosis.msg, *sentences]))


def _owner(port: int) -> str:
    """Whose a listening port is."""
    pids = searches.listening_pids(port)
    if pids:
        return f"port {port} belongs to {_described(pids)}"
    if owners.addresses(port):
        blind = rights.blindness()
        owner = f"a process that can't be seen{blind}" if blind else "no process of this host"
        return f"port {port} belongs to {owner}"
    return f"nothing listens on port {port}"


def owner_of_epmd_port(port: int) -> str:
    """Whose the port of an epmd is, at which addresses, and what keeps those processes alive."""
    found = searches.listening_at(port)
    if not found:
        return _owner(port)
    each = []
    for pid, addresses in found.items():
        unit = systemd.unit_of(pid)
        each.append(f"{processes.describe(pid)}{f' in {unit}' if unit else ''}, at {', '.join(addresses)}")
    return f"port {port} belongs to {'; '.join(each)}"


def _holder(observation: Observation, deadline: Deadline) -> str:
    """Whose connection keeps the name at epmd."""
    port = observation.daemon.port
    try:
        client = port_of_holder(observation.daemon, str(observation.alive), deadline)
    except EpmdError:
        client = None
    pids = searches.connected_pids(port, client)
    own = [observation.vm.pid] if observation.vm.pid else searches.listening_pids(observation.port or 0)
    if client and pids and pids == own:
        return _ITSELF
    others = [pid for pid in pids if pid not in own]
    if not others:
        blind = rights.blindness()
        return f"its holder can't be seen{blind}" if blind else "its holder is no process of this host"
    return f"its holder is {'' if client else 'one of '}{_described(others)}"


def port_of_holder(daemon: Daemon, alive: str, deadline: Deadline) -> int | None:
    """The port from which the holder of this name is connected to epmd; None where that can't be seen."""
    descriptor = epmd_client.ask_descriptors(daemon, deadline).get(alive)
    pid = None if descriptor is None else searches.epmd_pid(daemon.port)
    if pid is None or descriptor is None:
        return None
    return connections.peer_port(pid, descriptor, daemon.port)


class AtPort(Record):
    """What is at the port that epmd has for a node, in words; is_another: whether it was seen to be none of its ports.

    What was not asked, or did not answer, may pass on to the node what it gets.
    """

    sentence: str
    is_another: bool


def what_is_at(port: int, observation: Observation, deadline: Deadline) -> AtPort:
    """What is at a port that epmd has for this node. A node there is asked like any other, without the cookie.

    Anybody may register any port: only an Erlang VM is asked, which a handshake does no harm.
    """
    owner = _owner(port)
    if port == observation.daemon.port or not owners.addresses(port):
        return AtPort(owner, True)
    if port in KNOWN_SERVICES or searches.listening_emulator(port) is None:
        return AtPort(owner, False)
    try:
        connection = NodeConnection.open(observation.daemon.address, port, deadline.share(2), deadline)
    except EpmdError:
        return AtPort(f"{owner}, where no node answers", False)
    connection.close()
    name = connection.peer.name
    return AtPort(f"{owner}, where a node answers that calls itself {name}", name != observation.name)


def by_hand(observation: Observation) -> str:
    """What has this node give up its connection to epmd and register its own name and port, for a person to type.

    Only to close the socket is not enough: OTP 23.3 and newer would register the same again. The name comes from the
    node, since a node may call itself anything.
    """
    family = ", inet6" if observation.vm.command_line.inet6 else ""
    alive = 'hd(string:tokens(atom_to_list(node()), "@"))'
    return (
        "type in a shell of the node, or see by_hand in the documentation: S = element(2, sys:get_state(erl_epmd)), "
        f"erl_epmd ! {{tcp_closed, S}}, gen_tcp:close(S), erl_epmd:register_node({alive}, {observation.port}{family})."
    )


def _described(pids: Iterable[int]) -> str:
    return ", ".join(processes.describe(pid) for pid in pids)


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
    return listed + processes.hidden()


def _tables(epmds: Iterable[Epmd], options: Options) -> dict[int, dict[str, int]]:
    """The tables of the epmds of our own network namespace, with that on the port that nodes use by default."""
    tables = {seen.key.daemon.port: seen.after.names for seen in epmds if seen.key.namespace is None}
    port = options.epmd_port or epmd.DEFAULT_PORT
    if port not in tables:
        tables[port] = ask(Daemon("127.0.0.1", port), Deadline(options.timeout)).names
    return tables


def _foreigner(name: str, tables: dict[int, dict[str, int]]) -> str:
    """Who has this name at one of these epmds, where no Erlang VM of this host has it; empty where nobody has it."""
    alive = name.partition("@")[0]
    for found, port in ((found, port) for names in tables.values() for found, port in names.items()):
        if agrees(alive, found):
            pids = searches.listening_pids(port)
            owner = f"belongs to {_described(pids)}" if pids else "belongs to no process that can be seen"
            return f"epmd has this name with port {port}, which {owner}; no Erlang VM here has this name"
    return ""
