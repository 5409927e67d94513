# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The units of systemd: the one that a process lives in, and the one that runs epmd on a port.

Standard: sd_booted(3); cgroups(7) and systemd.unit(5) for the unit of a process; systemctl(1) for what `show` prints.
Private to the collection.
"""

from __future__ import annotations

import contextlib
import os
import re

from .._wire.epmd import DEFAULT_PORT

BOOTED = "/run/systemd/system"
"""A directory that is there while systemd is the init."""

EPMD_UNITS = ("epmd.socket", "epmd.service")

SHOW_EPMD = ["systemctl", "show", "--property=Id,LoadState,Listen,ExecStart,Environment", *EPMD_UNITS]
"""The command whose output `choose_unit` reads."""

_UNIT = re.compile(r"[^/]+\.(?:service|scope|socket)")
_OWN_UNIT = re.compile(r"(?:beamops-)?epmd(?:[-@].*)?\.(?:service|socket|scope)")


def is_booted() -> bool:
    """Whether the init of this root directory is systemd."""
    return os.path.isdir(BOOTED)


def unit_of(pid: int) -> str | None:
    """The unit whose cgroup a process lives in; None where there is none, or it has ended."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cgroup", encoding="utf-8") as file:
        return unit_in(file.read())
    return None


def unit_in(cgroup: str) -> str | None:
    """The innermost unit in the text of /proc/PID/cgroup: of the unified hierarchy, or of systemd's own."""
    for line in cgroup.splitlines():
        _number, _colon, rest = line.partition(":")
        controllers, _colon, path = rest.partition(":")
        if controllers in ("", "name=systemd"):
            units = [part for part in path.split("/") if _UNIT.fullmatch(part)]
            if units:
                return units[-1]
    return None


def is_application(unit: str | None) -> bool:
    """Whether a unit is a service other than epmd's own: its restart kills the epmd, and all names are lost."""
    return unit is not None and unit.endswith(".service") and _OWN_UNIT.fullmatch(unit) is None


def start_commands(unit: str) -> list[list[str]]:
    """What starts a unit, in this order; only the last one has to succeed."""
    systemctl = ["systemctl", "--no-ask-password"]
    # Units that failed too often are not started again without this: the start limit of systemd.unit(5).
    return [[*systemctl, "reset-failed", *EPMD_UNITS], [*systemctl, "start", unit]]


def choose_unit(shown: str, port: int) -> str | None:
    """From the output of SHOW_EPMD: the unit to start for an epmd on this port, if there is one.

    A socket unit decides by where it listens, a service without one by its command.
    """
    units = {}
    for block in shown.split("\n\n"):
        unit: dict[str, str] = {}
        for line in block.splitlines():
            key, equals, value = line.partition("=")
            if equals:
                unit[key] = f"{unit[key]}\n{value}" if key in unit else value
        if unit.get("LoadState") == "masked":
            return None
        if unit.get("LoadState") == "loaded":
            units[unit.get("Id", "")] = unit
    listens = units.get("epmd.socket", {}).get("Listen", "")
    if re.search(rf":{port} \(Stream\)", listens):
        # The service pulls its socket in, and answers without waiting for a first client.
        return "epmd.service" if "epmd.service" in units else "epmd.socket"
    if listens or "epmd.service" not in units:
        return None
    service = units["epmd.service"]
    given = re.search(r"-port[ =]0*([0-9]+)", service.get("ExecStart", "")) or re.search(
        r"ERL_EPMD_PORT=0*([0-9]+)", service.get("Environment", "")
    )
    return "epmd.service" if str(port) == (given.group(1) if given else str(DEFAULT_PORT)) else None
