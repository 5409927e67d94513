# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time; do not use it from elsewhere.
"""Asks an epmd for its table, and for its descriptors. Standard: as `_epmd.py`, which holds the bytes."""

from __future__ import annotations

from typing import NamedTuple

from . import _epmd, _transport
from ._errors import EpmdError, Refused
from ._limits import MAX_EPMD_REPLY
from ._transport import Deadline


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
    try:
        reply = _epmd.decode_names_reply(_ask(daemon, _epmd.Names(), deadline))
        names = reply.names
        for name in sorted(reply.twice):
            # Asked for by name, epmd says which of the ports is true.
            found = _epmd.decode_port_reply(_ask(daemon, _epmd.PortPlease2(name), deadline))
            del names[name]
            if found:
                names[name] = found.port
        return Table(names)
    except Refused:
        return Table(None)
    except EpmdError as error:
        return Table({}, str(error))


def ask_descriptors(daemon: Daemon, deadline: Deadline) -> dict[str, int]:
    """The descriptor inside of epmd of each name; nothing where it does not say. Never raises for what it says."""
    try:
        return _epmd.decode_dump_reply(_ask(daemon, _epmd.Dump(), deadline))
    except EpmdError:
        return {}


def _ask(daemon: Daemon, request: _epmd.Request, deadline: Deadline) -> bytes:
    return _transport.ask(daemon.address, daemon.port, _epmd.encode_request(request), MAX_EPMD_REPLY, deadline)
