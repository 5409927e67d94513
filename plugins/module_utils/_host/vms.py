# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Erlang VMs of this host.

Standard: the emulators of erts are called `beam.smp`, `beam.debug.smp` and the like. Private to the collection.
"""

from __future__ import annotations

import contextlib
import pwd

from .._errors import PsutilMissing
from .._record import Record
from . import command_line, namespaces
from .command_line import CommandLine
from .interface import Process
from .reader import reader


def is_emulator(name: str) -> bool:
    """Whether this is the command name of an Erlang VM."""
    first, *others = name.split(".")
    return first == "beam" and all(other.replace("_", "x").isalnum() for other in others)


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
    for pid in reader().pids_called(is_emulator):
        with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
            found.append(_vm(reader().process(pid)))
    return found


def _vm(process: Process) -> Vm:
    return Vm(
        process.pid,
        process.uid,
        owner_of(process),
        process.executable,
        command_line.parse(process.arguments, process.environment),
        namespaces.network_of(process.pid),
    )


def owner_of(process: Process) -> str | None:
    if process.uid is None:
        return None
    if namespaces.shares_root(process.pid):
        return user_name(process.uid)
    from . import accounts

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
        return owner_of(reader().process(pid))
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
