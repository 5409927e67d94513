# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of an epmd as its nodes see it, asked for without starting one. Private to the collection.

Standard: systemd.socket(5): where systemd listens in place of an epmd, the first who asks has it started, so that a
question is a change.
"""

from __future__ import annotations

from .._deadline import Deadline
from .._host import owners
from .._wire import epmd_client
from .._wire.epmd_client import Daemon, State, Table

AWAITED = Table(State.DOWN, {}, "systemd listens on its port, and starts it for the first who asks")


def ask(daemon: Daemon, deadline: Deadline) -> Table:
    """The table of an epmd, or what keeps its nodes from it. Whatever happens ends in a Table, not in an error."""
    if owners.is_awaited(daemon.port):
        return AWAITED
    table = epmd_client.ask_names(daemon, deadline)
    if table.state is State.UP:
        return table
    from . import obstacles

    return obstacles.explain(daemon, table, deadline)
