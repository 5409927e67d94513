# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real C node, built with the `ei` of an OTP. Standard: the User's Guide of erl_interface."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ._process import Closable, LabError, end, erlang_environment, spawn, wait_until

if TYPE_CHECKING:
    from ._otp import Otp

SOURCE = Path(__file__).with_name("c_node.c")


class CNode(Closable):
    """A running C node, registered at epmd."""

    def __init__(self, otp: Otp, name: str, epmd_port: int, cookie: str) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="beamops-lab-")
        program = Path(self._directory.name, "c_node")
        self._log_file = program.with_name("log")
        try:
            _build(otp, program)
            with self._log_file.open("wb") as output:
                self._process = spawn(
                    [program, name],
                    env=erlang_environment(ERL_EPMD_PORT=str(epmd_port), COOKIE=cookie),
                    output=output,
                )
        except BaseException:
            self._directory.cleanup()
            raise
        self.pid = self._process.pid
        try:
            self.port = int(wait_until(self._output, "the C node to be registered").split()[1])
        except BaseException:
            self.close()
            raise

    @property
    def log(self) -> list[str]:
        """A line for each node that has connected."""
        return self._output().splitlines()[1:]

    def close(self) -> None:
        """End it."""
        end(self._process)
        self._directory.cleanup()

    def _output(self) -> str:
        code = self._process.poll()
        if code is not None:
            raise LabError(f"the C node ended with exit code {code}")
        return self._log_file.read_text()


def _build(otp: Otp, program: Path) -> None:
    # An Erlang that needs a newer C library than this machine's brings it along.
    compat = otp.root / "compat"
    own: list[str | Path] = [*compat.glob("libc.so.6"), *compat.glob("ld-linux*")]
    if own:
        own.append(f"-Wl,--dynamic-linker={own[-1]},-rpath={compat}")
    library = [f"-I{otp.root}/usr/include", f"-L{otp.root}/usr/lib", "-lei", "-pthread"]
    command = ["gcc", "-o", program, SOURCE, *library, *own]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode != 0:
        raise LabError(f"the C node could not be built: {built.stderr}")
