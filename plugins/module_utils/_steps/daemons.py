# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The epmds of a host, with what keeps them alive and whose names they have.

Standard: systemd.unit(5) and cgroups(7) for the unit of a process.
"""

from __future__ import annotations

import contextlib
import os
import re
from typing import Any, Collection, Mapping

from .._deadline import Deadline
from .._host import listeners, owners, processes
from .._wire import epmd_client
from .._wire.epmd_client import Daemon

_UNIT = re.compile(r"[^/]+\.(?:service|scope|socket)")
_OWN_UNIT = re.compile(r"(?:beamops-)?epmd(?:[-@].*)?\.(?:service|socket|scope)")


def describe(
    port: int, names: Mapping[str, int] | None, nodes: Collection[int], namespace: int | None, timeout: float
) -> dict[str, Any] | None:
    """What listens on an epmd port, as the documentation of the facts has it; None where nothing does.

    names: its table, where that is known already. nodes: the ports of the nodes that were found.
    timeout: for asking, in seconds.
    """
    addresses = owners.addresses(port)
    if not addresses:
        return None
    pid = listeners.epmd_pid(port)
    unit = unit_of(pid) if pid else None
    if names is None:
        loopback = "::1" if all(":" in address for address in addresses) else "127.0.0.1"
        names = epmd_client.ask_names(Daemon(loopback, port), Deadline(timeout)).names or {}
    foreign = [(name, at) for name, at in sorted(names.items()) if at not in nodes]
    # All at once: anybody can put a thousand names into a table, and to look for one owner reads every socket.
    owners = owners.listening_owners() if foreign else {}
    return {
        "port": port,
        "addresses": addresses,
        "pid": pid,
        "user": user_of(pid) if pid else None,
        "unit": unit,
        "in_application_unit": is_application(unit),
        "names": dict(names),
        "foreign": [_foreign(name, at, owners.get(at)) for name, at in foreign],
        "namespace": namespace,
    }


def _foreign(name: str, port: int, pid: int | None) -> dict[str, Any]:
    """A name that belongs to no node that was found: a C node, a node that is gone, a squatter."""
    return {"name": name, "port": port, "pid": pid, "user": user_of(pid) if pid else None}


def user_of(pid: int) -> str | None:
    """The user of a process."""
    with contextlib.suppress(OSError):
        return processes.user_name(os.stat(f"/proc/{pid}").st_uid)
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
