# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The epmds of a host: one record for each process, with what keeps it alive and whose names it has. Private.

Standard: systemd.unit(5) and cgroups(7) for the unit of a process.
"""

from __future__ import annotations

import os
from typing import Collection, Sequence

from .._deadline import Deadline
from .._host import owners, systemd, vms
from .._host.owners import Listener
from .._host.vms import Vm
from .._limits import MARGIN_SECONDS
from .._record import Record
from .._wire.epmd_client import Daemon, State, Table
from . import diagnose
from .at_once import at_once
from .records import Epmd, EpmdKey, Finding, Foreign, Repair
from .tables import ask


class _Place(Record):
    """A network namespace: a process that lives in it, the epmds that its nodes use, and other ports to look at.

    nodes: the pids of its nodes. node_ports: their distribution ports.
    """

    neighbour: Vm | None
    used: list[Epmd]
    nodes: set[int | None]
    node_ports: set[int | None]
    other_ports: Collection[int]


def describe(
    findings: Sequence[Finding], other_ports: Collection[int], other_vms: Collection[Vm], timeout: float
) -> list[Epmd]:
    """The epmds that these nodes use, and those on other ports of our own network namespace, as they are now.

    other_vms: those that were not looked at; their names are not foreign. timeout: to ask one for its table, in
    seconds.
    """
    places: dict[int | None, _Place] = {None: _Place(None, [], set(), set(), other_ports)} if other_ports else {}
    for finding in findings:
        vm = finding.observation.vm
        place = places.setdefault(vm.namespace, _Place(vm, [], set(), set(), ()))
        place.nodes.add(vm.pid)
        place.node_ports.add(finding.observation.port)
    for epmd in _used(findings):
        places[epmd.key.namespace].used.append(epmd)
    pids = {vm.pid for vm in other_vms}
    looked_at = [place for place in places.values() if place.used or place.other_ports]
    outcomes = at_once(
        lambda place: _describe(place, pids, timeout),
        looked_at,
        lambda place: place.neighbour,
        timeout * (1 + len(other_ports)) + MARGIN_SECONDS,
    )
    # A container may have ended meanwhile: then only the tables are known.
    described = [outcome if isinstance(outcome, list) else place.used for place, outcome in zip(looked_at, outcomes)]
    return [epmd for epmds in described for epmd in epmds]


def _used(findings: Sequence[Finding]) -> list[Epmd]:
    """The epmds that these nodes use, with their tables before and after."""
    found: dict[EpmdKey, list[Finding]] = {}
    for finding in findings:
        if finding.observation.listener and finding.diagnosis.verdict != diagnose.NOT_APPLICABLE:
            found.setdefault(finding.observation.key, []).append(finding)
    return [_epmd(key, of_it) for key, of_it in found.items()]


def _epmd(key: EpmdKey, findings: list[Finding]) -> Epmd:
    before = [finding.observation.table for finding in findings]
    repairs: list[Repair] = [finding.repair for finding in findings if finding.repair]
    # What a repair has seen is newer than what was there before it.
    after = [repair.table for repair in repairs] or before
    return Epmd(key, before[0], _united(after), any(repair.started for repair in repairs))


def _united(tables: Sequence[Table]) -> Table:
    """One table of several that were seen of one epmd: each has the node for which it was asked."""
    up = [table for table in tables if table.state is State.UP]
    if not up:
        return tables[0]
    return Table(State.UP, {name: port for table in up for name, port in table.names.items()})


def _describe(place: _Place, other_pids: Collection[int | None], timeout: float) -> list[Epmd]:
    """The same for one network namespace, which is our own by now."""
    ports = {epmd.key.daemon.port for epmd in place.used} | set(place.other_ports)
    listening = {port: owners.epmds(port) for port in sorted(ports)}
    found: dict[tuple[int, int | None], Epmd] = {}
    for epmd in place.used:
        at = epmd.key.daemon.port, _serving(epmd.key.daemon, listening[epmd.key.daemon.port])
        known = found.get(at, epmd)
        found[at] = known._replace(after=_united([known.after, epmd.after]), started=known.started or epmd.started)
    for port in place.other_ports:
        for index, (_pid, addresses) in enumerate(listening[port]):
            if (port, index) not in found:
                daemon, table = _asked(addresses, port, timeout)
                found[port, index] = Epmd(EpmdKey(None, daemon), table, table)
    # The sockets of the host are read once: anybody can put a thousand names into a table.
    foreign = any(_strangers(epmd, place) for epmd in found.values())
    pids = _owners() if foreign else {}
    return [
        _with_process(epmd, _process(epmd, listening[port], index), place)._replace(
            foreign=tuple(
                Foreign(name, at, pids.get(at), vms.user_of(pids[at]) if at in pids else None)
                for name, at in _strangers(epmd, place)
                if pids.get(at) not in other_pids or at not in pids
            )
        )
        for (port, index), epmd in sorted(found.items(), key=lambda item: item[0][0])
    ]


def _owners() -> dict[int, int]:
    from .._host import searches

    return searches.listening_owners()


def _asked(addresses: Sequence[str], port: int, timeout: float) -> tuple[Daemon, Table]:
    """The epmd at the first of these addresses, and its table."""
    daemon = Daemon(Listener(-1, addresses[0], port, None).reachable, port)
    table = ask(daemon, Deadline(timeout))
    if table.state is not State.UP and addresses[0] == "::":
        # A listener of both families has this address alone, also where IPv6 is switched off.
        other = daemon._replace(address="127.0.0.1")
        of_other = ask(other, Deadline(timeout))
        if of_other.state is State.UP:
            return other, of_other
    return daemon, table


def _strangers(epmd: Epmd, place: _Place) -> list[tuple[str, int]]:
    return [(name, port) for name, port in sorted(epmd.after.names.items()) if port not in place.node_ports]


def _serving(daemon: Daemon, listening: Sequence[tuple[int | None, list[str]]]) -> int | None:
    """Which of these processes answers at the address of an epmd; None where no one does."""
    wildcards = ("::",) if ":" in daemon.address else ("0.0.0.0", "::")
    for address in (daemon.address, *wildcards):
        for index, (_pid, addresses) in enumerate(listening):
            if address in addresses:
                return index
    return None


def _process(
    epmd: Epmd, listening: Sequence[tuple[int | None, list[str]]], index: int | None
) -> tuple[int | None, list[str]] | None:
    """The process of an epmd; of one that its nodes can't reach where they ask, the one that has its port elsewhere."""
    if index is None and epmd.after.state is State.MUTE and listening:
        return listening[0]
    return None if index is None else listening[index]


