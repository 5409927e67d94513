# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the kernel for a few TCP sockets, where reading all of them would take longer the busier the host is.

Standard: sock_diag(7); `struct inet_diag_req_v2` and `inet_diag_msg` in linux/inet_diag.h.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from typing import Iterator, NamedTuple

from .._limits import KERNEL_SECONDS

ESTABLISHED = 1
LISTEN = 10

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLMSG_ERROR = 2
_NLMSG_DONE = 3
_REQUEST_AND_DUMP = 0x301
_HEADER = struct.Struct("=IHHII")
_REQUEST = struct.Struct("=BBBxI")
_SOCKET_ID = struct.Struct("!HH16s16s12x")
_MESSAGE = struct.Struct("=BBxx")
_REST = struct.Struct("=4xIIII")
_REST_OFFSET = _MESSAGE.size + _SOCKET_ID.size
_BUFFER = 1 << 16


class Found(NamedTuple):
    """A socket: its own address and port, its user, and the inode that a descriptor of its process shows.

    backlog: of a listening socket, the connections that may wait for it. remote_port: of a connection.
    """

    address: str
    port: int
    uid: int
    inode: int
    backlog: int
    remote_port: int


def sockets(family: socket.AddressFamily, state: int, remote_port: int = 0, local_port: int = 0) -> Iterator[Found]:
    """The TCP sockets of this network namespace in this state, with these ports (0: any).

    Errors: OSError where the kernel does not offer this.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as netlink:
        netlink.settimeout(KERNEL_SECONDS)
        ports = _SOCKET_ID.pack(local_port, remote_port, b"", b"")
        body = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, 1 << state) + ports
        size = _HEADER.size + len(body)
        netlink.send(_HEADER.pack(size, _SOCK_DIAG_BY_FAMILY, _REQUEST_AND_DUMP, 1, 0) + body)
        is_last = False
        while not is_last:
            found, is_last = decode(netlink.recv(_BUFFER))
            yield from found


def decode(data: bytes) -> tuple[list[Found], bool]:
    """The sockets in one answer of the kernel, and whether it is the last. Errors: OSError, for what is none too."""
    found: list[Found] = []
    start = 0
    try:
        while start < len(data):
            size, kind, _flags, _sequence, _pid = _HEADER.unpack_from(data, start)
            if kind == _NLMSG_DONE:
                return found, True
            if kind == _NLMSG_ERROR:
                code = -struct.unpack_from("=i", data, start + _HEADER.size)[0]
                raise OSError(code, os.strerror(code))
            found.append(_found(data[start + _HEADER.size : start + size]))
            start += size + -size % 4
    except (struct.error, ValueError, IndexError, OverflowError):
        raise OSError(errno.EBADMSG, "the kernel's answer about its sockets is none") from None
    return found, False


def _found(message: bytes) -> Found:
    family = message[0]
    port, remote_port, address, _remote = _SOCKET_ID.unpack_from(message, _MESSAGE.size)
    _waiting, backlog, uid, inode = _REST.unpack_from(message, _REST_OFFSET)
    text = socket.inet_ntop(family, address[: 4 if family == socket.AF_INET else 16])
    return Found(text, port, uid, inode, backlog, remote_port)
