# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fake node of OTP 17 to 22: a process that looks like a real node, and runs `_old_emulator.py`."""

from __future__ import annotations

import socket
import sys
import tempfile
from pathlib import Path

from ._epmd import Epmd
from ._process import Closable, LabError, end, erlang_environment, spawn, wait_until

EMULATOR = Path(__file__).with_name("_old_emulator.py")


class OldNode(Closable):
    """A node that follows this release (17 or 22) exactly, registered at this epmd.

    allow: the only node that may connect, as after `net_kernel:allow/1`.
    """

    def __init__(self, epmd: Epmd, name: str, *, release: int, cookie: str, allow: str | None = None) -> None:
        self.short = name
        self.name = f"{name}@{socket.gethostname().partition('.')[0]}"
        self._directory = tempfile.TemporaryDirectory(prefix="beamops-lab-")
        directory = Path(self._directory.name)
        self._log_file = directory / "log"
        # The kernel names a process after the link by which it was started.
        beam = directory / "beam.smp"
        beam.symlink_to(Path(sys.executable).resolve())
        command: list[str | Path] = [beam, "-I", EMULATOR, str(release), "--", "-root", "/usr/lib/erlang"]
        command += ["-progname", "erl", "--", "-home", directory, "-epmd_port", str(epmd.port), "--"]
        # So that tests do not depend on the speed of a handshake.
        command += ["-sname", self.name, "-setcookie", cookie, "-kernel", "net_setuptime", "120"]
        if allow:
            command += ["-allow", allow]
        with self._log_file.open("wb") as output:
            self._process = spawn(command, env=erlang_environment(), output=output)
        self.pid = self._process.pid
        try:
            self.port = wait_until(lambda: self._port(epmd), "the old node to be registered")
        except BaseException:
            self.close()
            raise

    @property
    def log(self) -> str:
        """Everything that the node has written."""
        return self._log_file.read_text()

    def close(self) -> None:
        """Kill it."""
        end(self._process)
        self._directory.cleanup()

    def _port(self, epmd: Epmd) -> int:
        if self._process.poll() is not None:
            raise LabError(f"the old node ended: {self.log}")
        return epmd.names().get(self.short, 0)
