# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is at a port or at the end of a connection: the questions about sockets that only some hosts need.

Standard: as `owners.py`, which has those that every host needs. All are about what can be seen, which is nothing where
the system hides it, or can't be read. Private to the collection.
"""

from __future__ import annotations

import os
from typing import Collection

from . import vms
from .connections import connected
from .interface import Socket
from .owners import addresses_of, epmds, held_by, holders_of, is_epmd, listening, pids_called, seen


def strangers(port: int, its_addresses: Collection[str]) -> dict[int, list[str]]:
    """Each process that listens on this port at one of these addresses, with all of its own on this port.

    As far as they can be seen: empty where one belongs to another user.
    """
    sockets = listening(port)
    if os.geteuid() != 0 and any(found.uid != os.geteuid() for found in sockets):
        return {}
    pids = {pid for found, pid in _owners(sockets).items() if found.address in its_addresses}
    return {pid: found for pid, found in listening_at(port).items() if pid in pids}


def listening_at(port: int) -> dict[int, list[str]]:
    """The addresses at which each process listens on this port, as far as they can be seen. Looks at every process."""
    found: dict[int, set[Socket]] = {}
    for listener, pid in _owners(listening(port)).items():
        found.setdefault(pid, set()).add(listener)
    return {pid: addresses_of(listeners) for pid, listeners in sorted(found.items())}


def epmd_pids(port: int) -> list[int]:
    """Every process called epmd that runs now, except with another port in its environment (ERL_EPMD_PORT).

    One whose environment can't be read counts: a daemon forks twice, so it may have a successor by now.
    """
    own = str(port)
    return [pid for pid in pids_called(is_epmd) if environment_of(pid).get("ERL_EPMD_PORT", own) == own]


def environment_of(pid: int) -> dict[str, str]:
    """The environment of a process; empty where it can't be seen."""
    return seen(lambda host: host.process(pid).environment, {})


def epmd_pid(port: int) -> int | None:
    """The pid of the process called epmd that listens on this port, if it can be seen."""
    return next((pid for pid, _addresses in epmds(port)), None)


def listening_uid(port: int) -> int | None:
    """The user whose socket listens on this port."""
    return next((found.uid for found in listening(port)), None)


def listening_emulator(port: int) -> str | None:
    """The program of the Erlang VM that listens on this port."""
    sockets = listening(port)
    pids = pids_called(vms.is_emulator) if sockets else []
    pid = next((pid for pid in pids if held_by(pid, sockets)), None)
    return None if pid is None else seen(lambda host: host.process(pid).executable, None)


def listening_pids(port: int) -> list[int]:
    """The pids that listen on this port. Looks at every process."""
    return sorted(set(_owners(listening(port)).values()))


def listening_owners() -> dict[int, int]:
    """The pid that listens on each port, the lowest of several. Looks at every process."""
    return dict(sorted(((found.port, pid) for found, pid in _owners(listening()).items()), reverse=True))


def connected_pids(port: int, own_port: int | None) -> list[int]:
    """The pids that are connected to this port, from that port if it is known. Looks at every process."""
    return sorted(set(_owners(connected(own_port, port)).values()))


def _owners(sockets: Collection[Socket]) -> dict[Socket, int]:
    """The pid to name for each of the sockets; of several holders the lowest, which are the parents of the others.

    The first process counts only where it is alone: it keeps the sockets that it hands to services (systemd.socket(5)).
    """
    return {found: next((pid for pid in pids if pid != 1), 1) for found, pids in holders_of(sockets).items()}
