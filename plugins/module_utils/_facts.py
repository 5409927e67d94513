# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time; do not use it from elsewhere.
"""The facts of a host: its nodes with their verdicts, and its epmds with what keeps them alive.

Standard: systemd.unit(5) and cgroups(7) for the unit of a process. The nodes come from the same
observation and diagnosis as those of the module that repairs.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import Any, NamedTuple

from . import _ensure, _epmd, _epmd_client, _listeners, _processes
from ._epmd_client import Daemon
from ._transport import Deadline

_UNIT = re.compile(r"[^/]+\.(?:service|scope|socket)")
_OWN_UNIT = re.compile(r"(?:beamops-)?epmd(?:[-@].*)?\.(?:service|socket|scope)")


class Facts(NamedTuple):
    """What the module returns: `daemons` and `nodes` as its documentation has them, and what to warn of."""

    daemons: list[dict[str, Any]]
    nodes: list[dict[str, Any]]
    warnings: list[str]


def gather(epmd_port: int | None, timeout: float) -> Facts:
    """Look at this host. `timeout` bounds the work for each node and each epmd, in seconds. Errors: EpmdError."""
    outcome = _ensure.diagnose(epmd_port, timeout)
    nodes = [{key: value for key, value in node.items() if key != "changed"} for node in outcome.nodes]
    ports = {_epmd.DEFAULT_PORT, *(node["epmd_port"] for node in nodes)}
    if epmd_port is not None:
        ports.add(epmd_port)
    daemons = [found for found in (_daemon(port, timeout) for port in sorted(ports)) if found]
    return Facts(daemons, nodes, outcome.warnings)


def _daemon(port: int, timeout: float) -> dict[str, Any] | None:
    """What listens on an epmd port; None where nothing does."""
    addresses = _listeners.addresses(port)
    if not addresses:
        return None
    pid = _listeners.epmd_pid(port)
    unit = unit_of(pid) if pid else None
    loopback = "::1" if all(":" in address for address in addresses) else "127.0.0.1"
    return {
        "port": port,
        "addresses": addresses,
        "pid": pid,
        "user": user_of(pid) if pid else None,
        "unit": unit,
        "in_application_unit": is_application(unit),
        "names": _epmd_client.ask_names(Daemon(loopback, port), Deadline(timeout)).names or {},
    }


def user_of(pid: int) -> str | None:
    """The user of a process."""
    with contextlib.suppress(OSError):
        return _processes.user_name(os.stat(f"/proc/{pid}").st_uid)
    return None


def unit_of(pid: int) -> str | None:
    """The systemd unit whose cgroup a process lives in."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cgroup", encoding="utf-8") as file:
        return unit_in(file.read())
    return None


def unit_in(cgroup: str) -> str | None:
    """The innermost unit in the text of /proc/PID/cgroup: of the unified hierarchy, or of systemd's own."""
    for line in cgroup.splitlines():
        _number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers in ("", "name=systemd"):
            units = [part for part in path.split("/") if _UNIT.fullmatch(part)]
            if units:
                return units[-1]
    return None


def is_application(unit: str | None) -> bool:
    """Whether a unit is a service other than epmd's own: its restart kills the epmd, and all names are lost."""
    return unit is not None and unit.endswith(".service") and _OWN_UNIT.fullmatch(unit) is None
