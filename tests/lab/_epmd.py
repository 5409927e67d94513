# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real epmd of the test's own."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

import psutil

from ._process import Closable, LabError, end, erlang_environment, free_port, listeners, spawn, stop, wait_until

_NAMES_REQUEST = b"\x00\x01n"


class Epmd(Closable):
    """An epmd in the foreground, which answers once this is constructed."""

    def __init__(
        self, program: Path, port: int | None, address: str | None, args: Sequence[str], user: str | None
    ) -> None:
        self.port = free_port() if port is None else port
        self._program = program
        self._command: list[str | Path] = [program, "-port", str(self.port)]
        if address:
            self._command += ["-address", address]
        self._command += args
        self._user = user
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def pid(self) -> int:
        """The pid of the epmd which runs now."""
        return self._running().pid

    def start(self) -> None:
        """Start again, on the same port, after kill()."""
        taken = listeners(self.port)
        if taken:
            raise LabError(f"port {self.port} is taken by pid {', '.join(map(str, taken))}")
        self._process = process = spawn(self._command, env=erlang_environment(), user=self._user)

        def answers() -> bool:
            if process.poll() is not None:
                command = " ".join(map(str, self._command))
                raise LabError(f"exit code {process.returncode} of {command}")
            try:
                self.names()
            except OSError:
                return False
            return True

        try:
            wait_until(answers, f"epmd to answer on port {self.port}")
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """Kill it as the OOM killer would: the names are forgotten, the nodes live on.

        Also where it is one that a node or the code under test started on this port.
        """
        if self._process is not None:
            end(self._process)
            self._process = None
        for pid in listeners(self.port):
            with contextlib.suppress(psutil.NoSuchProcess):
                successor = psutil.Process(pid)
                if successor.name() == "epmd":
                    successor.kill()
                    successor.wait(30)

    def suspend(self) -> None:
        """Let it accept connections (the kernel does that) and never answer."""
        stop(self._running())

    def resume(self) -> None:
        """Let it answer again."""
        self._running().send_signal(signal.SIGCONT)

    def names(self) -> dict[str, int]:
        """Ask for the table, in epmd's own protocol."""
        return names_at("127.0.0.1", self.port)

    def names_output(self) -> str:
        """Return what `epmd -names` prints to a person."""
        asked = subprocess.run(
            [self._program, "-port", str(self.port), "-names"],
            env=erlang_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=30,
            check=False,
        )
        return asked.stdout

    def close(self) -> None:
        """End it, and any that has taken its place."""
        self.kill()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise LabError(f"the epmd of port {self.port} has been killed")
        return self._process


def names_at(address: str, port: int) -> dict[str, int]:
    """The table of an epmd, asked in its own protocol. Errors: OSError."""
    with socket.create_connection((address, port), timeout=5) as connection:
        connection.sendall(_NAMES_REQUEST)
        with connection.makefile("rb") as stream:
            reply = stream.read()
    if len(reply) < 4:
        raise ConnectionError(f"epmd at {address} port {port} answered {reply!r}")
    lines = reply[4:].decode().splitlines()
    found = [re.fullmatch(r"name (.+) at port (\d+)", line) for line in lines]
    return {match[1]: int(match[2]) for match in found if match}
