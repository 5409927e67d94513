# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Erlang VMs of this host, and processes in words for a person.

Standard: the emulators of erts are called `beam.smp`, `beam.debug.smp` and the like. Private to the collection.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re

from .._errors import NotPermitted, PsutilMissing
from .._record import Record
from . import command_line, namespaces
from .command_line import CommandLine
from .interface import Process
from .reader import reader

EMULATOR = re.compile(r"beam(\.\w+)*")


class Vm(Record):
    """A running Erlang VM; pid None is one of which only the port is known.

    uid: its effective user. executable: the path of its program. namespace: the number of its network namespace, None
    for our own.
    """

    pid: int | None
    uid: int | None
    user: str | None
    executable: str | None
    command_line: CommandLine
    namespace: int | None = None


UNKNOWN = Vm(None, None, None, None, command_line.parse([], {}))


def find() -> list[Vm]:
    """Every Erlang VM that can be seen, in the order of pids. Errors: PsutilMissing."""
    found = []
    for pid in reader().pids_called(EMULATOR):
        with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
            found.append(_vm(reader().process(pid)))
    return found


def _vm(process: Process) -> Vm:
    return Vm(
        process.pid,
        process.uid,
        _user_of(process),
        process.executable,
        command_line.parse(process.arguments, process.environment),
        namespaces.network_of(process.pid),
    )


def _user_of(process: Process) -> str | None:
    if process.uid is None:
        return None
    if namespaces.shares_root(process.pid):
        return user_name(process.uid)
    from . import accounts  # noqa: PLC0415

    return accounts.name_in(process.pid, process.uid)


def user_name(uid: int) -> str:
    """The name of a user, or its number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def user_of(pid: int) -> str | None:
    """The name of the user of a process; None where it has ended, or is hidden."""
    with contextlib.suppress(OSError, PsutilMissing):
        return _user_of(reader().process(pid))
    return None


def has_ended(pid: int) -> bool:
    """Whether a process has ended: it is gone, or nobody has waited for it yet."""
    try:
        process = reader().process(pid)
    except ProcessLookupError:
        return True
    except (OSError, PsutilMissing):
        return False
    return not process.arguments and process.executable is None


def hidden() -> str:
    """Why there may be more processes than can be seen, as the end of a sentence; empty where there are not."""
    try:
        # There always is a first process, of root.
        sees_others = reader().process(1).uid is not None
    except OSError:
        sees_others = False
    except PsutilMissing:
        sees_others = True  # no process was looked for
    if sees_others:
        return ""
    from . import rights  # noqa: PLC0415

    user = user_name(os.geteuid())
    cure = rights.cure(rights.SEE, "become the user of the node (become_user)")
    return f" (/proc hides the processes of others from {user}, see hidepid in proc(5){cure})"


def describe(pid: int) -> str:
    """A process for a person: pid, user, command line with its cookie blanked, and whether it can be a node."""
    with contextlib.suppress(OSError, PsutilMissing):
        process = reader().process(pid)
        if process.uid is not None:
            line = command_line.shown(process.arguments) or process.name
            kind = "" if EMULATOR.fullmatch(process.name) else ", which is no Erlang VM"
            return f"pid {pid} of user {_user_of(process)} ({line}){kind}"
    return f"pid {pid}"


def not_permitted(vm: Vm) -> NotPermitted:
    """The error for a process whose sockets this user may not see."""
    from . import rights  # noqa: PLC0415

    name = f"{vm.command_line.name} " if vm.command_line.name else ""
    cure = rights.cure(rights.SEE, rights.as_its_user(vm.pid or 0, vm.uid, vm.user))
    return NotPermitted(
        f"the node {name}with pid {vm.pid} belongs to {vm.user}, and {user_name(os.geteuid())} may not see its "
        f"sockets{cure}"
    )
