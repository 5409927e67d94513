# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The unit of systemd, or the container, that a process lives in, and whether its end would be that of an epmd.

Standard: sd_booted(3); cgroups(7) and systemd.unit(5) for the unit of a process; for containers, what Docker, podman,
containerd, CRI-O and LXC call their cgroups. Private to the collection.
"""

from __future__ import annotations

import contextlib
import os
import re

BOOTED = "/run/systemd/system"
"""A directory that is there while systemd is the init."""

CGROUPS = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd")
"""Where the hierarchies with the units may be mounted."""

# Regular expressions, each compiled when it is used.
_OWN_UNIT = r"(?:beamops-)?epmd(?:[-@].*)?\.(?:service|socket|scope)"

# A container that has no unit has a cgroup with its number, or below one that says whose it is.
_CONTAINER = r"(?:.*[-_:.])?[0-9a-f]{64}|(?:lxc|libpod|machine)[-_.].+"
_ENGINES = ("docker", "lxc", "libpod_parent", "podman", "containerd", "crio")
_CONTAINER_SCOPE = r"(?:docker|libpod|cri-containerd|containerd|crio|podman|nerdctl|lxc)-.+\.scope"


def is_booted() -> bool:
    """Whether the init of this root directory is systemd."""
    return os.path.isdir(BOOTED)


def unit_of(pid: int) -> str | None:
    """The unit or the container whose cgroup a process lives in; None where there is none, or it has ended."""
    return unit_in(_cgroup(pid))


def _cgroup(pid: int) -> str:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="replace") as file:
        return file.read()
    return ""


def unit_in(cgroup: str) -> str | None:
    """The innermost unit in the text of /proc/PID/cgroup, or the cgroup of a container that has none: `docker/0123`."""
    for path in _paths(cgroup):
        parts = path.strip("/").split("/")
        units = [place for place, part in enumerate(parts) if _is_unit(part)]
        # That of a manager below another unit is no more than that unit.
        while len(units) > 1 and parts[units[-1]] == "init.scope":
            units.pop()
        containers = [
            place for place, part in enumerate(parts) if _is_container(part) or (place and parts[place - 1] in _ENGINES)
        ]
        if units and (not containers or units[-1] >= containers[-1]):
            return parts[units[-1]]
        if containers:
            return "/".join(parts[: containers[-1] + 1])
    return None


def _is_unit(part: str) -> bool:
    name, _dot, kind = part.rpartition(".")
    return bool(name) and kind in ("service", "scope", "socket")


def _is_container(part: str) -> bool:
    # Most are neither, and then no expression is compiled.
    may_be = len(part) >= 64 or part.startswith(("lxc", "libpod", "machine"))
    return may_be and re.fullmatch(_CONTAINER, part) is not None


def _paths(cgroup: str) -> list[str]:
    """The paths in the text of /proc/PID/cgroup: of the unified hierarchy, or of systemd's own."""
    fields = [line.split(":", 2) for line in cgroup.splitlines()]
    return [field[2] for field in fields if len(field) == 3 and field[1] in ("", "name=systemd")]


def is_container(unit: str | None) -> bool:
    """Whether this is a container and not a unit of the host itself."""
    return unit is not None and ("/" in unit or re.fullmatch(_CONTAINER_SCOPE, unit) is not None)


def is_session(unit: str | None) -> bool:
    """Whether this is what somebody has started since the login, which may end with that."""
    return unit is not None and re.fullmatch(r"(?:session|app|vte-spawn)-.+\.scope|user@.+\.service", unit) is not None


def is_application(unit: str | None) -> bool:
    """Whether this is something else than a unit of epmd's own: its end is that of the epmd, and all names are lost."""
    return unit not in (None, "init.scope") and re.fullmatch(_OWN_UNIT, unit or "") is None


def keeps_epmd_alone(pid: int, unit: str) -> bool:
    """Whether this epmd is all that runs in its unit, a service: then that is epmd's own, whatever its name."""
    if not unit.endswith(".service"):
        return False
    for path in _paths(_cgroup(pid)):
        if path.endswith(f"/{unit}"):
            for mounted in CGROUPS:
                with contextlib.suppress(OSError, ValueError):
                    with open(f"{mounted}{path}/cgroup.procs", encoding="utf-8") as file:
                        members = [int(line) for line in file]
                    if pid in members:
                        return all(_name(member) == "epmd" for member in members)
    return False


def _name(pid: int) -> str:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
        return file.read().rstrip("\n")
    return "epmd"  # it has ended
