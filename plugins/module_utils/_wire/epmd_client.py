# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks an epmd for its table, and for its descriptors. Standard: as `epmd.py`, which holds the bytes."""

from __future__ import annotations

from typing import Callable, NamedTuple

from .._deadline import Deadline
from .._errors import EpmdError, Refused
from .._limits import MAX_EPMD_REPLY
from . import epmd, transport


class Daemon(NamedTuple):
    """Where an epmd is expected: the loopback address that nodes of its family use, and a port."""

    address: str
    port: int


class Table(NamedTuple):
    """What an epmd answered: its names, or None where nothing listens, or why its answer is none."""

    names: dict[str, int] | None
    trouble: str = ""


def ask_names(daemon: Daemon, deadline: Deadline) -> Table:
    """The table of an epmd, in any state that an epmd can be in. Never raises for what it says."""
    return _table(lambda: epmd.decode_names_reply(_ask(daemon, epmd.Names(), deadline)).names)


def confirm(daemon: Daemon, table: Table, alive: str, deadline: Deadline) -> Table:
    """The table, with what epmd says when it is asked for this one name. Never raises for what it says.

    Another name may have the line of this one in it, so to be in the table is no proof. The table may be older than
    a registration, so not to be in it is none, either.
    """
    if table.names is None or table.trouble or not epmd.is_name(alive):
        return table

    def names() -> dict[str, int]:
        data = _ask(daemon, epmd.PortPlease2(alive), deadline)
        # It has no name that is no UTF-8, and hangs up when it is asked for one.
        found = epmd.decode_port_reply(data) if data or alive in (table.names or {}) else None
        others = {name: port for name, port in (table.names or {}).items() if name != alive}
        return {**others, alive: found.port} if found else others

    return _table(names)


def ask_about(daemon: Daemon, alive: str, deadline: Deadline) -> Table:
    """The table of an epmd, in which this one name is confirmed. Never raises for what it says."""
    return confirm(daemon, ask_names(daemon, deadline), alive, deadline)


def _table(names: Callable[[], dict[str, int]]) -> Table:
    try:
        return Table(names())
    except Refused:
        return Table(None)
    except EpmdError as error:
        return Table({}, str(error))


def ask_descriptors(daemon: Daemon, deadline: Deadline) -> dict[str, int]:
    """The descriptor inside of epmd of each name; nothing where it does not say. Never raises for what it says."""
    try:
        return epmd.decode_dump_reply(_ask(daemon, epmd.Dump(), deadline))
    except EpmdError:
        return {}


def _ask(daemon: Daemon, request: epmd.Request, deadline: Deadline) -> bytes:
    return transport.ask(daemon.address, daemon.port, epmd.encode_request(request), MAX_EPMD_REPLY, deadline)
