# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read of a host, whichever way: its processes and their TCP sockets.

Standard: proc(5) and tcp(7) for the words. `linux.py` and `portable.py` are the two ways, `reader.py` chooses one. Only
sockets of our own network namespace are seen. Private to the collection.
"""

from __future__ import annotations

import abc
from typing import Callable, Collection, Iterable

from .._record import Record


class Process(Record):
    """A running process. uid: the effective user. What this user may not see is None or empty.

    name: its command name. executable: the path of its program. arguments, environment: empty also where they are
    longer than those of an honest program.
    """

    pid: int
    name: str
    uid: int | None
    executable: str | None
    arguments: list[str]
    environment: dict[str, str]


class Socket(Record):
    """A TCP socket; without a remote address it is a listener. None is what this way to read the host can't tell.

    uid: the user who made it. backlog: of a listener, the connections that may wait for it.
    """

    address: str
    port: int
    remote_address: str
    remote_port: int
    uid: int | None
    backlog: int | None
    inode: int | None


def _plain(address: str) -> str:
    """An address as a client has it: a listener of both families has that of IPv4 inside one of IPv6 (RFC 4291)."""
    prefix = "::ffff:"
    return address[len(prefix) :] if address.startswith(prefix) and "." in address else address


class Reader(abc.ABC):
    """A way to read the host. Errors of every method: OSError where the system does not answer."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}

    def pids_called(self, fits: Callable[[str], bool]) -> list[int]:
        """The pids whose command name fits, in ascending order."""
        self._names = self.names()
        return self.known_pids_called(fits)

    def known_pids_called(self, fits: Callable[[str], bool]) -> list[int]:
        """As `pids_called`, as of its last call: on a busy host each look at all processes costs."""
        return [pid for pid, name in self._names.items() if fits(name)]

    @abc.abstractmethod
    def names(self) -> dict[int, str]:
        """The command name of each process, by ascending pid; empty where it is hidden."""

    @abc.abstractmethod
    def process(self, pid: int) -> Process:
        """A process. Errors: ProcessLookupError where it has ended."""

    @abc.abstractmethod
    def listening(self, port: int | None = None) -> list[Socket]:
        """The sockets that listen, on this port or on any."""

    @abc.abstractmethod
    def connected(self, local_port: int | None = None, remote_port: int | None = None) -> list[Socket]:
        """The established connections, from this port and to that port, or any."""

    def between(self, local: tuple[str, int], remote: tuple[str, int]) -> list[Socket]:
        """The established connection with these ends, each an address and a port; none, or one."""
        return [
            found
            for found in self.connected(local[1], remote[1])
            if (_plain(found.address), _plain(found.remote_address)) == (local[0], remote[0])
        ]

    @abc.abstractmethod
    def descriptors(
        self,
        pid: int,
        sockets: Collection[Socket],
        enough: Iterable[Collection[Socket]] = (),
    ) -> dict[Socket, int]:
        """Those of the sockets that a process holds, each with its lowest descriptor.

        enough: once one of each of these is found, the others need not be. Empty: all of them.

        Errors: PermissionError, ProcessLookupError where it has ended.
        """

    @abc.abstractmethod
    def holders(self, sockets: Collection[Socket]) -> dict[Socket, list[int]]:
        """The pids that hold each of the sockets, ascending, as far as they can be seen. Looks at every process."""
