# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks one epmd of a fleet for its names, over the network, within one deadline. Private to the collection.

Standard: as `_wire/epmd.py`, which holds the bytes; asyncio, since very many are asked at once.
"""

from __future__ import annotations

import asyncio
import errno
import random
import socket
from types import TracebackType

from .._deadline import Deadline
from .._errors import Closed, EpmdError, ProtocolError, Refused, TimedOut, Unreachable
from .._limits import AGAIN_SECONDS, MAX_ATTEMPTS, MAX_SWEPT_REPLY
from .._record import Record
from .._wire import epmd
from .hosts import Target
from .resolve import Address, Resolver, Unresolved

UP, REFUSED, TIMEOUT, DOWN, UNRESOLVED, MALFORMED, UNASKED = STATES = (
    "up",
    "refused",
    "timeout",
    "down",
    "unresolved",
    "malformed",
    "unasked",
)
"""It gives its table; nothing listens there; no answer in time; its host can't be reached; its host has no address;
what answers is no epmd, or hangs up; this machine has no descriptor or port left."""

# Of a host with several addresses, the state of the one that got furthest.
_FURTHEST = (UP, MALFORMED, UNASKED, TIMEOUT, REFUSED, DOWN)
_OURS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL)


class Answer(Record):
    """What became of the question: one of STATES, the table if it is UP, and else why not. address: who answered."""

    state: str
    names: dict[str, int]
    msg: str = ""
    address: str = ""


class _Exhausted(EpmdError):
    """This machine has no descriptor, memory or port left."""


class _Within:
    """Ends the work inside after this many seconds. Errors: TimedOut.

    As `asyncio.timeout`, which Python has from 3.11 on; `asyncio.wait_for` makes a task for each call.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._over = False

    def __enter__(self) -> None:
        self._task = asyncio.current_task()
        self._timer = asyncio.get_event_loop().call_later(self._seconds, self._end)

    def _end(self) -> None:
        self._over = True
        if self._task:
            self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _at: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if self._over and isinstance(error, asyncio.CancelledError):
            getattr(self._task, "uncancel", int)()  # from 3.11 on
            raise TimedOut(f"no answer within {self._seconds:.3g} s") from None


async def ask(target: Target, resolver: Resolver, seconds: float) -> Answer:
    """Ask an epmd, at each address of its host until one answers. Whatever it does ends in an Answer."""
    deadline = Deadline(seconds)
    try:
        with _Within(seconds):
            addresses = await resolver.addresses(target.host, target.port)
    except Unresolved as error:
        return Answer(UNRESOLVED, {}, str(error))
    except TimedOut:
        return Answer(UNRESOLVED, {}, f"{target.host} has no address: the resolver gave none within {seconds:.3g} s")
    best = Answer(DOWN, {}, f"{target.host} has no address")
    for tried, address in enumerate(addresses):
        if not deadline.unused():
            break
        answer = await _ask_there(address, deadline.share(len(addresses) - tried))
        if not tried or _FURTHEST.index(answer.state) < _FURTHEST.index(best.state):
            best = answer
        if best.state == UP:
            return best
    resolver.forget(target.host)
    # Of the time of all addresses: that of one is a part.
    return best._replace(msg=f"no answer within {seconds:.3g} s") if best.state == TIMEOUT else best


async def runs(place: tuple[str, int], seconds: float) -> str:
    """Whether a node listens at an address and port, without a byte to it: "running", "stopped" or "unknown".

    "running" says that something listens there; "unknown", that a firewall may be in between.
    """
    connection = None
    try:
        with _Within(seconds):
            connection = _socket(socket.AF_INET6 if ":" in place[0] else socket.AF_INET)
            connection.setblocking(False)
            await asyncio.get_event_loop().sock_connect(connection, place)
    except ConnectionRefusedError:
        return "stopped"
    except (OSError, EpmdError):
        return "unknown"
    finally:
        if connection is not None:
            _forget(asyncio.get_event_loop(), connection)
            connection.close()
    return "running"


async def _ask_there(address: Address, deadline: Deadline) -> Answer:
    """Ask at one address; again after a pause where it hung up, or where this machine had nothing left."""
    pause, attempt = AGAIN_SECONDS, 1
    where = str(address.place[0])
    while True:
        try:
            with _Within(deadline.left()):
                return Answer(UP, epmd.decode_names_reply(await _reply(address)), "", where)
        except TimedOut:
            return Answer(TIMEOUT, {}, "no answer in time", where)
        except Refused as error:
            return Answer(REFUSED, {}, str(error), where)
        except ProtocolError as error:
            return Answer(MALFORMED, {}, f"what answers is no epmd: {error}", where)
        except (Closed, _Exhausted) as error:
            wait = pause * random.uniform(0.5, 1.5)
            last = wait >= deadline.unused()
            if isinstance(error, _Exhausted) and last:
                return Answer(UNASKED, {}, str(error), where)
            if last or attempt == MAX_ATTEMPTS:
                return Answer(MALFORMED, {}, str(error), where)
            attempt += isinstance(error, Closed)
            pause *= 2
        except EpmdError as error:
            return Answer(DOWN, {}, str(error), where)
        await asyncio.sleep(wait)


async def _reply(address: Address) -> bytes:
    """All bytes until epmd closes the connection. Errors: Unreachable and its kinds, ProtocolError, _Exhausted."""
    loop = asyncio.get_event_loop()
    data = bytearray()
    try:
        connection = _socket(address.family)
    except OSError as error:
        raise _translated(error, connected=False) from None
    connected = False
    with connection:
        connection.setblocking(False)
        try:
            await loop.sock_connect(connection, address.place)
            connected = True
            await loop.sock_sendall(connection, epmd.NAMES_REQ)
            while len(data) <= MAX_SWEPT_REPLY:
                part = await loop.sock_recv(connection, MAX_SWEPT_REPLY)
                if not part:
                    break
                data += part
        except OSError as error:
            raise _translated(error, connected) from None
        finally:
            _forget(loop, connection)
    if not data:
        raise Closed("it closed the connection without an answer")
    if len(data) > MAX_SWEPT_REPLY:
        raise ProtocolError(f"its answer has more than {MAX_SWEPT_REPLY} bytes")
    return bytes(data)


def _forget(loop: asyncio.AbstractEventLoop, connection: socket.socket) -> None:
    """Have the loop wait for this socket no more: CPython 3.7 goes on after a wait that was cut short."""
    loop.remove_reader(connection)
    loop.remove_writer(connection)


def _socket(family: int) -> socket.socket:
    return socket.socket(family, socket.SOCK_STREAM)


def _translated(error: OSError, connected: bool) -> EpmdError:
    if error.errno in _OURS:
        return _Exhausted(f"this machine could not ask: {error.strerror}; lower at_once")
    if isinstance(error, ConnectionRefusedError) and not connected:
        return Refused("nothing listens there")
    if isinstance(error, (ConnectionResetError, BrokenPipeError, ConnectionAbortedError)):
        return Closed("it closed the connection without an answer")
    if error.errno == errno.ETIMEDOUT:
        return TimedOut("no answer")
    return Unreachable(f"it can't be reached: {error.strerror or error}")
