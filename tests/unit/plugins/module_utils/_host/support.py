# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real processes to look at, for the tests of `_host`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Callable

import pytest

GONE = 2**22 + 1
"""No process has such a number (PID_MAX_LIMIT)."""

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

RENAMED = "import sys; open('/proc/self/comm', 'w').write(sys.argv[1])\n"
WAITS = "print(flush=True); input()"
LISTENS = """
import socket
server = socket.socket()
server.bind((sys.argv[2], 0))
server.listen(7)
print(server.getsockname()[1], flush=True)
input()
"""


@contextmanager
def running(
    name: str, *arguments: str, environment: Mapping[str, str] | None = None, script: str = WAITS
) -> Iterator[tuple[int, bytes]]:
    """A Python with this command name, these arguments and this environment: its pid, and the first line it prints."""
    with subprocess.Popen(
        [sys.executable, "-c", RENAMED + script, name, *arguments],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdout
            yield process.pid, process.stdout.readline()
        finally:
            process.kill()


@contextmanager
def listening(name: str, address: str = "127.0.0.1") -> Iterator[tuple[int, int]]:
    """A process with this command name that listens: its pid and its port."""
    with running(name, address, script=LISTENS) as (pid, port):
        yield pid, int(port)


@contextmanager
def forked(prepare: Callable[[], object]) -> Iterator[int]:
    """A child of this process that has prepared itself, and waits."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            prepare()
            os.write(writing, b"x")
            signal.pause()
        finally:
            os._exit(1)
    os.close(writing)
    try:
        assert os.read(reading, 1) == b"x"
        yield child
    finally:
        os.close(reading)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@contextmanager
def apart(*kinds: str, become: Sequence[str] = ()) -> Iterator[int]:
    """A process with namespaces of its own of these kinds (options of unshare(1)). become: a command that makes it."""
    command = [*become, "unshare", *kinds, "cat"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdin
            assert process.stdout
            process.stdin.write(b"x")
            process.stdin.flush()
            if process.stdout.read(1) != b"x":
                pytest.skip("no namespace may be made here")
            yield process.pid
        finally:
            process.kill()
