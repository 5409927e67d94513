# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts an epmd that is down, as the distribution or else as the node itself would have done it.

Standard: `start_epmd` in `erlexec.c` of erts (`BINDIR/epmd -daemon`, with the environment of the node);
systemd.unit(5), systemd-run(1). It must outlive the Ansible connection, and where logind ends what a login started, the
login: so under systemd it gets a unit of its own. For a node in a container it is started there, by the systemd of the
container, or else beside the node. Private to the collection.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import time
from typing import NamedTuple

from .._deadline import Deadline
from .._errors import CannotStart, EpmdError, NotPermitted, StillSilent, TimedOut
from .._host import children, inside, namespaces, programs, rights, systemd, vms
from .._host.programs import Place
from .._host.vms import Vm
from .._wire import epmd_client
from .._wire.epmd_client import Daemon, State, Table

POLL_SECONDS = 0.01


class Started(NamedTuple):
    """The table of an epmd that answers, and whether it was started by us."""

    table: Table
    by_us: bool


class _Epmd(NamedTuple):
    """An epmd as the node would have started it."""

    program: str
    port: int
    uid: int
    environment: dict[str, str]


def start(vm: Vm, daemon: Daemon, key: int, deadline: Deadline) -> Started:
    """Start the epmd of this node if it is still down, and wait until it answers.

    key: tells the epmds of this run apart (`children.alone`), since several nodes may share one. Errors: EpmdError;
    StillSilent where one was started.
    """
    with children.alone(key, deadline):
        table = epmd_client.ask_names(daemon, deadline)
        if table.state is State.UP:
            return Started(table, False)
        return Started(_wait(daemon, _start(vm, daemon, deadline), deadline), True)


def _start(vm: Vm, daemon: Daemon, deadline: Deadline) -> str | None:
    """Start it; the systemd unit that it runs in, None without one."""
    if os.geteuid() != 0 and vm.pid is not None and namespaces.is_container(vm.pid):
        raise NotPermitted("epmd is down, and only root may start it in the node's container: run with become")
    place = programs.place_of(vm, deadline)
    unit = _installed_unit(place, daemon.port, deadline)
    if unit is not None:
        reset, start_unit = systemd.start_commands(unit)
        with contextlib.suppress(EpmdError):
            programs.run(place, reset, deadline, "")
        programs.run(place, start_unit, deadline, f"its unit {unit} could not be started")
        return unit
    epmd = _of_node(vm, place, daemon, deadline)
    if place.systemd and os.geteuid() == 0 and programs.find(place, "systemd-run", [], deadline):
        return _by_systemd_run(epmd, place, deadline)
    _by_hand(epmd, place, deadline)
    return None


def _wait(daemon: Daemon, unit: str | None, deadline: Deadline) -> Table:
    """The table of the epmd as soon as it gives one. Errors: StillSilent."""
    with contextlib.suppress(TimedOut):
        while deadline.left() > POLL_SECONDS * 2:
            table = epmd_client.ask_names(daemon, deadline)
            if table.state is State.UP:
                return table
            time.sleep(POLL_SECONDS)
    hint = f": see journalctl -u {unit}" if unit else ""
    raise StillSilent(f"epmd was started, but does not answer on {daemon.address} port {daemon.port}{hint}")


def _installed_unit(place: Place, port: int, deadline: Deadline) -> str | None:
    """The unit of the distribution for an epmd on this port, where the node's init would start it."""
    if not place.systemd or place.network or programs.find(place, "systemctl", [], deadline) is None:
        return None
    shown = programs.run(place, systemd.SHOW_EPMD, deadline, "its systemd units can't be read")
    return systemd.choose_unit(shown, port)


def _of_node(vm: Vm, place: Place, daemon: Daemon, deadline: Deadline) -> _Epmd:
    """The epmd of the node's own erts, or the one on the PATH where that is gone or not known. Errors: EpmdError."""
    bindirs = [os.path.dirname(vm.executable or ""), vm.command_line.bindir or ""]
    program = programs.find(place, "epmd", [directory for directory in bindirs if directory], deadline)
    if program is None:
        raise CannotStart("epmd is down, and neither the node's own epmd nor one on the PATH can be found: start it")
    if vm.uid is None:
        raise CannotStart("epmd is down, and whose node this is can't be seen: start epmd as the node's user")
    if os.geteuid() not in (0, vm.uid):
        raise NotPermitted(f"epmd is down, and only root or {vm.user} may start it as the node would: run with become")
    refused = rights.lack(rights.BECOME) if os.geteuid() != vm.uid else ""
    if refused:
        raise NotPermitted(f"epmd is down, and can't be started as {vm.user}{refused}")
    environment = {**vm.command_line.epmd_environment, "PATH": programs.PATH, "ERL_EPMD_PORT": str(daemon.port)}
    return _Epmd(program, daemon.port, vm.uid, environment)


def _by_systemd_run(epmd: _Epmd, place: Place, deadline: Deadline) -> str:
    """Start it in a transient unit, whose name is returned. Errors: EpmdError."""
    # With our pid, so that two runs at once, or what is left of an earlier unit, do not get into each other's way: one
    # of the epmds finds the port taken and ends.
    unit = f"beamops-epmd-{epmd.port}-{os.getpid()}.service"
    settings = [f"--setenv={key}={value}" for key, value in epmd.environment.items()]
    if place.network:
        settings.append(f"--property=NetworkNamespacePath={place.network}")
    become: list[str] = []
    if place.container is not None:
        ids = inside.ids_inside(place.container)
        become = ["setpriv", f"--reuid={ids.uid}", f"--regid={ids.gid}", "--clear-groups", "--"]
    elif _has_name(epmd.uid):
        settings.insert(0, f"--uid={epmd.uid}")
    else:
        become = _become(epmd.uid)  # systemd has no --uid for a user without a name
    command = ["systemd-run", f"--unit={unit}", "--collect", "--quiet", *settings, "--", *become, epmd.program]
    programs.run(place, command, deadline, "systemd-run could not start epmd")
    return unit


def _by_hand(epmd: _Epmd, place: Place, deadline: Deadline) -> None:
    """Start it in the background with a session of its own, so that the end of no terminal ends it. Errors: EpmdError.

    Where logind has KillUserProcesses=yes and we are not root, the end of the login still does.
    """
    become = _become(epmd.uid) if place.container is None else []
    command = [*become, epmd.program, "-daemon"]
    programs.run_as_node(place, command, epmd.environment, deadline, f"{epmd.program} -daemon")


def _become(uid: int) -> list[str]:
    """The start of a command that becomes this user; empty where we are this user."""
    if os.geteuid() == uid:
        return []
    gid = pwd.getpwuid(uid).pw_gid if _has_name(uid) else uid
    groups = "--init-groups" if _has_name(uid) else "--clear-groups"
    return ["setpriv", f"--reuid={uid}", f"--regid={gid}", groups, "--"]


def _has_name(uid: int) -> bool:
    return vms.user_name(uid) != str(uid)
