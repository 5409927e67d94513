# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose connection keeps a name in epmd's table.

Standard: EPMD_DUMP_REQ in the section "EPMD Protocol" tells the descriptor of each name inside of
epmd; the kernel tells what is at its other end. To be connected to epmd alone says nothing: a
node of OTP 23.3 or newer whose name is taken asks for it again and again, and each time leaves a
connection open that holds no name (`wait_for_reg_reply` in erl_epmd.erl).
"""

from __future__ import annotations

from .._deadline import Deadline
from .._host import listeners, owners
from .._wire import epmd_client
from .._wire.epmd_client import Daemon


def port_of(daemon: Daemon, alive: str, deadline: Deadline) -> int | None:
    """The port from which the holder of this name is connected; None where that can't be seen."""
    descriptor = epmd_client.ask_descriptors(daemon, deadline).get(alive)
    pid = None if descriptor is None else listeners.epmd_pid(daemon.port)
    if pid is None or descriptor is None:
        return None
    return owners.peer_port(pid, descriptor, daemon.port)
