# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts an epmd that is down, as the host or else as the node itself would have done it.

Standard: `start_epmd` in `erlexec.c` of erts (`BINDIR/epmd -daemon`, with the environment of the node). It must outlive
the Ansible connection, and where logind ends what a login started, the login: so under systemd it gets a unit
(`epmd_in_unit.py`). For a node in a container it is started there, by the systemd of the container, or else beside the
node; but a node that uses the network of the host uses the epmd of the host, if that has a unit for it. Private to the
collection.
"""

from __future__ import annotations

import os
import pwd
import time

from .._deadline import Deadline
from .._errors import CannotStart, NotPermitted, StillSilent, TimedOut
from .._host import children, namespaces, owners, programs, rights, searches, vms
from .._host.epmd_units import NO_UNITS, Units
from .._host.programs import Place
from .._host.vms import Vm
from .._record import Record
from .._wire import epmd_client
from .._wire.epmd_client import Daemon, State, Table
from . import epmd_in_unit, tables
from .epmd_in_unit import OwnEpmd, Way

POLL_SECONDS = 0.01

FOREGROUND_SECONDS = 0.5
"""How long an epmd may take to say why it ends."""


class Started(Record):
    """The table of an epmd that answers, whether it was started by us, and how, as the end of `epmd was started`."""

    table: Table
    by_us: bool
    how: str = ""


def start(vm: Vm, daemon: Daemon, key: int, deadline: Deadline) -> Started:
    """Start the epmd of this node if it is still down, and wait until it answers.

    key: tells the epmds of this run apart (`children.alone`), since several nodes may share one. Errors: EpmdError;
    StillSilent where one was started.
    """
    with children.alone(key, deadline):
        table = tables.ask(daemon, deadline)
        if table.state is State.UP:
            return Started(table, False)
        if table.state is State.MUTE:
            raise CannotStart(f"epmd was down, and gives no table now: {table.trouble}: run again")
        way = _start(vm, daemon, deadline)
        return Started(wait(daemon, way, deadline), True, way.how)


def _start(vm: Vm, daemon: Daemon, deadline: Deadline) -> Way:
    """Begin to start it, in the way that is right for this node. Errors: EpmdError."""
    is_container = vm.pid is not None and namespaces.is_container(vm.pid)
    if os.geteuid() != 0 and is_container:
        raise NotPermitted("epmd is down, and only root may start it in the node's container: run with become")
    place = programs.place_of(vm, deadline)
    shares_network = is_container and vm.namespace is None
    units = NO_UNITS
    for each in [programs.host(), place] if shares_network else [place]:
        units = epmd_in_unit.find(each, deadline)
        unit = epmd_in_unit.choose(units, vm, daemon)
        if unit is not None:
            return epmd_in_unit.start(each, unit, deadline)
        if owners.is_awaited(daemon.port):
            raise CannotStart(epmd_in_unit.explain_awaited(units, daemon.port))
    if shares_network and not vm.command_line.starts_epmd:
        raise CannotStart(
            f"epmd is down on port {daemon.port}, which the node in its container shares with the host, and the node "
            "runs with -start_epmd false, but the host has no enabled systemd unit for it: start the epmd of the host"
        )
    return start_own(of_node(vm, place, daemon, deadline), place, units, deadline)


def start_own(epmd: OwnEpmd, place: Place, units: Units, deadline: Deadline) -> Way:
    """Begin to start this epmd in a transient unit, or else in the background. Errors: EpmdError."""
    if place.systemd and os.geteuid() == 0 and programs.find(place, "systemd-run", [], deadline):
        become = [] if _has_name(epmd.uid) and place.container is None else _become_in(place, epmd.uid)
        return epmd_in_unit.start_transient(epmd, place, become, units, deadline)
    return _by_hand(epmd, place, deadline)


def wait(daemon: Daemon, way: Way, deadline: Deadline) -> Table:
    """The table of the epmd as soon as it gives one. Errors: CannotStart; StillSilent where one is there."""
    trouble = f"does not answer on {daemon.address} port {daemon.port}"
    try:
        while deadline.left() > POLL_SECONDS * 2:
            # In this order: where systemd listens, too, a question would start again what has failed.
            why = way.ended()
            table = epmd_client.ask_names(daemon, deadline) if not why else None
            if table and table.state is State.UP:
                return table
            if why:
                raise CannotStart(why)
            time.sleep(POLL_SECONDS)
    except TimedOut:
        pass
    kind = StillSilent if searches.epmd_pid(daemon.port) else CannotStart
    raise kind(f"epmd was started{way.how}, but {trouble} within {deadline.seconds:g} s")


def of_node(vm: Vm, place: Place, daemon: Daemon, deadline: Deadline) -> OwnEpmd:
    """The epmd of the node's own erts, or the one on the PATH where that is gone or not known. Errors: EpmdError."""
    bindirs = [path for path in (os.path.dirname(vm.executable or ""), vm.command_line.bindir or "") if path]
    program = programs.find(place, "epmd", bindirs, deadline)
    if program is None:
        there = programs.find(place, "epmd", bindirs, deadline, os.F_OK)
        if there:
            raise CannotStart(f"epmd is down, and {there} can't be started: Permission denied (it is not executable)")
        raise CannotStart("epmd is down, and neither the node's own epmd nor one on the PATH can be found: start it")
    if vm.uid is None:
        raise CannotStart("epmd is down, and whose node this is can't be seen: start epmd as the node's user")
    if os.geteuid() not in (0, vm.uid):
        raise NotPermitted(f"epmd is down, and only root or {vm.user} may start it as the node would: run with become")
    refused = rights.lack(rights.BECOME) if os.geteuid() != vm.uid else ""
    if refused:
        raise NotPermitted(f"epmd is down, and can't be started as {vm.user}{refused}")
    environment = {**vm.command_line.epmd_environment, "PATH": programs.PATH, "ERL_EPMD_PORT": str(daemon.port)}
    return OwnEpmd(program, daemon.port, vm.uid, environment)


