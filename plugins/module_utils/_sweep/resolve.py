# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The addresses of a host, without a wait for the resolver that holds up anything else. Private to the collection.

Standard: getaddrinfo(3), whose order is that of RFC 6724. It blocks, so it runs in threads. They are daemon threads:
those of `concurrent.futures` would hold up the end of the process until the resolver has given up.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import socket
import threading
import time
from typing import Any

from .._errors import EpmdError
from .._limits import MAX_ADDRESSES, MAX_LOOKUPS
from .._record import Record


class Unresolved(EpmdError):
    """The name of a host has no address, or the resolver does not know now."""

    reason = "unresolved"


class Address(Record):
    """Where to connect: an address family, and the address as sockets take it."""

    family: int
    place: tuple[Any, ...]


class Resolver:
    """Looks up names in a few threads. keep: for how many seconds addresses stay good; 0: not at all."""

    def __init__(self, keep: float = 0) -> None:
        self._keep = keep
        self._kept: dict[str, tuple[float, list[Address]]] = {}
        self._jobs: queue.Queue[tuple[asyncio.Future[list[Address]], str]] = queue.Queue()
        self._threads = 0
        self._busy = 0

    async def addresses(self, host: str, port: int) -> list[Address]:
        """Where this host can be asked, MAX_ADDRESSES at most. Errors: Unresolved."""
        with contextlib.suppress(OSError, ValueError):
            return _looked_up(host, port, socket.AI_NUMERICHOST)  # which asks nobody
        until, kept = self._kept.get(host, (0.0, []))
        if time.monotonic() >= until:
            kept = await self._ask(host)
            if self._keep:
                self._kept[host] = (time.monotonic() + self._keep, kept)
        return [Address(address.family, (address.place[0], port, *address.place[2:])) for address in kept]

    def forget(self, host: str) -> None:
        """Look it up anew the next time: it may have moved."""
        self._kept.pop(host, None)

    async def _ask(self, host: str) -> list[Address]:
        answer: asyncio.Future[list[Address]] = asyncio.get_event_loop().create_future()
        self._busy += 1
        try:
            if self._threads < min(self._busy, MAX_LOOKUPS):
                threading.Thread(target=self._work, name="beamops-epmd-resolver", daemon=True).start()
                self._threads += 1
            self._jobs.put((answer, host))
            return await answer
        finally:
            self._busy -= 1

    def _work(self) -> None:
        while True:
            answer, host = self._jobs.get()
            if answer.done():  # its time was up before its turn
                continue
            found: list[Address] | EpmdError
            try:
                found = _looked_up(host, 0, 0)
            except (OSError, ValueError) as error:
                found = Unresolved(f"{host} has no address: {getattr(error, 'strerror', None) or error}")
            with contextlib.suppress(RuntimeError):  # the loop has ended
                answer.get_loop().call_soon_threadsafe(_give, answer, found)


def _give(answer: asyncio.Future[list[Address]], found: list[Address] | EpmdError) -> None:
    if answer.done():
        return
    if isinstance(found, EpmdError):
        answer.set_exception(found)
    else:
        answer.set_result(found)


def _looked_up(host: str, port: int, flags: int) -> list[Address]:
    """Errors: OSError; ValueError for what can't be a name."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    unique = dict.fromkeys(Address(family, place) for family, _type, _protocol, _name, place in found)
    return list(unique)[:MAX_ADDRESSES]
