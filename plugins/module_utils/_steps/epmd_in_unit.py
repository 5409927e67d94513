# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts an epmd through systemd: in the unit that the host has for it, or in a transient one.

Standard: systemctl(1), systemd-run(1), journalctl(1); Conflicts= in systemd.unit(5), by which our transient unit makes
room for one that an operator starts. Which unit is `epmd_units.py`. Private to the collection.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from typing import Callable

from .._deadline import Deadline
from .._errors import CannotStart, EpmdError
from .._host import epmd_units, programs
from .._host.epmd_units import Unit, Units
from .._host.programs import Place
from .._host.vms import Vm
from .._legible import legible
from .._limits import CLEAN_UP_SECONDS
from .._record import Record
from .._wire.epmd_client import Daemon

SYSTEMCTL = ["systemctl", "--no-ask-password"]

# What systemd itself logs about any unit that starts or ends.
_ABOUT_UNIT = re.compile(
    r"(?:Start|Stopping|Stopped|Listening|Closed|Scheduled|Deactivated)\w*\b.*|"
    r"\S+: (?:Main process exited|Failed with result|Scheduled restart|Start request repeated|"
    r"Deactivated|Succeeded|Consumed|Unit entered|Service ).*"
)


class OwnEpmd(Record):
    """An epmd as the node would have started it."""

    program: str
    port: int
    uid: int
    environment: dict[str, str]


class Way(Record):
    """An epmd that is being started.

    ended: why it has ended, empty as long as it has not. how: the end of `epmd was started`.
    """

    ended: Callable[[], str]
    how: str = ""


def find(place: Place, deadline: Deadline) -> Units:
    """The units that run an epmd where the node lives, if its init is systemd and shares the network with it."""
    if not place.systemd or place.network or programs.find(place, "systemctl", [], deadline) is None:
        return epmd_units.NO_UNITS
    failure = "its systemd units can't be read"
    listed = ""
    with contextlib.suppress(CannotStart):  # an exit code of 1 where no name matches
        listed = programs.run(place, epmd_units.LIST, deadline, failure)
    return epmd_units.parse(programs.run(place, epmd_units.show(listed), deadline, failure))


def choose(units: Units, vm: Vm, daemon: Daemon) -> Unit | None:
    """The unit to start for a node that asks this epmd (see `epmd_units.choose`)."""
    own_addresses = vm.command_line.epmd_environment.get("ERL_EPMD_ADDRESS", "")
    return epmd_units.choose(units, daemon.port, daemon.address, own_addresses)


def explain_awaited(units: Units, port: int) -> str:
    """Why no epmd can be started on a port at which systemd listens already."""
    of_it = [name for unit in units.epmds if unit.port == port for name in unit.names]
    shown = ", ".join(of_it) or "see systemctl list-sockets"
    return (
        f"epmd is down, and can't be started: systemd listens on port {port} itself, but none of its units can start "
        f"an epmd there ({shown}): unmask or fix the service, or stop its socket unit"
    )


def start(place: Place, unit: Unit, deadline: Deadline) -> Way:
    """Start a unit. Errors: CannotStart, and then all is as it was."""
    forgive(place, unit, deadline)
    return launch(place, unit, deadline)


def forgive(place: Place, unit: Unit, deadline: Deadline) -> None:
    """Without this, a unit that failed too often is not started again: the start limit of systemd.unit(5)."""
    with contextlib.suppress(EpmdError):
        programs.run(place, [*SYSTEMCTL, "reset-failed", *unit.names], deadline, "")


