# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which way to read the host is taken: the kernel's own wherever it answers, else psutil.

Standard: sock_diag(7), which containers without privileges and gVisor may lack, and other systems do not have. Private
to the collection.
"""

from __future__ import annotations

import functools
import os
import sys

from .._errors import PsutilMissing
from . import sock_diag
from .interface import Reader
from .linux import Linux


@functools.lru_cache(maxsize=None)
def reader() -> Reader:
    """The way to read this host, chosen at the first call. Errors: PsutilMissing."""
    missing = _missing()
    if not missing:
        return Linux()
    try:
        from .portable import Portable  # noqa: PLC0415
    except ImportError:
        raise PsutilMissing(
            f"{missing}, and psutil, which could stand in, is missing for {sys.executable}: install it "
            "(python3-psutil), or give name, port and cookie_file"
        ) from None
    return Portable()


def _missing() -> str:
    """What this kernel lacks, as the start of a sentence; empty where it lacks nothing."""
    if sys.platform != "linux":
        return f"{sys.platform} does not list its processes and sockets as Linux does"
    try:
        # A real question: sock_diag may be there, and its part for TCP may not. No node listens on port 1.
        sock_diag.sockets(sock_diag.LISTEN, local_port=1)
    except OSError as error:
        return f"this kernel does not list its TCP sockets (sock_diag: {os.strerror(error.errno or 0)})"
    return ""
