# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An honest epmd with a table, and the bytes that epmd sends.

Written from the ERTS User's Guide ("EPMD Protocol") and `epmd_srv.c`, and not from the collection.
"""

from __future__ import annotations

import socket
import struct
from typing import Mapping

from ._server import Handler

NOT_REGISTERED = b"w\x01"
"""PORT2_RESP for a name that is not registered."""


def names_reply(names: Mapping[str, int], port: int = 4369) -> bytes:
    """The reply to NAMES_REQ: epmd's own port, and a line for each name."""
    lines = "".join(f"name {name} at port {number}\n" for name, number in names.items())
    return struct.pack(">I", port) + lines.encode("latin-1")


def port_reply(name: str, port: int, extra: bytes = b"", node_type: int = 77) -> bytes:
    """PORT2_RESP for a name that is registered: node type 77 is a visible node, 72 a hidden one."""
    return b"w\x00" + _registration(name, port, extra, node_type)


def alive2_request(name: str, port: int) -> bytes:
    """ALIVE2_REQ of a visible node, with its length."""
    request = b"x" + _registration(name, port, b"", 77)
    return struct.pack(">H", len(request)) + request


def _registration(name: str, port: int, extra: bytes, node_type: int) -> bytes:
    """Port, node type, protocol 0 (TCP over IPv4), highest version 6, lowest 5; name and extra with their lengths."""
    data = name.encode("latin-1")
    return struct.pack(f">HBBHHH{len(data)}sH", port, node_type, 0, 6, 5, len(data), data, len(extra)) + extra


def epmd(names: Mapping[str, int]) -> Handler:
    """Return a handler that answers from this table as it is then, and closes at anything that is not a request.

    Of descriptors it knows nothing: its dump is empty.
    """

    def handler(connection: socket.socket) -> None:
        request = connection.recv(1024)
        tag, name = request[2:3], request[3:].decode("latin-1")
        if request[:2] != struct.pack(">H", len(request[2:])):
            return
        if tag == b"z" and name:
            connection.sendall(port_reply(name, names[name]) if name in names else NOT_REGISTERED)
        elif tag in (b"n", b"d") and not name:
            connection.sendall(names_reply(names if tag == b"n" else {}))

    return handler