def _with_process(epmd: Epmd, process: tuple[int | None, list[str]] | None, place: _Place) -> Epmd:
    if process is None:
        return epmd
    pid, addresses = process
    epmd = epmd._replace(addresses=tuple(addresses))
    if pid is None:
        return epmd if epmd.after.state is not State.UP else epmd._replace(stranger=_stranger(epmd))
    unit = systemd.unit_of(pid)
    return epmd._replace(
        pid=pid, user=vms.user_of(pid), unit=unit, in_application_unit=_is_of_application(pid, unit, place)
    )


def _stranger(epmd: Epmd) -> str:
    """Who answers in place of an epmd, as far as that can be seen."""
    from .._host import processes, searches

    found = searches.strangers(epmd.key.daemon.port, epmd.addresses)
    who = "; ".join(f"{processes.describe(pid)}, at {', '.join(at)}" for pid, at in found.items())
    return f"port {epmd.key.daemon.port} belongs to {who}, which answers as an epmd but is not one" if who else ""


def _is_of_application(pid: int, unit: str | None, place: _Place) -> bool:
    """Whether the end of something else than epmd itself is the end of this epmd, while its nodes live on."""
    if unit is None or not systemd.is_application(unit) or systemd.keeps_epmd_alone(pid, unit):
        return False
    # The nodes of a container end with it, unless the epmd serves others, too: those of the host, or of its pod.
    is_apart = place.neighbour is not None and place.neighbour.namespace is not None
    if systemd.is_container(unit) and (is_apart or systemd.unit_of(os.getpid()) == unit):
        return any(systemd.unit_of(node) != unit for node in place.nodes if node)
    return True
