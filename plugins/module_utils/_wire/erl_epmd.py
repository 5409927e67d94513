# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of a node by rpc: which epmd it uses, to register itself, and to forget a dead connection.

Standard: `net_kernel:epmd_module`; `erl_epmd.erl` of kernel: `get_epmd_port`, `register_node`, and the
record `state`, whose second element is the socket to epmd. `erl_epmd` learns that a socket is gone
from a message `{tcp_closed, Socket}` alone, so a connection that was cut without a FIN is held for ever.
"""

from __future__ import annotations

import time

from .._errors import ProtocolError
from .._limits import FORGET_SECONDS
from . import etf
from .epmd import DEFAULT_PORT
from .etf import Atom, Raw, Term
from .node import NodeConnection

ALREADY_REGISTERED = ("error", "already_registered")

POLL_SECONDS = 0.01


def epmd_module(connection: NodeConnection) -> str | None:
    """The module by which it finds other nodes, None if it does not say. Errors: Unreachable, ProtocolError.

    It may have been set in a file that no command line names (`-kernel epmd_module`).
    """
    module = etf.decode(connection.call("net_kernel", "epmd_module", []))
    return str(module) if isinstance(module, Atom) else None


def epmd_port(connection: NodeConnection) -> int | None:
    """The port on which it looks for its epmd, None if it does not say. Errors: Unreachable, ProtocolError."""
    told = etf.decode(connection.call("init", "get_argument", [Atom("epmd_port")]))
    if told == "error":
        return DEFAULT_PORT
    first = told[1] if isinstance(told, tuple) and len(told) == 2 else None
    while isinstance(first, list) and first and isinstance(first[0], list):
        first = first[0]
    port = etf.text(first)
    return int(port) if port and port.isdecimal() and len(port) < 6 else None


def register(connection: NodeConnection, alive: str, port: int, inet6: bool) -> Term:
    """Have the node register itself; gives what `register_node` returns. Errors: Unreachable, ProtocolError."""
    # Character by character, as the node itself would turn its name into bytes.
    arguments: list[Term] = [[ord(character) for character in alive], port]
    if inet6:
        arguments.append(Atom("inet6"))
    return etf.decode(connection.call("erl_epmd", "register_node", arguments))


def socket_of(connection: NodeConnection) -> Raw | None:
    """The socket that it holds to epmd, as it came; None where it holds none. Errors: Unreachable, ProtocolError."""
    state = connection.call("sys", "get_state", [Atom("erl_epmd")])
    record = etf.decode(state)
    if not isinstance(record, tuple) or record[:1] != ("state",):
        raise ProtocolError(f"erl_epmd has a state that is none: {record!r:.80}")
    held = etf.elements(state)[1:2]
    # It is -1, or undefined, while there is no socket.
    return held[0] if held and not isinstance(etf.decode(held[0]), (int, Atom)) else None


def register_without(connection: NodeConnection, dead: Raw | None, alive: str, port: int, inet6: bool) -> Term:
    """As `register`, after it has forgotten this socket. Only for one that holds no name at epmd: it would be lost.

    The first way is that of a peer who closes. With `inet_backend socket`, OTP 23 and 25 do not notice it.
    """
    reply = register(connection, alive, port, inet6)
    for way in (_shut_down, _tell):
        if reply != ALREADY_REGISTERED or dead is None:
            break
        way(connection, dead)
        end = time.monotonic() + FORGET_SECONDS
        while reply == ALREADY_REGISTERED and time.monotonic() < end:
            time.sleep(POLL_SECONDS)
            reply = register(connection, alive, port, inet6)
    return reply


def _shut_down(connection: NodeConnection, dead: Raw) -> None:
    connection.call("gen_tcp", "shutdown", [dead, Atom("read")])


def _tell(connection: NodeConnection, dead: Raw) -> None:
    connection.call("erlang", "send", [Atom("erl_epmd"), (Atom("tcp_closed"), dead)])
    connection.call("gen_tcp", "close", [dead])
