# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The name of a user of a container, by the container's own passwd(5). Private to the collection.

Standard: passwd(5); user_namespaces(7) for the numbers; open(2), O_PATH. The file is anybody's: no link is followed,
since one could lead to a file of the host, nothing but a regular file is opened, and what it says is only shown.
"""

from __future__ import annotations

import contextlib
import os
import stat

from .._limits import MAX_PASSWD
from . import namespaces


def name_in(pid: int, uid: int) -> str:
    """The name that the root directory of a process has for a user, who has this number outside; else the number."""
    with contextlib.suppress(OSError, ValueError):
        with open(f"/proc/{pid}/uid_map", encoding="utf-8") as file:
            wanted = str(namespaces.mapped(file.read(), uid))
        for line in passwd(f"/proc/{pid}/root").decode("utf-8", "replace").splitlines():
            fields = line.split(":")
            if len(fields) > 2 and fields[2] == wanted and fields[0]:
                return fields[0]
    return str(uid)


def passwd(root: str) -> bytes:
    """The start of /etc/passwd below a root directory; empty where that is no file. Errors: OSError."""
    with contextlib.ExitStack() as stack:
        directory = None
        for step, flags in ((root, os.O_DIRECTORY), ("etc", os.O_DIRECTORY | os.O_NOFOLLOW), ("passwd", os.O_NOFOLLOW)):
            directory = os.open(step, os.O_PATH | os.O_CLOEXEC | flags, dir_fd=directory)
            stack.callback(os.close, directory)
        if directory is None or not stat.S_ISREG(os.fstat(directory).st_mode):
            return b""
        with open(f"/proc/self/fd/{directory}", "rb") as file:
            return file.read(MAX_PASSWD)
