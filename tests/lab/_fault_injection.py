# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a fault of a node or its epmd is made, as it happens in the field. `test_faults.py` has what the module does."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil

from ._epmd import Epmd
from ._node import Node
from ._old_node import OldNode
from ._process import LabError, holders, wait_until

# The fields of /proc/PID/stat with the place of the arguments, counted after the name in brackets (proc(5)).
_ARG_START, _ARG_END = 48 - 3, 49 - 3


def forget(epmd: Epmd, node: Node | OldNode) -> None:
    """Kill epmd, and wait until the node has noticed that."""
    epmd.kill()
    wait_until(lambda: node.pid not in holders(epmd.port), "the node to notice that its epmd is gone")


@contextlib.contextmanager
def cut_silently(epmd: Epmd, node: Node) -> Iterator[None]:
    """Kill epmd and start it again, without a packet to the node, which still believes that it is registered.

    As with a firewall that forgets a connection, or a suspended machine. For a private host: it changes its ip rules.
    """
    sockets = psutil.Process(node.pid).net_connections("tcp")
    (own,) = [at.laddr.port for at in sockets if at.raddr[1:] == (epmd.port,)]
    with _swallowed(f"sport {epmd.port} dport {own}"):
        epmd.kill()
        epmd.start()
        if node.pid not in holders(epmd.port):
            raise LabError("the node has noticed that its epmd is gone")
        yield


def misregister(epmd: Epmd, node: Node, name: str, port: int) -> None:
    """Restart epmd, and have the node register this name and port, as somebody would who types the recipe wrongly."""
    forget(epmd, node)
    epmd.start()
    # A newer node tries again to register itself 2 s after it has noticed.
    done = node.eval(f'element(1, erl_epmd:register_node("{name}", {port}))')
    if (done, epmd.names()) != ("ok", {name: port}):
        raise LabError(f"the node did not register {name}: {done}, {epmd.names()}")


@contextlib.contextmanager
def unreachable(port: int) -> Iterator[None]:
    """No packet gets through to this port of a private host."""
    with _swallowed(f"dport {port}"):
        yield


@contextlib.contextmanager
def exhausted(epmd: Epmd) -> Iterator[None]:
    """Epmd has no descriptor left: the kernel accepts connections, and epmd can't. (That of OTP 23 ends.)"""
    process = psutil.Process(epmd.pid)
    limits = process.rlimit(psutil.RLIMIT_NOFILE)
    process.rlimit(psutil.RLIMIT_NOFILE, (process.num_fds(), limits[1]))
    try:
        yield
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.rlimit(psutil.RLIMIT_NOFILE, limits)


def overwrite_command_line(node: Node, text: bytes) -> None:
    """Overwrite its arguments with a text, as a process does that sets its own title. The length stays the same."""
    process = Path(f"/proc/{node.pid}")
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    start, end = int(fields[_ARG_START]), int(fields[_ARG_END])
    with (process / "mem").open("r+b", buffering=0) as memory:
        memory.seek(start)
        memory.write(text[: end - start].ljust(end - start, b"\0"))


@contextlib.contextmanager
def _swallowed(packets: str) -> Iterator[None]:
    swallow = f"ipproto tcp {packets} blackhole"
    # Otherwise the table of local addresses is consulted first, and has a route.
    _rule("add pref 2 lookup local")
    _rule("del pref 0 lookup local")
    _rule(f"add pref 1 {swallow}")
    try:
        yield
    finally:
        _rule(f"del pref 1 {swallow}")
        _rule("add pref 0 lookup local")
        _rule("del pref 2 lookup local")


def _rule(words: str) -> None:
    """ip-rule(8)"""
    for family in ("-4", "-6"):
        subprocess.run(["ip", family, "rule", *words.split()], check=True, capture_output=True, timeout=30)
