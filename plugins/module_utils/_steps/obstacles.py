# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps a node from its epmd, where that gives no table: it is down, elsewhere, or shut off. Private.

Standard: connect(2) for what an error means; `run` in epmd_srv.c: an epmd ends where one of its addresses is taken, so
it is down only where nothing on the host has its port.
"""

from __future__ import annotations

from .._deadline import Deadline
from .._host import owners
from .._wire import epmd_client
from .._wire.epmd_client import Daemon, State, Table


def explain(daemon: Daemon, table: Table, deadline: Deadline) -> Table:
    """The same table, which is not up, or a newer one, with what is in the way and what to type. No errors."""
    if table.state is State.MUTE:
        from .._host import loopback

        cure = loopback.cure(daemon.address)
        return table._replace(trouble=f"{table.trouble} ({cure})") if cure else table
    elsewhere = owners.addresses(daemon.port)
    if not elsewhere:
        return table
    # An epmd may have been started between the two looks, or have ended.
    table, elsewhere = epmd_client.ask_names(daemon, deadline), owners.addresses(daemon.port)
    if table.state is not State.DOWN or not elsewhere:
        return table
    return Table(State.MUTE, {}, _refusal(daemon, elsewhere))


def _refusal(daemon: Daemon, elsewhere: list[str]) -> str:
    """Why a connection is refused although something listens on this port, at these addresses."""
    from .._host import epmd_units

    address, port = daemon
    if epmd_units.covers(elsewhere, address):
        return f"{address} port {port} refuses the connection, although something listens there: look for a firewall"
    return (
        f"the node asks {address} port {port}, where nothing listens, but something has that port at "
        f"{', '.join(elsewhere)}, so no epmd can be started: have that listen at {address} too, or free the port"
    )
