# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a file that somebody else may have put there, or may be changing: a regular one only, up to a limit.

Standard: open(2), O_PATH; proc(5), /proc/self/fd. To open a FIFO waits for ever, and to open a device does something (a
watchdog restarts the host), so what is there is looked at before it is opened. Private to the collection.
"""

from __future__ import annotations

import errno
import os
import stat

from .._record import Record

_own_descriptors: list[int] = []
"""Our own /proc/self/fd, where /proc is that of another root directory, or missing."""


class File(Record):
    """What a file is, and its first bytes: one more than the limit where it is longer."""

    status: os.stat_result
    content: bytes


def read(path: str, limit: int) -> File | None:
    """A regular file; None where something else is there. Errors: OSError."""
    try:
        held = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except ValueError:
        raise OSError(errno.EINVAL, "no file can have this name") from None
    try:
        if not stat.S_ISREG(os.fstat(held).st_mode):
            return None
        # The very file that was looked at, whatever has its name now; its owner may have a lease on it (fcntl(2)).
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
        if _own_descriptors:
            descriptor = os.open(str(held), flags, dir_fd=_own_descriptors[0])
        else:
            descriptor = os.open(f"/proc/self/fd/{held}", flags)
    finally:
        os.close(held)
    with open(descriptor, "rb") as file:
        return File(os.fstat(descriptor), file.read(limit + 1))


def before_another_root() -> None:
    """Call before chroot(2): keeps /proc/self/fd open, since the new root may have no /proc, or another namespace's."""
    _own_descriptors.append(os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
