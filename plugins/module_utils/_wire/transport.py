# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections to nodes and epmds: sockets, packets with their lengths, one deadline. Private to the collection.

Standard: ERTS User's Guide, "Distribution Protocol": packets have a 2-byte length in the handshake and a 4-byte length
after it; inside TLS a 4-byte length from the start (`inet_tls_dist.erl`).
"""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import TYPE_CHECKING, Iterator

from .._deadline import Deadline
from .._errors import Closed, EpmdError, ProtocolError, Refused, SpeaksTls, TimedOut, Unreachable
from .._limits import HANG_UP_SECONDS
from .._record import Record
from .cursor import U16, U32

if TYPE_CHECKING:
    from .tls import Tls, Tunnel

_CHUNK = 1 << 16
_TLS_ALERT = b"\x15\x03"


class Address(Record):
    """One end of a connection."""

    host: str
    port: int


class Connection:
    """A TCP connection on which every wait ends at the deadline; with `tls`, TLS inside it.

    Errors of all methods: Unreachable and its kinds, ProtocolError for a length over the limit, TlsFailed.
    """

    def __init__(self, address: str, port: int, deadline: Deadline, tls: Tls | None = None) -> None:
        self.deadline = deadline
        self._tls = tls
        self._tunnel: Tunnel | None = None
        self._handshake_length = U32 if tls else U16
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            self._socket = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:
            raise Unreachable(f"the system gives no socket: {error.strerror}") from None
        try:
            self._socket.settimeout(deadline.left())
            self._socket.connect((address, port))
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls:
                self._tunnel = tls.through(self._send, self._receive)
        except OSError as error:
            self.close()
            raise self._translated(error) from None
        except EpmdError:
            self.close()
            raise

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_unused: object) -> None:
        self.close()

    @property
    def ends(self) -> tuple[Address, Address]:
        """Our end of the connection, and that of the peer. Errors: Closed where the peer has reset it."""
        with self._translation():
            return Address(*self._socket.getsockname()[:2]), Address(*self._socket.getpeername()[:2])

    def close(self) -> None:
        """Close the connection at once."""
        self._socket.close()

    def hang_up(self) -> None:
        """Close the connection, after the peer if that closes within HANG_UP_SECONDS.

        A node lends a name to one connection at a time. The next one, of this run or another, gets the same name only
        if the node has seen the end of this one; else it gets a new name, which is a new atom in the node.
        """
        self.deadline = Deadline(HANG_UP_SECONDS)
        with self._socket, contextlib.suppress(OSError, ValueError, EpmdError):
            if self._tunnel:
                self._tunnel.hang_up()
            self._socket.shutdown(socket.SHUT_WR)
            while self._receive(_CHUNK):
                pass

    @contextlib.contextmanager
    def _translation(self) -> Iterator[None]:
        """Turn errors of the system and of TLS into those of this collection."""
        try:
            yield
        except OSError as error:
            raise self._translated(error) from None

    def _translated(self, error: OSError) -> EpmdError:
        if isinstance(error, socket.timeout):
            return TimedOut(f"no answer within {self.deadline.seconds:.3g} s")
        if self._tls and type(error).__module__ == "ssl":  # named so that ssl is not imported without TLS
            return self._tls.explain(error)
        if isinstance(error, ConnectionRefusedError):
            return Refused("nothing listens there")
        if isinstance(error, (ConnectionResetError, BrokenPipeError)):
            return Closed("it closed the connection")
        return Unreachable(f"it can't be reached: {error.strerror or error}")

    def send(self, data: bytes) -> None:
        """Send all of these bytes."""
        if self._tunnel:
            with self._translation():
                self._tunnel.send(data)
        else:
            self._send(data)

    def _send(self, data: bytes) -> None:
        self._socket.settimeout(self.deadline.left())
        with self._translation():
            self._socket.sendall(data)

    def _receive(self, size: int) -> bytes:
        self._socket.settimeout(self.deadline.left())
        with self._translation():
            return self._socket.recv(size)

    def _take(self, size: int) -> bytes:
        """At least one byte and at most this many; none when the peer has closed the connection."""
        if not self._tunnel:
            return self._receive(size)
        with self._translation():
            return self._tunnel.receive(size)

    def receive_exactly(self, size: int) -> bytes:
        """This many bytes. Errors: Closed if the peer closes before."""
        parts = []
        while size:
            part = self._take(min(size, _CHUNK))
            if not part:
                raise Closed("it closed the connection")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def receive_until_closed(self, limit: int) -> bytes:
        """All bytes until the peer closes the connection. Errors: ProtocolError for more than the limit."""
        data = bytearray()
        while True:
            part = self._take(_CHUNK)
            if not part:
                return bytes(data)
            data += part
            if len(data) > limit:
                raise ProtocolError(f"its answer has more than {limit} bytes")

    def send_handshake(self, *packets: bytes) -> None:
        """Send packets of the handshake, each after its length."""
        self.send(b"".join(self._handshake_length.pack(len(packet)) + packet for packet in packets))

    def receive_handshake(self, limit: int) -> bytes:
        """The next packet of the handshake, without its length. Errors: ProtocolError for more than the limit."""
        return self._packet(self._handshake_length, limit)

    def send_packet(self, packet: bytes) -> None:
        """Send a packet of a connected node, after its length."""
        self.send(U32.pack(len(packet)) + packet)

    def receive_packet(self, limit: int) -> bytes:
        """The next packet of a connected node, without its length; ticks (packets of length 0) are answered.

        Errors: ProtocolError for more than the limit.
        """
        while True:
            packet = self._packet(U32, limit)
            if packet:
                return packet
            self.send_packet(b"")

    def _packet(self, length: struct.Struct, limit: int) -> bytes:
        first = self.receive_exactly(length.size)
        size = length.unpack(first)[0]
        if first == _TLS_ALERT:
            raise SpeaksTls("a TLS alert: it speaks TLS distribution (for a port that you give: give tls_certfile)")
        if size > limit:
            raise ProtocolError(f"a packet of {size} bytes (its first bytes: {first!r}), more than {limit}")
        return self.receive_exactly(size)


def ask(address: str, port: int, request: bytes, limit: int, deadline: Deadline) -> bytes:
    """Send a request on a connection of its own, and return all bytes until the peer closes it."""
    with Connection(address, port, deadline) as connection:
        connection.send(request)
        return connection.receive_until_closed(limit)
