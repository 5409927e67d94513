# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which process has which end of a connection: to be sure that it is the node's own before the cookie is used.

Standard: as `owners.py`. Private to the collection.
"""

from __future__ import annotations

from .._wire.transport import Address
from .interface import Socket
from .owners import held_by, seen


def peer_port(pid: int, descriptor: int, port: int) -> int | None:
    """The port at the other end of a connection that a process has accepted on `port`."""
    held = held_by(pid, connected(port, None))
    return next((found.remote_port for found, fd in held.items() if fd == descriptor), None)


def accepted(pid: int, server: Address, client: Address) -> bool:
    """Whether a process holds the end `server` of the connection that comes from `client`."""
    return bool(held_by(pid, seen(lambda host: host.between(server, client), [])))


def connected(local_port: int | None, remote_port: int | None) -> list[Socket]:
    return seen(lambda host: host.connected(local_port, remote_port), [])
