# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is in the way of a node, in words for a person: processes, ports, and nodes that answer there.

Standard: the verdicts `borrowed`, `conflict` and `epmd_unresponsive` in the documentation of the module.
"""

from __future__ import annotations

from .._deadline import Deadline
from .._errors import EpmdError
from .._host import owners, processes
from .._wire.epmd_client import Daemon
from .._wire.node import NodeConnection
from . import diagnose, holder
from .diagnose import Diagnosis
from .distribution_port import KNOWN_SERVICES
from .observe import Seen


def named(seen: Seen, diagnosis: Diagnosis, deadline: Deadline) -> Diagnosis:
    """The same diagnosis, and who is in the way. Never raises EpmdError."""
    if not processes.HAS_PSUTIL:
        return diagnosis
    if diagnosis.verdict == diagnose.EPMD_UNRESPONSIVE:
        who = _owner(seen.daemon.port)
    elif diagnosis.verdict == diagnose.BORROWED:
        who = _holder_of(seen, deadline)
    elif diagnosis.verdict == diagnose.CONFLICT:
        port = (seen.observation.table.names or {})[str(seen.observation.alive)]
        who = f"{_holder_of(seen, deadline)}; {_owner(port)}{_who_answers(seen.daemon, port, deadline)}"
    else:
        return diagnosis
    return Diagnosis(diagnosis.verdict, f"{diagnosis.msg}; {who}")


def _owner(port: int) -> str:
    """Whose a listening port is."""
    pids = owners.listening_pids(port)
    if pids:
        return f"port {port} belongs to {_described(pids)}"
    if owners.addresses(port):
        return f"port {port} belongs to a process that can't be seen: run with become"
    return f"nothing listens on port {port}"


def _holder_of(seen: Seen, deadline: Deadline) -> str:
    """Whose connection keeps the name at epmd."""
    port = seen.daemon.port
    try:
        client = holder.port_of(seen.daemon, str(seen.observation.alive), deadline)
    except EpmdError:
        client = None
    pids = [pid for pid in owners.connected_pids(port, client) if pid != seen.vm.pid]
    if not pids:
        return "its holder can't be seen: run with become"
    return f"its holder is {'' if client else 'one of '}{_described(pids)}"


def _who_answers(daemon: Daemon, port: int, deadline: Deadline) -> str:
    """What a node at this port calls itself. It is asked like any other, without the cookie.

    Anybody may register any port: only an Erlang VM is asked, which a handshake does no harm.
    """
    if port in KNOWN_SERVICES or owners.listening_emulator(port) is None:
        return ""
    try:
        connection = NodeConnection.open(daemon.address, port, deadline.share(2), deadline)
    except EpmdError:
        return ", where no node answers"
    connection.close()
    return f", where a node answers that calls itself {connection.peer.name}"


def _described(pids: list[int]) -> str:
    return ", ".join(processes.describe(pid) for pid in pids)
