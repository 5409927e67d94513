# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the host from the kernel itself: /proc for its processes, sock_diag for its sockets.

Standard: proc(5); a socket of `sock_diag.py` and a descriptor in `/proc/PID/fd` meet by the inode. Each file is read
once, and no further than its limit. Private to the collection.
"""

from __future__ import annotations

import errno
import functools
import itertools
import os
from typing import Any, Callable, Collection, Iterable, Iterator, TypeVar, cast

from .._limits import MAX_COMMAND_LINE, MAX_ENVIRONMENT
from . import sock_diag
from .interface import Process, Reader, Socket

_F = TypeVar("_F", bound=Callable[..., Any])

_LOWEST, _HIGHEST = 256, 64
"""How many descriptors of a process that has many are looked at first, at both ends."""

_STATUS_HEAD = 4096
"""Bytes of /proc/PID/status that surely have its first lines; those that follow have no limit."""


def _of_process(method: _F) -> _F:
    """The errors of the system for a process that has ended as one: ProcessLookupError."""

    @functools.wraps(method)
    def translated(*arguments: Any, **options: Any) -> Any:
        try:
            return method(*arguments, **options)
        except FileNotFoundError as error:
            raise ProcessLookupError(error.errno, error.strerror) from None

    return cast(_F, translated)


class Linux(Reader):
    """The way on every Linux whose kernel has `sock_diag` for TCP."""

    def names(self) -> dict[int, str]:
        return {pid: _command_name(pid) for pid in _pids()}

    @_of_process
    def process(self, pid: int) -> Process:
        name, uid = _name_and_uid(pid)
        return Process(
            pid,
            name,
            uid,
            _executable(pid),
            _arguments(_text(pid, "cmdline", MAX_COMMAND_LINE)),
            _environment(_text(pid, "environ", MAX_ENVIRONMENT)),
        )

    def listening(self, port: int | None = None) -> list[Socket]:
        return sock_diag.sockets(sock_diag.LISTEN, local_port=port or 0)

    def connected(self, local_port: int | None = None, remote_port: int | None = None) -> list[Socket]:
        return sock_diag.sockets(sock_diag.ESTABLISHED, local_port or 0, remote_port or 0)

    def between(self, local: tuple[str, int], remote: tuple[str, int]) -> list[Socket]:
        try:
            return sock_diag.between(local, remote)
        except OSError:  # an address with a scope, or a kernel that only gives lists
            return super().between(local, remote)

    @_of_process
    def descriptors(
        self,
        pid: int,
        sockets: Collection[Socket],
        enough: Iterable[Collection[Socket]] = (),
    ) -> dict[Socket, int]:
        links = {f"socket:[{socket.inode}]": socket for socket in sockets}
        left = list(enough) or [[socket] for socket in sockets]
        found: dict[Socket, int] = {}
        # Also without sockets to look for: that they may not be seen shows only where a link is read.
        for name in _descriptors(pid):
            try:
                socket = links.get(os.readlink(f"/proc/{pid}/fd/{name}"))
            except FileNotFoundError:  # closed meanwhile
                continue
            if socket is not None:
                found[socket] = min(int(name), found.get(socket, int(name)))
                left = [group for group in left if socket not in group]
                if not left:
                    break
        return found

    def holders(self, sockets: Collection[Socket]) -> dict[Socket, list[int]]:
        found: dict[Socket, list[int]] = {}
        for pid in _pids():
            try:
                held = self.descriptors(pid, sockets)
            except OSError:  # not ours to see, or gone
                continue
            for socket in held:
                found.setdefault(socket, []).append(pid)
        return found


def _descriptors(pid: int) -> Iterator[str]:
    """The descriptors of a process in the order in which to look at them, some of them perhaps twice, or gone.

    The kernel gives the lowest first. A process has these since its start, and what it opens gets the lowest that is
    free, or one more than the highest: of many, the lowest and the highest are looked at before the rest is even
    listed.
    """
    path = f"/proc/{pid}/fd"
    with os.scandir(path) as entries:
        for entry in itertools.islice(entries, _LOWEST):
            yield entry.name
        count = os.stat(path).st_size  # 0 before Linux 6.2
        if count > _LOWEST:
            yield from map(str, range(count + _HIGHEST, max(_LOWEST, count - _HIGHEST), -1))
        yield from reversed([entry.name for entry in entries])


def _pids() -> list[int]:
    return sorted(int(entry) for entry in os.listdir("/proc") if entry.isdigit())


def _command_name(pid: int) -> str:
    """The command name of a process; empty where it has ended, or is hidden."""
    try:
        # As `open` would do it, in a third of the time: on a busy host there are thousands.
        descriptor = os.open(f"/proc/{pid}/comm", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(descriptor, 64).rstrip(b"\n").decode(errors="replace")
    except OSError:
        return ""
    finally:
        os.close(descriptor)


def _name_and_uid(pid: int) -> tuple[str, int | None]:
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            found = _read_status(file.read(_STATUS_HEAD))
    except PermissionError:
        return "", None
    if found is None:
        raise ProcessLookupError(errno.ESRCH, "it is a zombie")
    return found


def _read_status(status: bytes) -> tuple[str, int] | None:
    """The name and the effective user; None of a zombie (Z), which has ended, and differs in its state only."""
    fields = dict(line.partition(b":\t")[::2] for line in status.split(b"\n"))
    if fields.get(b"State", b"Z")[:1] in (b"Z", b"X"):
        return None
    return fields[b"Name"].decode(errors="replace"), int(fields[b"Uid"].split()[1])


def _executable(pid: int) -> str | None:
    try:
        path = os.readlink(f"/proc/{pid}/exe")
    except PermissionError:
        return None
    ending = " (deleted)"
    return path[: -len(ending)] if path.endswith(ending) else path


def _text(pid: int, name: str, limit: int) -> str:
    """The content of a file of a process; empty where it is hidden, or longer than the limit."""
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            data = file.read(limit + 1)
    except PermissionError:
        return ""
    return os.fsdecode(data) if len(data) <= limit else ""


def _arguments(text: str) -> list[str]:
    """The arguments in /proc/PID/cmdline, which a program may have rewritten with spaces between them."""
    end = "\0" if text.endswith("\0") else " "
    arguments = text[:-1].split(end) if text.endswith(end) else text.split(end)
    return arguments[0].split(" ") if len(arguments) == 1 and text else arguments if text else []


def _environment(text: str) -> dict[str, str]:
    """The variables in /proc/PID/environ, up to an empty one, behind which a program may have written anything."""
    entries = itertools.takewhile(bool, text.split("\0")[:-1])
    pairs = (entry.partition("=") for entry in entries)
    return {key: value for key, equals, value in pairs if key and equals}
