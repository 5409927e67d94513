# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The calls to a node after its handshake, and its answers. Written from `rpc.erl` and not from the collection."""

from __future__ import annotations

import socket
from typing import Any, Callable, List

from ansible_collections.beamops.epmd.plugins.module_utils._wire.etf import Atom, Term

from . import terms
from ._server import Handler

Answer = Callable[[str, str, List[Any]], Term]
"""What `rpc:call` gives for module, function and arguments."""


def message(control: Term, payload: Term = None) -> bytes:
    """A packet of a connected node, without its length: pass through, control message, and payload if any."""
    packet = b"\x70\x83" + terms.encode(control)
    return packet if payload is None else packet + b"\x83" + terms.encode(payload)


def rpc(answer: Answer) -> Handler:
    """Return a handler that answers calls to `rex`, until the peer closes."""

    def handler(connection: socket.socket) -> None:
        while True:
            size = connection.recv(4, socket.MSG_WAITALL)
            if not size:
                return
            packet = connection.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL)
            assert packet[:2] == b"\x70\x83"
            control, rest = terms.decode(packet[2:])
            assert rest[:1] == b"\x83"
            (tag, (caller, reference), request), rest = terms.decode(rest[1:])
            kind, module, function, arguments, leader = request
            assert (control, tag, kind, leader, rest) == ((6, caller, "", "rex"), "$gen_call", "call", caller, b"")
            reply = message((2, Atom(""), caller), (reference, answer(module, function, arguments)))
            connection.sendall(len(reply).to_bytes(4, "big") + reply)

    return handler
