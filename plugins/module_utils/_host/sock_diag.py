# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the kernel for a few TCP sockets, where reading all of them would take longer the busier the host is.

Standard: sock_diag(7); `struct inet_diag_req_v2` and `inet_diag_msg` in linux/inet_diag.h. Private to the collection.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from typing import Iterator

from .._limits import KERNEL_SECONDS
from .interface import Socket

ESTABLISHED = 1
LISTEN = 10

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_REQUEST_ONE, _REQUEST_AND_DUMP = 0x1, 0x301
_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBxI")
_SOCKET_ID = struct.Struct("!HH16s16s12x")
_MESSAGE = struct.Struct("=BBxx")
_REST = struct.Struct("=4xIIII")
_REST_OFFSET = _MESSAGE.size + _SOCKET_ID.size
_BUFFER = 1 << 16
_ANY_COOKIE = b"\xff" * 8


def sockets(state: int, local_port: int = 0, remote_port: int = 0) -> list[Socket]:
    """The TCP sockets of this network namespace in this state, with these ports (0: any).

    Errors: OSError where the kernel does not offer this.
    """
    return [
        found for family in (socket.AF_INET, socket.AF_INET6) for found in _dump(family, state, local_port, remote_port)
    ]


def check() -> None:
    """Ask for next to nothing. Errors: OSError where the kernel does not offer this."""
    # A real question: sock_diag may be there, and its part for TCP may not. Hardly anything listens on port 1.
    _dump(socket.AF_INET, LISTEN, local_port=1, remote_port=0)


def between(local: tuple[str, int], remote: tuple[str, int]) -> list[Socket]:
    """The connection with these ends, which the kernel finds without a walk through all sockets; none, or one.

    Errors: OSError where the kernel does not offer this.
    """
    family = socket.AF_INET6 if ":" in local[0] else socket.AF_INET
    (address, port), (remote_address, remote_port) = local, remote
    ends = _SOCKET_ID.pack(
        port, remote_port, socket.inet_pton(family, address), socket.inet_pton(family, remote_address)
    )
    try:
        with _asked(family, ESTABLISHED, ends[: -len(_ANY_COOKIE)] + _ANY_COOKIE, _REQUEST_ONE) as netlink:
            found, _is_last = decode(netlink.recv(_BUFFER))
    except FileNotFoundError:
        return []
    return [one for one in found if one.remote_port == remote_port]  # else it is the listener


@contextlib.contextmanager
def _asked(family: socket.AddressFamily, state: int, ends: bytes, flags: int) -> Iterator[socket.socket]:
    """A socket on which the kernel answers."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as netlink:
        netlink.settimeout(KERNEL_SECONDS)
        body = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 1 << state) + ends
        netlink.send(_HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, flags, 1, 0) + body)
        yield netlink


def _dump(family: socket.AddressFamily, state: int, local_port: int, remote_port: int) -> list[Socket]:
    ports = _SOCKET_ID.pack(local_port, remote_port, b"", b"")
    with _asked(family, state, ports, _REQUEST_AND_DUMP) as netlink:
        found: list[Socket] = []
        is_last = False
        while not is_last:
            part, is_last = decode(netlink.recv(_BUFFER))
            found += part
        return found


def decode(data: bytes) -> tuple[list[Socket], bool]:
    """The sockets in one answer of the kernel, and whether it is the last.

    Errors: OSError, with the kernel's own reason or for a malformed answer.
    """
    found: list[Socket] = []
    start = 0
    try:
        while start < len(data):
            size, kind, _flags, _sequence, _pid = _HEADER.unpack_from(data, start)
            if kind == _NLMSG_DONE:
                return found, True
            if kind == _NLMSG_ERROR:
                code = -struct.unpack_from("=i", data, start + _HEADER.size)[0]
                raise OSError(code, os.strerror(code))
            found.append(_socket(data[start + _HEADER.size : start + size]))
            start += size + -size % 4
    except (struct.error, ValueError, IndexError, OverflowError):
        raise OSError(errno.EBADMSG, "the kernel's answer about its sockets is malformed") from None
    return found, False


def _socket(message: bytes) -> Socket:
    family, state = _MESSAGE.unpack_from(message)
    port, remote_port, address, remote = _SOCKET_ID.unpack_from(message, _MESSAGE.size)
    _waiting, backlog, uid, inode = _REST.unpack_from(message, _REST_OFFSET)
    length = 4 if family == socket.AF_INET else 16
    return Socket(
        address=socket.inet_ntop(family, address[:length]),
        port=port,
        remote_address=socket.inet_ntop(family, remote[:length]) if remote_port else "",
        remote_port=remote_port,
        uid=uid,
        # Of a connection, this is what waits to be sent.
        backlog=backlog if state == LISTEN else None,
        inode=inode,
    )
