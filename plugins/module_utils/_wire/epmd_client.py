# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks an epmd for its names, for the port of one name, and for its file descriptors. Private to the collection.

Standard: as `epmd.py`, which holds the bytes.
"""

from __future__ import annotations

import enum
from typing import Callable

from .._deadline import Deadline
from .._errors import EpmdError, Refused
from .._limits import MAX_EPMD_REPLY
from .._record import Record
from . import epmd, transport


class Daemon(Record):
    """Where an epmd is expected: the loopback address that nodes of its family use, and a port."""

    address: str
    port: int


class State(enum.Enum):
    """Whether an epmd answers: nothing listens there, something listens and gives no table, or there is a table."""

    DOWN = "down"
    MUTE = "mute"
    UP = "up"


class Table(Record):
    """What an epmd has registered: name to distribution port, empty unless `state` is UP.

    trouble: why a MUTE one gives no table, or what more is known of one that is DOWN.
    """

    state: State
    names: dict[str, int]
    trouble: str = ""


DOWN = Table(State.DOWN, {})


def ask_names(daemon: Daemon, deadline: Deadline) -> Table:
    """The table of an epmd. Whatever the epmd does ends in a Table, not in an error."""
    return _table(lambda: epmd.decode_names_reply(_ask(daemon, epmd.NAMES_REQ, deadline)))


def confirm(daemon: Daemon, table: Table, alive: str, deadline: Deadline) -> Table:
    """The same table, in which the port of this one name is what PORT_PLEASE2 gives. No errors, as `ask_names`.

    A NAMES line can be forged inside another name, and the table may be older than a registration.
    """
    if table.state is not State.UP or not epmd.is_name(alive):
        return table

    def names() -> dict[str, int]:
        data = _ask(daemon, epmd.encode_port_request(alive), deadline)
        # OTP's epmd registers no name that is not UTF-8, and closes without an answer when it is asked for one.
        port = epmd.decode_port_reply(data) if data or alive in table.names else None
        others = {name: port for name, port in table.names.items() if name != alive}
        return others if port is None else {**others, alive: port}

    return _table(names)


def ask_about(daemon: Daemon, alive: str, deadline: Deadline) -> Table:
    """The table of an epmd, with the port of this one name confirmed. No errors, as `ask_names`."""
    return confirm(daemon, ask_names(daemon, deadline), alive, deadline)


def _table(names: Callable[[], dict[str, int]]) -> Table:
    try:
        return Table(State.UP, names())
    except Refused:
        return DOWN
    except EpmdError as error:
        return Table(State.MUTE, {}, str(error))


def ask_descriptors(daemon: Daemon, deadline: Deadline) -> dict[str, int]:
    """The file descriptor that epmd has for each name; empty where it gives no dump. No errors, as `ask_names`."""
    try:
        return epmd.decode_dump_reply(_ask(daemon, epmd.DUMP_REQ, deadline))
    except EpmdError:
        return {}


def _ask(daemon: Daemon, request: bytes, deadline: Deadline) -> bytes:
    return transport.ask(daemon.address, daemon.port, request, MAX_EPMD_REPLY, deadline)