def _by_hand(epmd: OwnEpmd, place: Place, deadline: Deadline) -> Way:
    """Start it in the background with a session of its own, so that the end of no terminal ends it. Errors: EpmdError.

    Where logind has KillUserProcesses=yes and we are not root, the end of the login still does.
    """
    command, become = [epmd.program], _becoming(epmd.uid)
    before = set(searches.epmd_pids(epmd.port))
    programs.run_as_node(place, [*command, "-daemon"], epmd.environment, deadline, f"{epmd.program} -daemon", become)

    def is_there() -> bool:
        return bool(set(searches.epmd_pids(epmd.port)) - before or owners.addresses(epmd.port))

    def ended() -> str:
        # It does not tell whether it listens: its exit code is 0, and it has no output any more. It forks twice, and
        # one look may come too late for the first child and too early for the second.
        if is_there() or is_there():
            return ""
        patience = Deadline(min(FOREGROUND_SECONDS, deadline.left()))
        said = programs.words_of(place, command, epmd.environment, patience, epmd.program, become)
        # One that was slow to begin may be there by now, and be why the other one ends.
        if is_there():
            return ""
        return f"epmd was started, but ended at once: {said or f'{epmd.program} does not say why'}"

    return Way(ended)


def _become_in(place: Place, uid: int) -> list[str]:
    """The start of a command that becomes the node's user in this place. Errors: EpmdError where it has ended."""
    if place.container is None:
        # systemd has no --uid for a user without a name.
        return ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--"] if os.geteuid() != uid else []
    from .._host import inside

    ids = inside.ids_inside(place.container)
    return ["setpriv", f"--reuid={ids.uid}", f"--regid={ids.gid}", "--clear-groups", "--"]


def _becoming(uid: int) -> programs.Become | None:
    """What a child calls to become this user; None where we are this user. BusyBox's setpriv(1) could not do it."""
    if os.geteuid() == uid:
        return None
    gid, groups = uid, []
    if _has_name(uid):
        account = pwd.getpwuid(uid)
        gid, groups = account.pw_gid, os.getgrouplist(account.pw_name, account.pw_gid)

    def become() -> None:
        os.setgroups(groups)
        os.setgid(gid)
        os.setuid(uid)

    return become


def _has_name(uid: int) -> bool:
    return vms.user_name(uid) != str(uid)
