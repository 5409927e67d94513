# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The calls to a node: which epmd it uses, register its name there, give up its socket. Private to the collection.

Standard: `net_kernel:epmd_module`; `erl_epmd.erl` of kernel: `get_epmd_port`, `register_node`, and the record `state`,
whose elements are the socket to epmd, and the port and the name that were registered with it. Only a message
`{tcp_closed, Socket}` makes `erl_epmd` forget its socket, so one whose connection was cut without a FIN is held for
ever.
"""

from __future__ import annotations

import time

from .._errors import ProtocolError
from .._limits import FORGET_SECONDS
from .._record import Record
from . import etf
from .epmd import DEFAULT_PORT, OTP_PROTOCOLS
from .etf import Atom, Raw, Term
from .node import NodeConnection

ALREADY_REGISTERED = ("error", "already_registered")
DUPLICATE_NAME = ("error", "duplicate_name")

POLL_SECONDS = 0.01


def registers(connection: NodeConnection) -> bool | None:
    """Whether the node registers at an epmd: its erl_epmd runs, and was asked to register a name. None: can't tell.

    That stays so when the registration is lost. Where the node's own epmd_module or proto_dist hands on to OTP's, it is
    so too; where they do not, erl_epmd has no name or does not run. Errors: Unreachable, ProtocolError.
    """
    reply = etf.decode(connection.call("gen_server", "call", [Atom("erl_epmd"), Atom("client_info_req")]))
    if not isinstance(reply, tuple) or len(reply) != 2:
        return None
    kind, answer = reply
    if kind == "badrpc":
        reason = answer[1] if isinstance(answer, tuple) and answer[:1] == ("EXIT",) and len(answer) == 2 else None
        return False if isinstance(reason, tuple) and reason[:1] == ("noproc",) else None
    if kind == "ok" and isinstance(answer, tuple) and answer[:1] == ("r4",) and len(answer) == 3:
        return bool(answer[1])
    return None


def has_fixed_port(connection: NodeConnection) -> bool:
    """Whether the nodes of this cluster know their ports without epmd: -erl_epmd_port, or the same in a sys.config.

    Errors: Unreachable, ProtocolError.
    """
    empty: Term = []
    reply = etf.decode(connection.call("erl_epmd", "listen_port_please", [empty, empty]))
    return isinstance(reply, tuple) and reply[:1] == ("ok",) and reply != ("ok", 0)


def epmd_module(connection: NodeConnection) -> str | None:
    """The module with which the node finds others, None for an answer without one. Errors: Unreachable, ProtocolError.

    It may be set (`-kernel epmd_module`) in a file that no command line mentions.
    """
    module = etf.decode(connection.call("net_kernel", "epmd_module", []))
    return str(module) if isinstance(module, Atom) else None


def epmd_port(connection: NodeConnection) -> int | None:
    """The node's own `-epmd_port`, DEFAULT_PORT if it has none, None for any other answer.

    Errors: Unreachable, ProtocolError.
    """
    port = _argument(connection, "epmd_port")
    if port == "":
        return DEFAULT_PORT
    return int(port) if port and port.isdecimal() and len(port) < 6 else None


def may_choose_its_name(connection: NodeConnection) -> bool:
    """Whether a module that is not OTP's may choose what the node registers. Errors: Unreachable, ProtocolError."""
    own_module = epmd_module(connection) not in (None, "erl_epmd")
    return own_module or _argument(connection, "proto_dist") not in ("", *OTP_PROTOCOLS)


def _argument(connection: NodeConnection, flag: str) -> str | None:
    """The first value of a flag on the node's command line, empty without such a flag, None for any other answer."""
    reply = etf.decode(connection.call("init", "get_argument", [Atom(flag)]))
    if reply == "error":
        return ""
    first = reply[1] if isinstance(reply, tuple) and len(reply) == 2 else None
    while isinstance(first, list) and first and isinstance(first[0], list):
        first = first[0]
    return etf.text(first) or None


def register(connection: NodeConnection, alive: str, port: int, inet6: bool) -> Term:
    """Have the node register itself; the result is that of `register_node`. Errors: Unreachable, ProtocolError."""
    # A list of characters, as the node itself would give its name.
    arguments: list[Term] = [[ord(character) for character in alive], port]
    if inet6:
        arguments.append(Atom("inet6"))
    return etf.decode(connection.call("erl_epmd", "register_node", arguments))


class Held(Record):
    """The node's socket to its epmd, as it came, and the name and port that it registered with it (None: not known)."""

    socket: Raw
    alive: str | None
    port: int | None


def held(connection: NodeConnection) -> Held | None:
    """What the node holds; None if it has no socket. Errors: Unreachable, ProtocolError."""
    state = connection.call("sys", "get_state", [Atom("erl_epmd")])
    record = etf.decode(state)
    if not isinstance(record, tuple) or record[:1] != ("state",):
        raise ProtocolError(f"unexpected state of erl_epmd: {record!r:.80}")
    sockets = etf.elements(state)[1:2]
    # -1 or undefined, by release, while there is no socket.
    if not sockets or isinstance(etf.decode(sockets[0]), (int, Atom)):
        return None
    port, alive = (*record[2:4], None, None)[:2]
    return Held(sockets[0], etf.text(alive), port if isinstance(port, int) else None)


def register_without(connection: NodeConnection, dead: Raw | None, alive: str, port: int, inet6: bool) -> Term:
    """As `register`; if the node thinks that it is registered, have it forget this socket and register again.

    What this socket holds at epmd is lost with it. Shutting it down looks to the node as if epmd had closed it; OTP 23
    and 25 with `inet_backend socket` do not notice, so they get the message about it too.
    """
    reply = register(connection, alive, port, inet6)
    for forget in (_shut_down, _send_closed):
        if reply != ALREADY_REGISTERED or dead is None:
            break
        forget(connection, dead)
        end = time.monotonic() + FORGET_SECONDS
        while reply == ALREADY_REGISTERED and time.monotonic() < end:
            time.sleep(POLL_SECONDS)
            reply = register(connection, alive, port, inet6)
    return reply


def _shut_down(connection: NodeConnection, dead: Raw) -> None:
    connection.call("gen_tcp", "shutdown", [dead, Atom("read")])


def _send_closed(connection: NodeConnection, dead: Raw) -> None:
    connection.call("erlang", "send", [Atom("erl_epmd"), (Atom("tcp_closed"), dead)])
    connection.call("gen_tcp", "close", [dead])
