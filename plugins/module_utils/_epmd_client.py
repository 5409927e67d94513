# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# This module util is PRIVATE to the collection. It can change at any time; do not use it from elsewhere.
"""Asks an epmd for its table. Standard: as `_epmd.py`, which holds the bytes."""

from __future__ import annotations

from typing import NamedTuple

from . import _epmd, _transport
from ._errors import EpmdError, Refused
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
    request = _epmd.encode_request(_epmd.Names())
    try:
        reply = _transport.ask(daemon.address, daemon.port, request, _epmd.MAX_REPLY_BYTES, deadline)
        return Table(_epmd.decode_names_reply(reply).names)
    except Refused:
        return Table(None)
    except EpmdError as error:
        return Table({}, str(error))
