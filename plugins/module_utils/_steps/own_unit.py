# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The unit that shall own the epmd of a port, and how one epmd gives way to another. Private to the collection.

Standard: systemctl(1); systemd.socket(5): a socket is started before its service, and who connects in between waits.
"""

from __future__ import annotations

import contextlib
import os

from .._deadline import Deadline
from .._errors import CannotStart, EpmdError
from .._host import ending, epmd_units, programs
from .._host.ending import Running
from .._host.epmd_units import EVERYWHERE, Unit, Units
from .._host.programs import Place
from .._host.reader import reader
from .._limits import CLEAN_UP_SECONDS
from .._record import Record
from .._wire.epmd_client import Daemon
from . import daemons, epmd_in_unit, start_epmd
from .epmd_in_unit import SYSTEMCTL, OwnEpmd
from .records import Epmd

ATTEMPTS = 3
"""How often the port is taken from an epmd that a node, which is started at this moment, starts in between."""

IPV6 = "/proc/net/if_inet6"
"""A file that is there where the kernel has IPv6."""


class NoUnit(EpmdError):
    """This host has no unit that could own the epmd."""

    reason = "no_unit"


class NotReplaceable(EpmdError):
    """The end of this epmd would be the end of more."""

    reason = "not_replaceable"


class Owner(Record):
    """The unit that shall own the epmd of this port, among all units.

    unit: None only in check mode, where it will be written. files: those of it and its sockets. needs_reload: whether
    systemd has to read them again.
    """

    unit: Unit | None
    units: Units
    files: tuple[str, ...] = ()
    needs_reload: bool = False

    @property
    def name(self) -> str:
        """Its name, or what it is in words."""
        return self.unit.name if self.unit else "its new unit"


def find(place: Place, port: int, wanted: str | None, current: str | None, deadline: Deadline, may_act: bool) -> Owner:
    """The unit of this host that shall own the epmd of this port.

    wanted: its name, or that of its socket; without it, the unit that owns it now, or the first that is enabled or
    active. current: the unit in which it lives now. may_act: whether systemd may read changed files again.
    Errors: NoUnit, EpmdError.
    """
    units = epmd_in_unit.find(place, deadline)
    unit = _choose(units, port, wanted, current)
    if unit is None and wanted and not may_act:
        return Owner(None, units)
    if unit is None:
        raise NoUnit(_explain(units, port, wanted))
    owner = _with_files(Owner(unit, units), place, deadline)
    if not (owner.needs_reload and may_act):
        return owner
    programs.run(place, [*SYSTEMCTL, "daemon-reload"], deadline, "systemd could not read its units again")
    return find(place, port, wanted, current, deadline, may_act=False)


def _choose(units: Units, port: int, wanted: str | None, current: str | None) -> Unit | None:
    # A transient unit of ours stands in for one that the host lacks, or that was not to be used.
    found = [unit for unit in units.epmds if unit.port == port and unit.loaded and not unit.name.startswith("beamops-")]
    if wanted:
        return next((unit for unit in found if wanted in unit.names), None)
    usual = [unit for unit in found if unit.enabled or unit.active]
    return next((unit for unit in usual if unit.name == current), next(iter(usual), None))


def _explain(units: Units, port: int, wanted: str | None) -> str:
    names = ", ".join(name for unit in units.epmds if unit.port == port for name in unit.names)
    seen = f" (there is {names}, which is masked, disabled or another one)" if names else ""
    what = f"{wanted} is no unit that runs" if wanted else "no enabled unit of systemd runs"
    return f"{what} an epmd on port {port}{seen}: the role beamops.epmd.epmd_service makes one"


def _with_files(owner: Owner, place: Place, deadline: Deadline) -> Owner:
    names = owner.unit.names if owner.unit else []
    shown = programs.run(
        place,
        ["systemctl", "show", "--property=FragmentPath,DropInPaths,NeedDaemonReload", "--", *names],
        deadline,
        "its unit can't be read",
    )
    pairs = [line.partition("=")[::2] for line in shown.splitlines()]
    files = [file for key, value in pairs if key != "NeedDaemonReload" for file in value.split()]
    return owner._replace(files=tuple(files), needs_reload=("NeedDaemonReload", "yes") in pairs)


def is_settled(owner: Owner, epmd: Epmd) -> bool:
    """Whether this epmd already is what the unit would start, at the same addresses."""
    return _is_its_own(owner, epmd) and _listens_as_wished(owner, epmd) and not _is_outdated(owner, epmd)


def _is_its_own(owner: Owner, epmd: Epmd) -> bool:
    return owner.unit is not None and epmd.unit == owner.unit.name


def _listens_as_wished(owner: Owner, epmd: Epmd) -> bool:
    wished = owner.unit.addresses if owner.unit else frozenset()
    return epmd_units.is_the_same(epmd.addresses, wished, os.path.exists(IPV6))


def _is_outdated(owner: Owner, epmd: Epmd) -> bool:
    """Whether the files of the unit were changed since this epmd was started."""
    process = ending.running(epmd.pid) if epmd.pid else None
    newest = 0.0
    for file in owner.files:
        with contextlib.suppress(OSError):
            newest = max(newest, os.stat(file).st_mtime)
    return owner.needs_reload or process is None or newest > process.started


class Old(Record):
    """The epmd that is to be replaced. unit: to be stopped with it; empty where the process alone has to end."""

    epmd: Epmd
    process: Running
    as_stray: OwnEpmd
    unit: tuple[str, ...] = ()


def old(epmd: Epmd, owner: Owner, place: Place, deadline: Deadline) -> Old:
    """What has to be known of an epmd before it is replaced. Errors: NotReplaceable, EpmdError."""
    pid = epmd.pid or 0
    process, port = ending.running(pid), epmd.key.daemon.port
    if process is None:
        raise EpmdError(f"the epmd on port {port} ended while it was looked at: run again")
    found = Old(epmd, process, _as_stray(epmd))
    unit = epmd.unit or ""
    if unit.endswith(".service") and not epmd.in_application_unit:
        known = [each for each in owner.units.epmds if each.name == unit]
        return found._replace(unit=tuple(known[0].names if known else [unit]))
    main = ""
    if unit.endswith(".service"):
        shown = ["systemctl", "show", "--property=MainPID", "--", unit]
        main = programs.run(place, shown, deadline, f"{unit} can't be read").strip()
    if main == f"MainPID={pid}" or ending.is_first_of_container(pid):
        raise NotReplaceable(
            f"epmd on port {port} was not touched: pid {pid} is the first process of {unit or 'its container'}, whose "
            "end would be that of all that runs there: start epmd elsewhere there, and run again"
        )
    return found


def _as_stray(epmd: Epmd) -> OwnEpmd:
    """The same epmd outside of any unit: its program, its user, its port and its addresses."""
    port, process = epmd.key.daemon.port, None
    with contextlib.suppress(OSError):
        process = reader().process(epmd.pid or 0)
    if process is None or process.executable is None or process.uid is None:
        raise EpmdError(f"the epmd on port {port} ended, or can't be seen: run again, as root")
    environment = {"PATH": programs.PATH, "ERL_EPMD_PORT": str(port)}
    if not set(epmd.addresses) & EVERYWHERE:
        environment["ERL_EPMD_ADDRESS"] = ",".join(epmd.addresses)
    return OwnEpmd(process.executable, port, process.uid, environment)


def replace(former: Old | None, owner: Owner, place: Place, daemon: Daemon, deadline: Deadline) -> None:
    """Stop the former epmd, if there is one, and start that of the unit, up to its first answer. Errors: EpmdError.

    daemon: where it has to answer.
    """
    unit = owner.unit
    if unit is None:
        raise NoUnit(_explain(owner.units, daemon.port, None))
    epmd_in_unit.forgive(place, unit, deadline)
    # Where its sockets stay, they listen on meanwhile, so that who connects waits.
    stays = former is not None and _is_its_own(owner, former.epmd) and _listens_as_wished(owner, former.epmd)
    if former and not stays:
        _stop(former, place, deadline)
    for attempt in range(ATTEMPTS):
        try:
            verb = "restart" if stays and not attempt else "start"
            start_epmd.wait(daemon, epmd_in_unit.launch(place, unit, deadline, verb), deadline)
            return
        except CannotStart:
            between = at_port(daemon.port, deadline)
            if attempt + 1 == ATTEMPTS or between is None or _is_its_own(owner, between):
                raise
            _stop(old(between, owner, place, deadline), place, deadline)


def _stop(former: Old, place: Place, deadline: Deadline) -> None:
    if former.unit:
        failure = f"{former.unit[-1]} could not be stopped"
        programs.run(place, [*SYSTEMCTL, "stop", *former.unit], deadline, failure)
    else:
        ending.end(former.process, deadline)


def put_back(former: Old, owner: Owner, place: Place, daemon: Daemon, deadline: Deadline) -> None:
    """Stop what the unit has started, and start the former epmd the way it ran. Errors: EpmdError."""
    if ending.running(former.process.pid) == former.process:
        return  # it could not be stopped
    unit = owner.unit
    if unit is not None:
        with contextlib.suppress(EpmdError):
            programs.run(place, [*SYSTEMCTL, "stop", *unit.names], Deadline(CLEAN_UP_SECONDS), "")
    own = [each for each in owner.units.epmds if each.name in former.unit]
    if own and not _is_its_own(owner, former.epmd):
        way = epmd_in_unit.start(place, own[0], deadline)
    else:
        way = start_epmd.start_own(former.as_stray, place, owner.units, deadline)
    start_epmd.wait(daemon, way, deadline)


def at_port(port: int, deadline: Deadline) -> Epmd | None:
    """The epmd on this port of our network namespace, as it is now."""
    return next((epmd for epmd in daemons.describe([], [port], [], deadline.left()) if epmd.pid), None)
