# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host whose init is systemd, for a scenario of molecule: it runs until it is told to end (SIGTERM).

A program: its arguments are the name of the host, the release of OTP of its Debian, and a directory. The program `ssh`
in that, which enters the host, is there as soon as it can be entered.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from ansible_collections.beamops.epmd.tests.lab import Systemd, system


def main(name: str, release: str, directory: str) -> None:
    """Boot it, and wait."""
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit())
    with Systemd(system(int(release)), name) as host:
        host.reached_from(Path(directory))
        while True:
            signal.pause()


if __name__ == "__main__":
    main(*sys.argv[1:])
