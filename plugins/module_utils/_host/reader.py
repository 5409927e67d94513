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
    obstacle = _obstacle()
    if not obstacle:
        return Linux()
    from . import portable

    if not portable.HAS_PSUTIL:
        raise PsutilMissing(
            f"psutil is missing for {sys.executable}, and {obstacle}: install it (python3-psutil), or give name, port "
            "and cookie_file"
        )
    return portable.Portable()


def _obstacle() -> str:
    """Why the kernel can't be asked itself, as a sentence; empty where it can."""
    if sys.platform != "linux":
        return f"{sys.platform} does not show its processes and sockets as Linux does"
    try:
        sock_diag.check()
    except OSError as error:
        return f"the kernel of this host does not list its TCP sockets (sock_diag: {os.strerror(error.errno or 0)})"
    return ""
