# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the host through psutil, 5.4 or newer, where the kernel does not list its sockets for `linux.py`.

Standard: the documentation of psutil. It was only ever run on Linux: that it works on FreeBSD and macOS is unproven,
and nothing is known of their containers. psutil can't tell the user or the backlog of a socket, and reads all sockets
for each question. Private to the collection.
"""

from __future__ import annotations

import errno
import functools
import itertools
import os
from typing import Any, Callable, Collection, Iterable, TypeVar, cast

from .._limits import MAX_COMMAND_LINE, MAX_ENVIRONMENT
from .._record import Record
from .interface import Process, Reader, Socket

try:
    import psutil
except ImportError:
    HAS_PSUTIL = False
else:
    HAS_PSUTIL = True

_F = TypeVar("_F", bound=Callable[..., Any])


def _translated(method: _F) -> _F:
    """The errors of psutil as those of the system."""

    @functools.wraps(method)
    def translated(*arguments: Any, **options: Any) -> Any:
        try:
            return method(*arguments, **options)
        except (psutil.NoSuchProcess, FileNotFoundError) as error:
            raise ProcessLookupError(errno.ESRCH, str(error)) from None
        except psutil.AccessDenied as error:
            raise PermissionError(errno.EACCES, str(error)) from None
        except (psutil.Error, RuntimeError) as error:
            raise OSError(errno.EIO, str(error)) from None

    return cast(_F, translated)


class Portable(Reader):
    """The way where there is no better one."""

    @_translated
    def names(self) -> dict[int, str]:
        return {process.pid: process.info["name"] or "" for process in psutil.process_iter(attrs=["name"])}

    @_translated
    def process(self, pid: int) -> Process:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            raise psutil.NoSuchProcess(pid)
        arguments = _allowed(process.cmdline) or []
        # Old versions of psutil do not have it on every system.
        environment = _allowed(getattr(process, "environ", dict)) or {}
        return Process(
            pid,
            _allowed(process.name) or "",
            _allowed(lambda: process.uids().effective),
            _allowed(process.exe) or None,
            arguments if _length(arguments) <= MAX_COMMAND_LINE else [],
            environment if _length(itertools.chain(*environment.items())) <= MAX_ENVIRONMENT else {},
        )

    @_translated
    def listening(self, port: int | None = None) -> list[Socket]:
        return [socket for socket, _fd, _pid in _tcp(psutil) if not socket.remote_port and port in (None, socket.port)]

    @_translated
    def connected(self, local_port: int | None = None, remote_port: int | None = None) -> list[Socket]:
        return [
            socket
            for socket, _fd, _pid in _tcp(psutil)
            if socket.remote_port and local_port in (None, socket.port) and remote_port in (None, socket.remote_port)
        ]

    @_translated
    def descriptors(
        self,
        pid: int,
        sockets: Collection[Socket],
        enough: Iterable[Collection[Socket]] = (),  # noqa: ARG002
    ) -> dict[Socket, int]:
        held = sorted(_tcp(psutil.Process(pid)), key=lambda one: -one.descriptor)
        wanted = set(sockets)
        return {socket: descriptor for socket, descriptor, _pid in held if socket in wanted}

    @_translated
    def holders(self, sockets: Collection[Socket]) -> dict[Socket, list[int]]:
        wanted = set(sockets)
        found: dict[Socket, list[int]] = {}
        for socket, _descriptor, pid in sorted(_tcp(psutil), key=lambda one: one.pid or 0):
            if pid and socket in wanted:
                found.setdefault(socket, []).append(pid)
        return found


def _allowed(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except psutil.AccessDenied:
        return None


def _length(words: Iterable[str]) -> int:
    """The bytes of an argument list or an environment, with what ends each word."""
    return sum(len(os.fsencode(word)) + 1 for word in words)


class _Held(Record):
    """A socket, and who holds it: -1 and None where that is hidden."""

    socket: Socket
    descriptor: int
    pid: int | None


def _tcp(source: Any) -> list[_Held]:
    """The listeners and established connections of the whole host, or of a `psutil.Process`."""
    read = getattr(source, "net_connections", None) or source.connections  # its name before psutil 6.0
    return [
        _Held(_socket(found), found.fd, getattr(found, "pid", None))
        for found in read(kind="tcp")
        if found.status in (psutil.CONN_LISTEN, psutil.CONN_ESTABLISHED)
    ]


def _socket(found: Any) -> Socket:
    remote_address, remote_port = found.raddr or ("", 0)
    return Socket(found.laddr.ip, found.laddr.port, remote_address, remote_port, None, None, None)
