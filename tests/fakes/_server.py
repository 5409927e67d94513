# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers that hang, drip or flood, and nodes that shake hands and then go on as a test wants."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from typing import Any, Callable

from ._node_peer import NodePeer, Refusal

Handler = Callable[[socket.socket], None]


def create_server(
    address: tuple[Any, ...], *, family: int = socket.AF_INET, backlog: int | None = None
) -> socket.socket:
    """As `socket.create_server`, which CPython 3.7 lacks."""
    server = socket.socket(family)
    try:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        server.bind(address)
        server.listen(128 if backlog is None else backlog)
    except OSError:
        server.close()
        raise
    return server


class FakeServer:
    """A listening server that gives every connection to the handler, in a thread.

    The handler may return, which closes the connection, or wait for its peer for as long as the
    test lasts: close() wakes it. An error of the handler other than a broken connection is raised
    by close().
    """

    def __init__(self, handler: Handler, port: int = 0, address: str = "127.0.0.1") -> None:
        self.accepted = 0
        self._handler = handler
        self._errors: list[Exception] = []
        self._lock = threading.Lock()
        self._closed = False
        self._connections: set[socket.socket] = set()
        self._handlers: list[threading.Thread] = []
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._listener = create_server((address, port), family=family)
        self.port: int = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def close(self) -> None:
        """Close every connection and wait for the threads."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            # Closing alone would wake neither accept() nor recv() in another thread.
            for open_socket in (self._listener, *self._connections):
                _shut_down(open_socket)
        self._acceptor.join(10)
        for thread in self._handlers:
            thread.join(10)
        self._listener.close()
        if any(thread.is_alive() for thread in (self._acceptor, *self._handlers)):
            raise AssertionError("a handler of the fake server does not end")
        if self._errors:
            raise self._errors[0]

    def __enter__(self) -> FakeServer:
        return self

    def __exit__(self, *_unused: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _peer = self._listener.accept()
            except OSError:
                return
            with self._lock:
                if self._closed:
                    connection.close()
                    return
                self.accepted += 1
                self._connections.add(connection)
            thread = threading.Thread(target=self._handle, args=(connection,), daemon=True)
            self._handlers.append(thread)
            thread.start()

    def _handle(self, connection: socket.socket) -> None:
        try:
            self._handler(connection)
        except OSError:
            pass
        except Exception as error:
            self._errors.append(error)
        finally:
            with self._lock:
                self._connections.discard(connection)
            # A child that was forked meanwhile has a copy, so closing ours would not end the connection.
            _shut_down(connection)
            connection.close()


def hang(connection: socket.socket) -> None:
    """Handle a connection by reading all and answering nothing, until the peer closes it."""
    while connection.recv(4096):
        pass


def answer(reply: bytes) -> Handler:
    """Return a handler that waits for the first bytes, sends this reply and closes."""

    def handler(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(reply)

    return handler


def say(data: bytes) -> Handler:
    """Return a handler that sends this at once, and then is silent until the peer closes."""

    def handler(connection: socket.socket) -> None:
        connection.sendall(data)
        hang(connection)

    return handler


def flood(piece: bytes, head: bytes = b"") -> Handler:
    """Return a handler that sends this piece again and again, and reads nothing, until the peer closes."""

    def handler(connection: socket.socket) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(piece)

    return handler


def drip(data: bytes, seconds: float) -> Handler:
    """Return a handler that sends one byte at a time, each after this many seconds, until the peer closes."""

    def handler(connection: socket.socket) -> None:
        for byte in data:
            connection.sendall(bytes([byte]))
            wait_until_gone(connection, seconds)
        hang(connection)

    return handler


def wait_until_gone(connection: socket.socket, seconds: float) -> None:
    """Wait this long, or raise as soon as the peer closes."""
    end = time.monotonic() + seconds
    while select.select([connection], [], [], max(0.0, end - time.monotonic()))[0]:
        if not connection.recv(4096):
            raise ConnectionResetError


def node(then: Handler, peer: NodePeer | None = None) -> Handler:
    """Return a handler that shakes hands as a node does, and then goes on with another one."""
    this = peer or NodePeer()

    def handler(connection: socket.socket) -> None:
        try:
            for packet in this.on_name(_packet(connection)):
                _send(connection, packet)
            reply = _packet(connection)
            _send(connection, this.on_reply(reply))
        except Refusal:
            return
        then(connection)

    return handler


def _packet(connection: socket.socket) -> bytes:
    size = connection.recv(2, socket.MSG_WAITALL)
    if not size:
        raise ConnectionResetError  # it only wanted to know who we are
    return connection.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL)


def _send(connection: socket.socket, packet: bytes) -> None:
    connection.sendall(len(packet).to_bytes(2, "big") + packet)


def _shut_down(open_socket: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the peer may have been faster
        open_socket.shutdown(socket.SHUT_RDWR)
