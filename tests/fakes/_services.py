# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An epmd with a table, and what a node does with the calls that come after its handshake: both are honest.

Standard: as `epmd.py` and `control.py`, whose bytes these are.
"""

from __future__ import annotations

import socket
from typing import Any, Callable, Mapping

from ansible_collections.beamops.epmd.plugins.module_utils._errors import ProtocolError
from ansible_collections.beamops.epmd.plugins.module_utils._wire import control, etf
from ansible_collections.beamops.epmd.plugins.module_utils._wire import epmd as codec
from ansible_collections.beamops.epmd.plugins.module_utils._wire.etf import Atom, Term

from ._server import Handler

Answer = Callable[[str, str, "list[Any]"], Term]
"""What `rpc:call` gives for module, function and arguments."""


def epmd(names: Mapping[str, int]) -> Handler:
    """Return a handler which answers from this table as it is then, and closes at what is no question."""

    def handler(connection: socket.socket) -> None:
        try:
            request = codec.decode_request(connection.recv(1024))
        except ProtocolError:
            return
        if isinstance(request, codec.PortPlease2):
            port = names.get(request.name)
            found = None if port is None else codec.Alive2(request.name, port)
            connection.sendall(codec.encode_port_reply(found))
        else:
            shown = dict(names) if isinstance(request, codec.Names) else {}
            connection.sendall(codec.encode_names_reply(codec.NamesReply(4369, shown)))

    return handler


def rpc(answer: Answer) -> Handler:
    """Return a handler which answers calls to `rex`, until the peer goes."""

    def handler(connection: socket.socket) -> None:
        while True:
            size = connection.recv(4, socket.MSG_WAITALL)
            if not size:
                return
            message = control.decode_message(connection.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL))
            asked: Any = etf.decode(message.payload or b"")
            _call, (caller, reference), (_kind, module, function, arguments, _leader) = asked
            packet = control.encode_message(
                (control.SEND, Atom(""), caller), (reference, answer(module, function, arguments))
            )
            connection.sendall(len(packet).to_bytes(4, "big") + packet)

    return handler
