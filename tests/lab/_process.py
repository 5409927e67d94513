# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that never outlive the tests, and questions to the system about processes and ports."""

from __future__ import annotations

import contextlib
import os
import pwd
import random
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import psutil

if TYPE_CHECKING:
    from typing import Self

T = TypeVar("T")

# The death signal is sent when the thread that forked ends, not its process: nodes that a test starts
# in a thread would end with that thread. So one lasting thread does every fork.
_forker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="lab-forker")


class LabError(Exception):
    """The lab itself could not do what a test needs."""


def completed(
    command: Sequence[str | Path],
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    seconds: float = 120,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, whether it succeeds or not; its standard output includes standard error."""
    return subprocess.run(
        command,
        check=False,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
    )


def output_of(
    command: Sequence[str | Path], what: str, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> str:
    """The output of a command, which has to succeed. what: its name in the error message."""
    done = completed(command, cwd, env)
    if done.returncode != 0:
        raise LabError(f"{what} ended with exit code {done.returncode}: {done.stdout}")
    return done.stdout


class Closable:
    """A context manager that calls close() at its end, also if a test fails."""

    def close(self) -> None:
        """End what was started."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_unused: object) -> None:
        self.close()


class Terminal(Closable):
    """A pseudo terminal (pty(7)) for a program of the test, without input."""

    def __init__(self) -> None:
        self._master, self.slave = os.openpty()
        os.set_blocking(self._master, False)

    def read(self) -> bytes:
        """Everything that was printed since the last call."""
        printed = bytearray()
        with contextlib.suppress(BlockingIOError):
            while True:
                printed += os.read(self._master, 65536)
        return bytes(printed)

    def close(self) -> None:
        """Close both ends."""
        os.close(self._master)
        os.close(self.slave)


def wait_until(condition: Callable[[], T], what: str, seconds: float = 30) -> T:
    """Poll until the condition is true, and return its value. Errors: TimeoutError."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() >= deadline:
            raise TimeoutError(f"waited {seconds:g} s for {what}; the last answer was {value!r}")
        time.sleep(0.02)


def free_port() -> int:
    """A TCP port on which nothing listens.

    It is below the kernel's range for outgoing connections: in that, a client that retries to reach a dead epmd might
    connect to itself, or take the port of the epmd.
    """
    for port in random.sample(range(10_000, 32_000), 200):
        with socket.socket() as probe:
            try:
                probe.bind(("0.0.0.0", port))
            except OSError:
                continue
            return port
    raise LabError("no free TCP port found")


def holders(port: int) -> set[int]:
    """The pids with an established connection to this port of an epmd."""
    return {at.pid for at in _held(port) if at.pid is not None}


def dialled(port: int) -> set[str]:
    """The addresses to which these connections go."""
    return {at.raddr.ip for at in _held(port)}


def listeners(port: int) -> set[int]:
    """The pids that listen on this port."""
    return {at.pid for at in _listening(port) if at.pid is not None}


def bound(port: int) -> set[str]:
    """The addresses on which they listen."""
    return {at.laddr.ip for at in _listening(port)}


def stop(process: subprocess.Popen[bytes]) -> None:
    """Send SIGSTOP, and wait until every thread of the process has stopped."""
    process.send_signal(signal.SIGSTOP)

    def has_stopped() -> bool:
        stats = Path("/proc", str(process.pid), "task").glob("*/stat")
        return all(stat.read_text().rpartition(")")[2].split()[0] in "Tt" for stat in stats)

    wait_until(has_stopped, f"pid {process.pid} to stop")


def erlang_environment(**settings: str) -> dict[str, str]:
    """An environment without the variables for Erlang of the user who runs the tests."""
    wanted = ("PATH", "LD_LIBRARY_PATH", "TMPDIR")
    inherited = {name: os.environ[name] for name in wanted if name in os.environ}
    return {"LANG": "C.UTF-8", **inherited, **settings}


def spawn(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str],
    stdin: int = subprocess.DEVNULL,
    output: int | IO[bytes] = subprocess.DEVNULL,
    pass_fds: Sequence[int] = (),
    cwd: Path | None = None,
    user: str | None = None,
) -> subprocess.Popen[bytes]:
    """Start a process that the kernel kills if the tests end first."""
    account = pwd.getpwnam(user) if user else None

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command],
            env=env,
            stdin=stdin,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=pass_fds,
            cwd=cwd,
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
            start_new_session=True,
        )

    return _forker.submit(start).result()


def end(process: subprocess.Popen[bytes], patience: float = 5) -> None:
    """Kill a process, and wait until it and its helpers (erl_child_setup, inet_gethost) have ended.

    patience: seconds after which helpers that have not ended by themselves are killed.
    """
    try:
        helpers = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        helpers = []
    process.kill()
    process.wait(30)
    for helper in psutil.wait_procs(helpers, timeout=patience)[1]:
        with contextlib.suppress(psutil.NoSuchProcess):
            helper.kill()


def _held(port: int) -> list[Any]:
    sockets = psutil.net_connections("tcp")
    return [at for at in sockets if at.status == psutil.CONN_ESTABLISHED and at.raddr[1:] == (port,)]


def _is_free(port: int) -> bool:
    """Whether it is certain that nothing listens on this port. The lists of psutil take a hundred times as long."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("::", port))
    except OSError:
        return False
    return True


def _listening(port: int) -> list[Any]:
    if _is_free(port):
        return []
    sockets = psutil.net_connections("tcp")
    return [at for at in sockets if at.status == psutil.CONN_LISTEN and at.laddr[1:] == (port,)]
