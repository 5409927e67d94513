# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Peers that say what the fuzzer wants, in the place of all sockets, of the loop of asyncio, and of chance.

They are put there once for many inputs: a patch for each input would take longer than most conversations. `hear` begins
a new input.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from typing import Any, Callable, Coroutine, Iterator
from unittest import mock

from ansible_collections.beamops.epmd.plugins.module_utils._sweep import ask
from ansible_collections.beamops.epmd.plugins.module_utils._wire import erl_epmd

CHALLENGE = 0x12345678
"""Ours, in every handshake."""

NEXT = struct.pack(">I", 0xFFFFFFFE)
"""Stands between what is said on one connection and on the next one: no length of a packet that is taken."""

PIECES = 16
"""After so many pieces, a peer says all of the rest: a piece of one byte costs as much as a long one."""


class Wire:
    """A connection whose peer says these bytes, at first in pieces of this size, and then closes or is silent."""

    def __init__(self, script: bytes, piece: int, silent: bool) -> None:
        self.sent = bytearray()
        self.silent = silent
        self._script = script
        self._position = 0
        self._piece = piece
        self._pieces = 0

    def heard(self, size: int) -> bytes:
        """What comes next, this many bytes at most; nothing at the end."""
        self._pieces += 1
        piece = self._piece if self._pieces <= PIECES else size
        part = self._script[self._position : self._position + min(size, piece)]
        self._position += len(part)
        return part

    def recv(self, size: int) -> bytes:
        part = self.heard(size)
        if not part and self.silent:
            raise socket.timeout("timed out")
        return part

    def sendall(self, data: bytes) -> None:
        self.sent += data

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_unused: object) -> None:
        pass

    def _nothing(self, *_unused: object) -> None:
        pass

    settimeout = setblocking = connect = setsockopt = shutdown = close = _nothing


class Network:
    """Every peer there is. scripts: what they say, connection by connection. wires: those that were used, in order."""

    def __init__(self) -> None:
        self.hear(b"")

    def hear(self, data: bytes) -> list[Wire]:
        """Begin anew: 2 bytes that say how they speak, 2 that do not matter, then what they say. Gives the wires."""
        self._how = (data[:4] + bytes(4))[:4]
        self.scripts = data[4:].split(NEXT)
        self.wires: list[Wire] = []
        return self.wires

    def connect(self, *_unused: object) -> Wire:
        """In the place of `socket.socket`."""
        number = len(self.wires)
        script = self.scripts[number] if number < len(self.scripts) else b""
        self.wires.append(Wire(script, 1 + self._how[0], bool(self._how[1] & 1)))
        return self.wires[-1]


class _Loop:
    """In the place of the loop of asyncio: nothing waits. A peer that is silent is so until the time is over."""

    def __init__(self) -> None:
        self._over: Callable[[], None] = self.cancel

    def call_later(self, _seconds: float, over: Callable[[], None]) -> Any:
        self._over = over
        return self

    def cancel(self) -> None:
        pass

    async def sock_connect(self, wire: Wire, place: Any) -> None:
        pass

    async def sock_sendall(self, wire: Wire, data: bytes) -> None:
        wire.sendall(data)

    async def sock_recv(self, wire: Wire, size: int) -> bytes:
        part = wire.heard(size)
        if not part and wire.silent:
            self._over()
            raise asyncio.CancelledError
        return part

    def remove_reader(self, wire: Wire) -> None:
        pass

    remove_writer = remove_reader


class _Asyncio:
    """In the place of the module asyncio."""

    CancelledError = asyncio.CancelledError

    def __init__(self) -> None:
        loop = _Loop()
        self.get_event_loop = lambda: loop

    def current_task(self) -> None:
        """There is none."""

    async def sleep(self, _seconds: float) -> None:
        """Does not wait."""


NETWORK = Network()


def _challenge(_generator: random.SystemRandom, _bits: int) -> int:
    return CHALLENGE


def result_of(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of something that waits for nothing but these peers."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits for something else")


@contextlib.contextmanager
def in_place() -> Iterator[None]:
    """Put them there, for as many inputs as are heard inside."""
    with contextlib.ExitStack() as stack:
        # A node that says again and again that it is registered has no more to say at some time.
        stack.enter_context(mock.patch.multiple(erl_epmd, FORGET_SECONDS=60, POLL_SECONDS=0))
        stack.enter_context(mock.patch.object(socket, "socket", NETWORK.connect))
        stack.enter_context(mock.patch.object(random.SystemRandom, "getrandbits", _challenge))
        stack.enter_context(mock.patch.object(ask, "asyncio", _Asyncio()))
        yield
