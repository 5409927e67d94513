# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Erlang VMs of this host. Needs psutil, and says so where it is missing.

Standard: `/proc/PID/comm` is what the kernel calls a process (proc(5)); the emulators of erts
are called `beam.smp`, `beam.debug.smp` and the like.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
from typing import Any, NamedTuple

from .._errors import EpmdError, NotPermitted
from .._limits import MAX_COMMAND_LINE, MAX_ENVIRONMENT
from . import command_line, namespaces
from .command_line import CommandLine

try:
    import psutil
except ImportError:
    HAS_PSUTIL = False
else:
    HAS_PSUTIL = True

EMULATOR = re.compile(r"beam(\.\w+)*")


class Vm(NamedTuple):
    """A running Erlang VM; pid None is one of which only the port is known.

    namespace: the number of its network namespace, None for our own. executable: as a path in its own root.
    """

    pid: int | None
    uid: int | None
    user: str | None
    executable: str | None
    said: CommandLine
    namespace: int | None = None


UNKNOWN = Vm(None, None, None, None, command_line.parse([], {}))


def require_psutil() -> None:
    """Errors: EpmdError where psutil is missing."""
    if not HAS_PSUTIL:
        raise EpmdError(
            "psutil is missing for this host's Python, and without it no node can be found: install it "
            "(python3-psutil), or give name, port and cookie_file"
        )


_known: dict[int, str] = {}
"""The command name of each process, as it was at the last look at all of them."""


def pids_called(pattern: str | re.Pattern[str]) -> list[int]:
    """The pids whose command name matches fully, in ascending order."""
    pids = sorted(int(entry) for entry in os.listdir("/proc") if entry.isdigit())
    names = {pid: _command_name(pid) for pid in pids}
    _known.clear()
    _known.update(names)
    return known_pids_called(pattern)


def known_pids_called(pattern: str | re.Pattern[str]) -> list[int]:
    """As `pids_called`, of those that were there at its last call: on a busy host, each call costs."""
    return [pid for pid, name in list(_known.items()) if re.fullmatch(pattern, name)]


def _command_name(pid: int) -> str:
    """The command name of a process; empty where it has ended, or is hidden."""
    try:
        # As `open` would do it, in a third of the time: on a busy host there are thousands.
        descriptor = os.open(f"/proc/{pid}/comm", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(descriptor, 64).rstrip(b"\n").decode(errors="replace")
    except OSError:
        return ""
    finally:
        os.close(descriptor)


def hidden() -> str:
    """Why there may be more processes than can be seen, as the end of a sentence; empty where there are not."""
    try:
        with open("/proc/1/comm", "rb"):
            return ""
    except OSError:
        user = user_name(os.geteuid())
        return f" (/proc hides the processes of others from {user}, see hidepid in proc(5): run with become)"


def is_called(pid: int, pattern: str | re.Pattern[str]) -> bool:
    """Whether the command name of a process matches fully; not that of one that has ended."""
    return re.fullmatch(pattern, _command_name(pid)) is not None


def find_vms() -> list[Vm]:
    """Every Erlang VM that can be seen, in the order of pids. Errors: EpmdError without psutil."""
    require_psutil()
    vms = []
    for pid in pids_called(EMULATOR):
        try:
            vms.append(_read(psutil.Process(pid)))
        except (psutil.NoSuchProcess, FileNotFoundError):
            continue  # it ended meanwhile
    return vms


def _read(process: Any) -> Vm:
    uids = _allowed(process.uids, None)
    return Vm(
        process.pid,
        uids and uids.effective,
        # Another root has other users, so there only the number tells who it is.
        uids and (user_name(uids.effective) if namespaces.shares_root(process.pid) else str(uids.effective)),
        _allowed(process.exe, None),
        command_line.parse(_arguments(process), _environment(process)),
        namespaces.network_of(process.pid),
    )


def _arguments(process: Any) -> list[str]:
    found: list[str] = _allowed(process.cmdline, []) if _is_within(process.pid, "cmdline", MAX_COMMAND_LINE) else []
    return found


def _environment(process: Any) -> dict[str, str]:
    found: dict[str, str] = _allowed(process.environ, {}) if _is_within(process.pid, "environ", MAX_ENVIRONMENT) else {}
    return found


def _is_within(pid: int, file_name: str, limit: int) -> bool:
    """Whether what a process says of itself is as short as that of an honest one; more is as good as nothing."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/{file_name}", "rb") as file:
        return len(file.read(limit + 1)) <= limit
    return True  # hidden, or gone: psutil says so


def _allowed(read: Any, otherwise: Any) -> Any:
    try:
        return read()
    except psutil.AccessDenied:
        return otherwise


def user_name(uid: int) -> str:
    """The name of a user, or its number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def describe(pid: int) -> str:
    """A process for a person: pid, user, command line with its cookie blanked, and whether it can be a node."""
    try:
        process = psutil.Process(pid)
        line = command_line.shown(_arguments(process)) or process.name()
        kind = "" if is_called(pid, EMULATOR) else ", which is no Erlang VM"
        return f"pid {pid} of user {user_name(process.uids().effective)} ({line}){kind}"
    except psutil.Error:
        return f"pid {pid}"


def not_permitted(vm: Vm) -> NotPermitted:
    """The error for a process whose sockets this user may not see."""
    name = f"{vm.said.name} " if vm.said.name else ""
    return NotPermitted(
        f"the node {name}with pid {vm.pid} belongs to {vm.user}, and {user_name(os.geteuid())} may not see its "
        "sockets: run with become"
    )
