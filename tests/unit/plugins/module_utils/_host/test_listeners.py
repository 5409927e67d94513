# Copyright (c) beamops contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel and psutil say the same of the sockets of this very process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from ansible_collections.beamops.epmd.plugins.module_utils._errors import NotPermitted
from ansible_collections.beamops.epmd.plugins.module_utils._host import listeners, owners, processes, sock_diag
from ansible_collections.beamops.epmd.plugins.module_utils._host.listeners import Listener


def refuse(*_unused: Any, **_also_unused: Any) -> Any:
    """A kernel without sock_diag."""
    raise OSError(93, "Protocol not supported")


def plain(sockets: listeners.Sockets) -> listeners.Sockets:
    """What psutil can say, too: not the backlog, nor who else is connected."""
    listeners = [listener._replace(backlog=None) for listener in sockets.listeners]
    return sockets._replace(listeners=listeners, clients=None)


def test_the_kernel_tells_the_backlog() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=7) as server:
        (found,) = [
            listener
            for listener in listeners.from_kernel(os.getpid(), 1).listeners
            if listener.port == server.getsockname()[1]
        ]
        assert found.backlog == 7


@pytest.mark.parametrize(("address", "dialled"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::1", "::1")])
def test_kernel_and_psutil_agree(address: str, dialled: str, monkeypatch: pytest.MonkeyPatch) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET

    def listen() -> socket.socket:
        return socket.create_server((address, 0), family=family)

    def connect(server: socket.socket) -> socket.socket:
        return socket.create_connection((dialled, server.getsockname()[1]))

    with listen() as first, listen() as second, connect(first) as client, first.accept()[0] as accepted:
        held, free = first.getsockname()[1], second.getsockname()[1]
        for port, to_epmd in ((held, {client.getsockname()[1]}), (free, set())):
            found = listeners.from_kernel(os.getpid(), port)
            assert plain(found) == listeners.from_psutil(os.getpid(), port)
            assert (found.to_epmd, found.clients) == (to_epmd, len(to_epmd))
            for server in (first, second):
                assert Listener(server.fileno(), address, server.getsockname()[1]) in plain(found).listeners
        assert [listener.fd for listener in found.listeners] == sorted(listener.fd for listener in found.listeners)
        assert owners.listening_uid(held) == os.geteuid()
        assert os.getpid() in owners.listening_pids(held)
        own_port = client.getsockname()[1]
        assert os.getpid() in owners.connected_pids(held, None)
        assert os.getpid() in owners.connected_pids(held, own_port)
        assert owners.connected_pids(held, free) == []
        assert owners.peer_port(os.getpid(), accepted.fileno(), held) == own_port
        assert owners.peer_port(os.getpid(), client.fileno(), held) is None
        monkeypatch.setattr(sock_diag, "sockets", refuse)
        assert owners.peer_port(os.getpid(), accepted.fileno(), held) == own_port


def test_the_descriptors_of_a_busy_process_are_read_only_as_far_as_needed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as first, socket.socket() as second, socket.socket() as third:
        own = [os.fstat(one.fileno()).st_ino for one in (first, second, third)]
        assert {inode: listeners.descriptors(os.getpid())[inode] for inode in own} == {
            inode: one.fileno() for inode, one in zip(own, (first, second, third))
        }
        assert own[2] not in listeners.descriptors(os.getpid(), own[:2])
        assert own[2] in listeners.descriptors(os.getpid(), [own[0], 0])
        port = first.getsockname()[1]
        for uid in (os.geteuid(), os.geteuid() + 1, None):
            assert port in {found.port for found in listeners.from_kernel(os.getpid(), 1, uid).listeners}


def test_without_sock_diag_psutil_is_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        vm = processes.UNKNOWN._replace(pid=os.getpid())
        expected = plain(listeners.of(vm, port))
        assert expected.listeners
        monkeypatch.setattr(sock_diag, "sockets", refuse)
        assert listeners.of(vm, port) == expected
        assert listeners.epmd_pid(port) is None
        assert owners.addresses(port) == ["127.0.0.1"]
        monkeypatch.setattr(processes, "HAS_PSUTIL", False)
        assert owners.addresses(port) == []
        assert owners.listening_uid(port) is None


@pytest.mark.parametrize("spelling", ["connections", "net_connections"])
def test_both_spellings_of_psutil_are_known(spelling: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = SimpleNamespace(fd=7, laddr=SimpleNamespace(ip="0.0.0.0", port=4711), raddr=(), status=psutil.CONN_LISTEN)
    process = SimpleNamespace(**{spelling: lambda kind: [found] if kind == "tcp" else []})
    monkeypatch.setattr(psutil, "Process", lambda _pid: process)
    assert listeners.from_psutil(1, 4369).listeners == [Listener(7, "0.0.0.0", 4711)]


def test_a_process_that_has_ended_has_no_sockets() -> None:
    vm = processes.UNKNOWN._replace(pid=2**22 + 1)
    assert listeners.of(vm, 4369) == listeners.Sockets([], set())


@pytest.mark.parametrize("error", [PermissionError(13, "x"), psutil.AccessDenied(1)])
def test_sockets_that_may_not_be_seen_are_an_error(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_unused: Any) -> Any:
        raise error

    monkeypatch.setattr(listeners, "from_kernel", fail)
    with pytest.raises(NotPermitted, match=f"pid {os.getpid()} .* run with become"):
        listeners.of(processes.UNKNOWN._replace(pid=os.getpid()), 4369)


def test_a_process_that_ends_before_psutil_looks_has_no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sock_diag, "sockets", refuse)
    vm = processes.UNKNOWN._replace(pid=2**22 + 1)
    assert listeners.of(vm, 4369) == listeners.Sockets([], set())


def test_a_descriptor_that_is_closed_meanwhile_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as one, socket.socket() as other:
        real = os.readlink
        gone = f"/proc/{os.getpid()}/fd/{one.fileno()}"

        def read(path: str) -> str:
            if path == gone:
                raise FileNotFoundError(2, "closed")
            return real(path)

        monkeypatch.setattr(os, "readlink", read)
        held = listeners.descriptors(os.getpid()).values()
        assert one.fileno() not in held
        assert other.fileno() in held


LISTENS = """
import socket, sys
open("/proc/self/comm", "w").write(sys.argv[1])
server = socket.socket()
server.bind(("127.0.0.1", 0))
server.listen(1)
print(server.getsockname()[1], flush=True)
input()
"""


@pytest.fixture(params=["epmd", "beam.smp"])
def other(request: pytest.FixtureRequest) -> Iterator[tuple[str, int, int]]:
    """A process of this name that listens: name, pid and port."""
    command = [sys.executable, "-c", LISTENS, request.param]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout
            yield request.param, child.pid, int(child.stdout.readline())
        finally:
            child.kill()


@pytest.mark.parametrize("kernel", [True, False])
def test_only_a_process_called_epmd_is_one(
    other: tuple[str, int, int], kernel: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, pid, port = other
    if not kernel:
        monkeypatch.setattr(sock_diag, "sockets", refuse)
    assert listeners.epmd_pid(port) == (pid if name == "epmd" else None)
    assert listeners.epmd_pid(port) == (pid if name == "epmd" else None)  # known by now
    with socket.create_server(("127.0.0.1", 0)) as ours:
        assert listeners.epmd_pid(ours.getsockname()[1]) is None
    executable = os.readlink(f"/proc/{pid}/exe") if name == "beam.smp" and kernel else None
    assert owners.listening_emulator(port) == executable
    assert owners.listening_owners()[port] == pid


def test_the_largest_backlog_is_that_of_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    assert listeners.largest_backlog() == int(Path("/proc/sys/net/core/somaxconn").read_text())

    def hide(*_unused: Any, **_also_unused: Any) -> Any:
        raise FileNotFoundError(2, "x")

    monkeypatch.setattr("builtins.open", hide)
    assert listeners.largest_backlog() > 65535


@pytest.mark.parametrize("kernel", [True, False])
def test_who_has_accepted_a_connection_is_known(kernel: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client, server.accept()[0] as accepted:
            own = accepted.getpeername()[1]
            assert own == client.getsockname()[1]
            if not kernel:
                monkeypatch.setattr(sock_diag, "sockets", refuse)
            assert owners.accepted(os.getpid(), port, own)
            assert not owners.accepted(os.getpid(), port, port)
            assert not owners.accepted(os.getpid(), own, own)
            assert not owners.accepted(os.getppid(), port, own)
            gone = 2**22 + 1
            assert not owners.accepted(gone, port, own)
            assert owners.peer_port(gone, 3, port) is None
            for descriptor in (server.fileno(), 10**6):
                assert owners.peer_port(os.getpid(), descriptor, port) is None


def test_sockets_that_psutil_may_not_see_are_nobodys(monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(*_unused: Any, **_also_unused: Any) -> Any:
        raise psutil.AccessDenied

    monkeypatch.setattr(owners, "tcp", deny)
    assert owners.listening_owners() == {}
    assert owners.listening_pids(4369) == []
    assert owners.connected_pids(4369, None) == []


def test_the_user_of_a_listener_needs_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert owners.listening_uid(port) == os.geteuid()
    assert owners.listening_uid(port) is None
    assert owners.listening_emulator(port) is None
