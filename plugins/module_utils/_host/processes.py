# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes in words for a person, and why some can't be seen.

Standard: proc(5). Private to the collection.
"""

from __future__ import annotations

import contextlib
import os

from .._errors import NotPermitted, PsutilMissing
from . import rights
from .command_line import shown
from .reader import reader
from .vms import Vm, is_emulator, owner_of, user_name


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
    user = user_name(os.geteuid())
    cure = rights.cure(rights.SEE, "become the user of the node (become_user)")
    return f" (/proc hides the processes of others from {user}, see hidepid in proc(5){cure})"


def describe(pid: int) -> str:
    """A process for a person: pid, user, command line with its cookie blanked, and whether it can be a node."""
    with contextlib.suppress(OSError, PsutilMissing):
        process = reader().process(pid)
        if process.uid is not None:
            line = shown(process.arguments) or process.name
            kind = "" if is_emulator(process.name) else ", which is no Erlang VM"
            return f"pid {pid} of user {owner_of(process)} ({line}){kind}"
    return f"pid {pid}"


def not_permitted(vm: Vm) -> NotPermitted:
    """The error for a process whose sockets this user may not see."""
    name = f"{vm.command_line.name} " if vm.command_line.name else ""
    cure = rights.cure(rights.SEE, rights.as_its_user(vm.pid or 0, vm.uid, vm.user))
    return NotPermitted(
        f"the node {name}with pid {vm.pid} belongs to {vm.user}, and {user_name(os.geteuid())} may not see its "
        f"sockets{cure}"
    )