def launch(place: Place, unit: Unit, deadline: Deadline, verb: str = "start") -> Way:
    """As `start`, of a unit that was forgiven. verb: as systemctl(1) has it."""
    began = int(time.time())
    try:
        programs.run(place, [*SYSTEMCTL, verb, unit.name], deadline, f"its unit {unit.name} could not be started")
    except CannotStart as error:
        _put_back(place, unit)
        said = _journal(place, unit.name, began)
        raise CannotStart(f"{error}{f': {said}' if said else ''}: see journalctl -u {unit.name}") from None

    def ended() -> str:
        if not _has_ended(place, unit.name, deadline):
            return ""
        _put_back(place, unit)
        said = _journal(place, unit.name, began) or "it does not say why"
        return f"its unit {unit.name} was started, but ended at once: {said}: see journalctl -u {unit.name}"

    return Way(ended, f" in {unit.name}")


def start_transient(epmd: OwnEpmd, place: Place, become: list[str], units: Units, deadline: Deadline) -> Way:
    """Start it in a unit of its own, which ends with it, or as soon as one of the units is started.

    become: the start of a command that becomes the node's user, where systemd can't. Errors: CannotStart.
    """
    # With our pid, so that two runs at once, or what is left of an earlier unit, do not get into each other's way: one
    # of the epmds finds the port taken and ends.
    name = f"beamops-epmd-{epmd.port}-{os.getpid()}.service"
    settings = [f"--setenv={key}={value}" for key, value in epmd.environment.items()]
    if place.network:
        settings.append(f"--property=NetworkNamespacePath={place.network}")
    # Only of those that do not run: the others would be stopped by this.
    rivals = epmd_units.rivals(units, epmd.port)
    if rivals:
        settings += [f"--property={key}={' '.join(rivals)}" for key in ("Conflicts", "Before")]
    if not become and place.container is None:
        settings.insert(0, f"--uid={epmd.uid}")
    command = ["systemd-run", f"--unit={name}", "--collect", "--quiet", *settings, "--", *become, epmd.program]
    began = int(time.time())
    programs.run(place, command, deadline, "systemd-run could not start epmd")

    def ended() -> str:
        if not _has_ended(place, name, deadline):
            return ""
        said = _journal(place, name, began) or f"{epmd.program} does not say why"
        return f"epmd was started in {name}, but ended at once: {said}"

    until = f"when {' or '.join(rivals)} is started, or " if rivals else ""
    return Way(ended, f" in {name} (it ends {until}with systemctl stop {name})")


def _has_ended(place: Place, name: str, deadline: Deadline) -> bool:
    """Whether a unit that was started does not run, or is about to be started again."""
    state = programs.run(
        place,
        ["systemctl", "show", "--property=ActiveState,SubState", "--", name],
        deadline,
        f"the state of {name} can't be read",
    )
    states = dict(line.partition("=")[::2] for line in state.splitlines())
    return states.get("ActiveState") not in ("active", "activating", "reloading") or "auto-restart" in states.get(
        "SubState", ""
    )


def _put_back(place: Place, unit: Unit) -> None:
    """Stop what of a unit did not run before we started it, and runs or tries to now."""
    for verb in ("stop", "reset-failed"):
        with contextlib.suppress(EpmdError):
            programs.run(place, [*SYSTEMCTL, verb, *unit.inactive], Deadline(CLEAN_UP_SECONDS), "")


def _journal(place: Place, name: str, since: int) -> str:
    """What a unit has said since then, in one line; empty where nothing is known."""
    journalctl = ["journalctl", "--quiet", "--no-pager"]
    command = [*journalctl, "--output=cat", "--lines=50", f"--since=@{since}", f"--unit={name}"]
    deadline = Deadline(CLEAN_UP_SECONDS)
    try:
        with contextlib.suppress(CannotStart):
            programs.run(place, [*journalctl, "--sync"], deadline, "")
        lines = programs.run(place, command, deadline, "").splitlines()
    except EpmdError:
        return ""
    own = [line for line in lines if line.strip() and not _ABOUT_UNIT.fullmatch(line)]
    chosen = own or [line for line in lines if "process exited" in line][:1]
    return legible("; ".join(dict.fromkeys(programs.without_date(line).strip() for line in chosen[:3])))
