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
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from ._process import Closable, LabError, end, erlang_environment, free_port, listeners, spawn, stop, wait_until

_NAMES_REQUEST = b"\x00\x01n"


class Epmd(Closable):
    """A running epmd, in the foreground. It answers when the constructor returns."""

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
        """Its pid."""
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
        """Kill it as the OOM killer would: the names are lost, the nodes live on.

        Also kills an epmd that a node or the code under test has started on this port.
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
        """Stop it: the kernel accepts connections for it, but it does not answer."""
        stop(self._running())

    def resume(self) -> None:
        """Let it answer again."""
        self._running().send_signal(signal.SIGCONT)

    def names(self) -> dict[str, int]:
        """Ask it for its table, in its own protocol."""
        return names_at("127.0.0.1", self.port)

    def names_output(self) -> str:
        """The output of `epmd -names`."""
        done = subprocess.run(
            [self._program, "-port", str(self.port), "-names"],
            env=erlang_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=30,
            check=False,
        )
        return done.stdout

    def close(self) -> None:
        """Kill it, and any that has taken its place."""
        self.kill()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise LabError(f"the epmd of port {self.port} has been killed")
        return self._process


@contextlib.contextmanager
def epmd_at(program: Path, address: str, port: int) -> Iterator[int]:
    """An epmd that listens at this address alone, which only systemd can give it (sd_listen_fds(3)); its pid."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen()
        descriptor = listener.fileno()
        script = f'exec 3<&{descriptor}; LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" -port {port} -systemd'
        process = spawn(["bash", "-c", script, program], env=erlang_environment(), pass_fds=[descriptor])
    try:
        wait_until(lambda: process.poll() is None and names_at(address, port) == {}, f"epmd to answer at {address}")
        yield process.pid
    finally:
        end(process)


def names_at(address: str, port: int) -> dict[str, int]:
    """Ask an epmd for its table, in its own protocol. Errors: OSError."""
    with socket.create_connection((address, port), timeout=5) as connection:
        connection.sendall(_NAMES_REQUEST)
        with connection.makefile("rb") as stream:
            reply = stream.read()
    if len(reply) < 4:
        raise ConnectionError(f"epmd at {address} port {port} answered {reply!r}")
    lines = reply[4:].decode().splitlines()
    found = [re.fullmatch(r"name (.+) at port (\d+)", line) for line in lines]
    return {match[1]: int(match[2]) for match in found if match}
